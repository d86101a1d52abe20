"""Requests to NATS with many under way at once: one subscription, a number for each, and an end when nobody will answer any more.

nats-py's own `request` waits for its whole timeout when the connection breaks, and costs about twice the time; stores are
what a router does most. Here a request that was under way when the connection broke, or when the stream that it is for got another
leader, ends at once as *indeterminate*, so that its sender can make it certain by sending it again.

Invariant: `_waiting` holds exactly the requests that nobody has ended yet; each has a timer, so it is bounded by rate times
timeout.
"""

import asyncio

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from runcast.wire import subjects
from runcast.wire.errors import UnavailableError


class Replies:
    """The requests of one connection. Call `open` once before use, and `lost` when the connection breaks."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[asyncio.Future[Msg], str]] = {}
        self._next = 0
        self._prefix = ""
        self._nc: Client | None = None

    async def open(self, nc: Client) -> None:
        """Listen for the answers on this connection."""
        self._nc = nc
        self._prefix = nc.new_inbox() + "."
        await nc.subscribe(f"{self._prefix}*", cb=self._on_reply)

    def lost(self) -> None:
        """The connection broke: nobody knows what became of what was under way."""
        for future, _ in self._waiting.values():
            _end(future, "the connection to NATS broke before it answered; it may have stored it")

    def elected(self, stream: str) -> None:
        """A stream has another leader: what was sent to the one before may have been lost with it."""
        for future, subject in self._waiting.values():
            if subjects.stream_of(subject) == stream:
                _end(future, "the stream's leader changed before it answered; it may have stored it")

    async def request(self, subject: str, payload: bytes, headers: dict[str, str] | None, timeout_s: float) -> Msg:
        """Publish, and wait for the answer.

        Raises:
            UnavailableError: `indeterminate`: the connection broke meanwhile, or the stream got another leader.
            nats.errors.Error: no answer in time, nobody to answer, or the connection does not take it.
        """
        assert self._nc is not None  # noqa: S101 # `open` comes first
        loop = asyncio.get_running_loop()
        self._next += 1
        token = str(self._next)
        future: asyncio.Future[Msg] = loop.create_future()
        self._waiting[token] = (future, subject)
        timer = loop.call_later(timeout_s, _expire, future)
        try:
            await self._nc.publish(subject, payload, reply=self._prefix + token, headers=headers)
            msg = await future
        finally:
            timer.cancel()
            del self._waiting[token]
        if msg.headers and msg.headers.get("Status") == "503":
            raise nats.errors.NoRespondersError
        return msg

    async def _on_reply(self, msg: Msg) -> None:
        waiting = self._waiting.get(msg.subject[len(self._prefix) :])
        if waiting is not None and not waiting[0].done():
            waiting[0].set_result(msg)


def _end(future: "asyncio.Future[Msg]", why: str) -> None:
    if not future.done():
        future.set_exception(UnavailableError(why, code="indeterminate"))


def _expire(future: "asyncio.Future[Msg]") -> None:
    if not future.done():
        future.set_exception(nats.errors.TimeoutError())
