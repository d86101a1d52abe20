"""Questions that only the leader of a stream may answer, asked until it does.

A stream's leader may be gone: a cluster needs 4 to 9 s to notice, and to elect another one; until then nobody answers, or somebody says
that there is none. A question is asked again when a leader is elected (NATS says so), and now and then besides, for what is said once may
be lost; all within the time that who asks has for it. Reading asks nothing of anybody twice that could do harm.

Of the questions about one stream at most `limits.LEADER_ASKS_MAX` are under way at once; further ones wait for their turn within their
own time. So a stream without a leader costs a few requests a second however many wait for it, and costs other streams nothing.
"""

import asyncio
import contextlib
import re
from collections import defaultdict
from typing import Final, Protocol

import msgspec
import nats.errors
from nats.aio.msg import Msg

from runcast.wire import limits
from runcast.wire.errors import UnavailableError

_NOT_FOUND: Final = 404
_MESSAGE_ID: Final = re.compile(rb"^Nats-Msg-Id: *([^\r\n]*)", re.MULTILINE)


class _ApiError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    error: _ApiError | None = None


class Found(msgspec.Struct):
    """A message of a stream. `subject` is "" when it was not told.

    Attributes:
        subject: of the message.
        seq: its place.
        data: its payload.
        hdrs: its headers, as NATS writes them.
        time: when it was stored, RFC 3339.
    """

    subject: str = ""
    seq: int = 0
    data: bytes = b""
    hdrs: bytes = b""
    time: str = ""

    @property
    def message_id(self) -> str:
        """Its `Nats-Msg-Id`; "" when it has none."""
        found = _MESSAGE_ID.search(self.hdrs)
        return found[1].decode(errors="replace") if found else ""


class _Got(msgspec.Struct):
    message: Found | None = None


_read_answer: Final = msgspec.json.Decoder(_Answer).decode
_read_got: Final = msgspec.json.Decoder(_Got).decode


class StreamMissingError(Exception):
    """There is no such stream."""


class _News:
    """What is heard of a stream's leader: how often, and an event for those who wait to hear more."""

    def __init__(self) -> None:
        self.count = 0
        self.event = asyncio.Event()

    def tell(self) -> None:
        self.count += 1
        self.event.set()
        self.event.clear()  # it wakes who waits now


class Requests(Protocol):
    """What is needed of `runcast.bus.replies`."""

    async def request(self, subject: str, payload: bytes, headers: dict[str, str] | None, timeout_s: float) -> Msg:
        """Publish, and wait for the answer."""
        ...


class Leaders:
    """The leaders of all streams, for one connection.

    Args:
        replies: carries requests.
    """

    def __init__(self, replies: Requests) -> None:
        self._replies = replies
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(limits.LEADER_ASKS_MAX))
        self._news: dict[str, _News] = defaultdict(_News)
        self._closed = False

    def close(self) -> None:
        """The connection is about to be closed: who waits is told at once, and so is who asks from now on."""
        self._closed = True
        self.reconnected()

    def elected(self, stream: str) -> None:
        """A stream has a leader (again): ask it at once."""
        self._news[stream].tell()

    def reconnected(self) -> None:
        """The connection is back: ask all of them at once."""
        for news in self._news.values():
            news.tell()

    async def message(self, stream: str, question: dict[str, object], within_s: float) -> Found | None:
        """One message of a stream (STREAM.MSG.GET, NATS ADR-15); None when there is none.

        Args:
            stream: which.
            question: such as `{"last_by_subj": subject}` or `{"seq": n, "next_by_subj": subject}`.
            within_s: how long it may take; 0.0 asks once.

        Raises:
            UnavailableError: no answer in time.
        """
        try:
            return _read_got(await self._ask(stream, f"$JS.API.STREAM.MSG.GET.{stream}", question, within_s)).message
        except StreamMissingError:
            return None

    async def info(self, stream: str, within_s: float, *, subjects_filter: str = "") -> bytes:
        """The state and configuration of a stream (STREAM.INFO), as JSON.

        Args:
            stream: which.
            within_s: how long it may take; 0.0 asks once.
            subjects_filter: list the subjects that match, too.

        Raises:
            StreamMissingError: there is no such stream.
            UnavailableError: no answer in time.
        """
        question: dict[str, object] = {"subjects_filter": subjects_filter} if subjects_filter else {}
        return await self._ask(stream, f"$JS.API.STREAM.INFO.{stream}", question, within_s)

    async def _ask(self, stream: str, subject: str, question: dict[str, object], within_s: float) -> bytes:
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        try:
            async with asyncio.timeout(max(within_s, limits.LEADER_ATTEMPT_S)):
                await self._slots[stream].acquire()
        except TimeoutError as exc:
            raise UnavailableError(f"the leader of {stream} has too much to answer just now; ask again") from exc
        try:
            return await self._ask_in_turn(stream, subject, msgspec.json.encode(question) if question else b"", until)
        finally:
            self._slots[stream].release()

    async def _ask_in_turn(self, stream: str, subject: str, payload: bytes, until: float) -> bytes:
        loop = asyncio.get_running_loop()
        news = self._news[stream]
        pause_s = limits.LEADER_PAUSE_FIRST_S
        while True:
            if self._closed:
                raise UnavailableError(f"the leader of {stream} could not be asked: this process is stopping; ask another one")
            known = news.count
            why = "it did not answer in time"
            try:
                data = (await self._replies.request(subject, payload, None, limits.LEADER_ATTEMPT_S)).data
                error = _read_answer(data).error
            except (nats.errors.Error, UnavailableError, msgspec.DecodeError) as exc:
                why = str(exc) or why
            else:
                if error is None:
                    return bytes(data)
                if error.code == _NOT_FOUND:
                    raise StreamMissingError(stream)
                why = error.description
            left_s = until - loop.time()
            if left_s <= 0:
                raise UnavailableError(f"the leader of {stream} could not be asked: {why}; ask again")
            if news.count == known:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(pause_s, left_s)):
                        await news.event.wait()
            # One that was just elected may need a moment more before it answers.
            pause_s = min(2 * pause_s, limits.LEADER_PAUSE_MAX_S) if news.count == known else limits.LEADER_PAUSE_FIRST_S
