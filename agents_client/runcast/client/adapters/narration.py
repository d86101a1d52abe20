"""One framework's work in one run, told in Runcast's words: messages, thoughts and tool calls under the framework's own keys.

Rules.
1. A key of a message, thought or call is any hashable of the framework's, unique while it is open.
2. Messages may be open side by side, as models may answer side by side; each has an id of its own, which `Run.respond` never makes.
3. What a framework tells twice (deltas, and then the whole) is told once: `settle` adds what is missing, or replaces what differs.
4. Of a thought the newest passage is told, sentence by sentence: `agent_thinking` replaces what was there before.
5. Arguments and results are whatever the framework has: what JSON has no form for is told by its class; nothing of it raises.
6. `close` leaves nothing open. It queues at once, and never waits.
7. After the run's end nothing is told: a framework may take a while to come to rest.
8. What a framework does within what a framework does (an agent in another one's tool) is a child run; an open run that nobody narrates yet
   is used as it is.

Never imports a framework.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, Self

from runcast.client.context import current_run
from runcast.client.payload import encode_leniently
from runcast.client.run import Run
from runcast.client.tool import ToolCall
from runcast.v1.event_pb2 import TEXT_MODE_DELTA, TEXT_MODE_WHOLE, AgentResponse, Event, TextMode
from runcast.wire import limits_client as limits
from runcast.wire.errors import LifecycleError, RuncastError

_numbers: Final = itertools.count(1)
_narrated: Final[ContextVar[Run | None]] = ContextVar("runcast_narrated", default=None)
"""The run that the framework around the running code is told in."""
_SENTENCE_ENDS: Final = (".", "!", "?", ":", "\n")


class _Message:
    """A message that is open: its id, and what of it was told."""

    def __init__(self) -> None:
        self.id = f"f{next(_numbers)}"
        self.told = ""


class _Thought:
    """A thought that goes on: its newest passage, and how much of it was told."""

    def __init__(self) -> None:
        self.passage = ""
        self.told = 0


class Narration:
    """What one framework tells in one run.

    Args:
        run: an open run.

    Attributes:
        run: the same.
        loop: the event loop that all this is called in.
        result: what came of the work, beside what was said; told when the run ends here.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.result: object = None
        self._messages: dict[Hashable, _Message] = {}
        self._thoughts: dict[Hashable, _Thought] = {}
        self._calls: dict[Hashable, ToolCall] = {}
        self._turn = asyncio.Lock()  # of two that tell at once, one after the other
        self._begun = False  # here, so it ends here

    @classmethod
    async def open(cls, run: Run) -> Self:
        """Narrate a run; one that has not begun begins, and ends with `finish`. Raises as `Run.__aenter__`."""
        begins = not run.is_open
        if begins:
            await run.__aenter__()
        narration = cls(run)
        narration._begun = begins
        return narration

    async def child(self, agent: str, title: str = "") -> "Narration":
        """A run that this one started; it ends with its own `finish`. Raises as `Run.child`, and as its begin."""
        return await Narration.open(self.run.child(agent=agent or "agent", title=title[: limits.TITLE_CHARS_MAX]))

    async def finish(self, error: BaseException | None = None) -> None:
        """The framework's work is over, by an error or well: close what is open, and the run if it began here.

        Raises:
            RuncastError: what was told can't be stored.
        """
        try:
            await self.close(error)
            if self._begun and error is None and self.result is not None and not self.run.ended:
                await self.run.complete(result=to_plain(self.result))
        except BaseException as failure:
            error = error or failure
            raise
        finally:
            if self._begun:
                await self.run.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)

    async def say(self, key: Hashable, text: str) -> None:
        """Add text to the message `key`, or begin it; the thought of that key is told first. Raises as `Run.emit`."""
        async with self._turn:
            if text and not self.run.ended:
                await self._tell_rest(self._thoughts.get(key))
                message = self._messages.setdefault(key, _Message())
                message.told += text
                await self._respond(message, text, TEXT_MODE_DELTA, final=False)

    async def settle(self, key: Hashable, whole: str | None = None) -> None:
        """Say that the message `key` is complete, and the thought.

        Args:
            key: of a message, which may not have begun.
            whole: all of its text; None when nobody knows better than what was said.

        Raises:
            RuncastError: as `Run.emit`.
        """
        async with self._turn:
            await self._tell_rest(self._thoughts.pop(key, None))
            message = self._messages.pop(key, None)
            if self.run.ended or (message is None and not whole):
                return
            message = message or _Message()
            if whole is None or whole == message.told:
                await self._respond(message, "", TEXT_MODE_DELTA, final=True)
            elif message.told and whole.startswith(message.told):
                await self._respond(message, whole[len(message.told) :], TEXT_MODE_DELTA, final=True)
            else:
                await self._respond(message, whole, TEXT_MODE_WHOLE, final=True)

    async def think(self, key: Hashable, text: str) -> None:
        """Go on with the thought `key`. Raises as `Run.emit`."""
        if not text:
            return
        async with self._turn:
            thought = self._thoughts.setdefault(key, _Thought())
            before, _, rest = (thought.passage + text).lstrip().rpartition("\n\n")
            if before and rest.strip():  # a new passage has begun
                thought.passage, thought.told = rest, 0
            else:
                thought.passage = (thought.passage + text).lstrip()
            grown = len(thought.passage) - thought.told
            if grown >= limits.THOUGHT_CHARS_AT_ONCE or (grown and thought.passage.rstrip(" ").endswith(_SENTENCE_ENDS)):
                await self._tell(thought)

    async def reflect(self, key: Hashable, whole: str = "") -> None:
        """Say that the thought `key` is complete.

        Args:
            key: of a thought; one that has not begun is `whole`.
            whole: all of it.

        Raises:
            RuncastError: as `Run.emit`.
        """
        if key not in self._thoughts and whole.strip():
            await self.think(key, whole.strip())
        async with self._turn:
            await self._tell_rest(self._thoughts.pop(key, None))

    async def begin(self, key: Hashable, tool: str, args: object = None) -> None:
        """A tool call begins; one that is open under this key already goes on. Raises as `Run.emit`.

        Args:
            key: of the call.
            tool: its name.
            args: its arguments; a text that is JSON is told as what it holds.
        """
        if key in self._calls or self.run.ended:
            return
        call = self.run.tool_of_json(tool, encode_leniently(_unwrap(args), limits.INSTRUMENT_BYTES_MAX), "", None)
        self._calls[key] = call
        try:
            await call.__aenter__()
        except BaseException:
            self._calls.pop(key, None)
            raise

    async def end(self, key: Hashable, result: object = None) -> None:
        """The call `key` has a result. Does nothing when it is not open. Raises as `Run.emit`."""
        call = self._calls.pop(key, None)
        if call is not None and not self.run.ended:
            call.set_result_json(encode_leniently(result, limits.INSTRUMENT_BYTES_MAX))
            await call.__aexit__(None, None, None)

    async def fail(self, key: Hashable, error: BaseException | str) -> None:
        """The call `key` failed.

        Args:
            key: of the call; nothing is done when it is not open.
            error: what it raised, or what the model was told. A cancellation completes the call as cancelled.

        Raises:
            RuncastError: as `Run.emit`.
        """
        call = self._calls.pop(key, None)
        if call is None or self.run.ended:
            return
        if isinstance(error, str):
            call.fail(error)
            await call.__aexit__(None, None, None)
        else:
            await call.__aexit__(type(error), error, error.__traceback__)

    async def custom(self, name: str, data: object = None) -> None:
        """An event of the application's own. Raises as `Run.emit`."""
        if not self.run.ended:
            await self.run.custom(name, to_plain(data))

    async def close(self, error: BaseException | None = None) -> None:
        """Close what is open.

        Args:
            error: what ended the framework's work. When a single call is open, that is what failed; of several nobody knows, so they
                count as cancelled.
        """
        calls, self._calls = self._calls, {}
        messages, self._messages = self._messages, {}
        if self.run.ended:
            return
        reason = error if error is not None and len(calls) == 1 else asyncio.CancelledError()
        for call in calls.values():
            await call.__aexit__(type(reason), reason, None)
        try:
            for message in messages.values():
                self.run.emit_now(_response(message, "", TEXT_MODE_DELTA, final=True))
        except RuncastError as failure:
            if error is None:
                raise
            if failure is not error:
                error.add_note(f"and what it said could not be made final: {failure}")

    async def _respond(self, message: _Message, text: str, mode: TextMode, *, final: bool) -> None:
        await self.run.emit(_response(message, text, mode, final=final))

    async def _tell_rest(self, thought: _Thought | None) -> None:
        if thought is not None and len(thought.passage) > thought.told:
            await self._tell(thought)

    async def _tell(self, thought: _Thought) -> None:
        thought.told = len(thought.passage)
        if not self.run.ended:
            shown = thought.passage.strip()
            cut = len(shown) - limits.THOUGHT_CHARS_MAX
            await self.run.thinking("…" + shown[cut + 1 :] if cut > 0 else shown)


@asynccontextmanager
async def narrate(run: Run | None, agent: str, title: str = "") -> AsyncIterator[Narration]:
    """Narrate a block; what it raises is told, and raised.

    Args:
        run: where; None for the current run, or a child of it when that is narrated already.
        agent: whose block it is.
        title: what it is about, for people.

    Raises:
        LifecycleError: there is no run, or it lives in another event loop.
        RuncastError: as `Run.emit`.
    """
    where = run or current_run()
    if where.is_open and where.loop is not asyncio.get_running_loop():
        raise LifecycleError(f"run {where.id} lives in another event loop; run the agent there, by the framework's async calls")
    nested = run is None and where is _narrated.get()
    narration = await Narration(where).child(agent, title) if nested else await Narration.open(where)
    token = _narrated.set(narration.run)
    try:
        yield narration
    except BaseException as error:
        await narration.finish(error)
        raise
    else:
        await narration.finish()
    finally:
        _narrated.reset(token)


def to_plain(value: object) -> object:
    """The nearest that JSON has a form for, cut to `limits.INSTRUMENT_BYTES_MAX`; what has none is told by its class."""
    plain: object = json.loads(encode_leniently(value, limits.INSTRUMENT_BYTES_MAX) or b"null")
    return plain


def _unwrap(args: object) -> object:
    """Arguments as frameworks hand them on from the model: often JSON, as a text."""
    if not isinstance(args, str):
        return args
    try:
        unwrapped: object = json.loads(args)
    except ValueError:
        return args
    return unwrapped


def _response(message: _Message, text: str, mode: TextMode, *, final: bool) -> Event:
    return Event(agent_response=AgentResponse(message_id=message.id, text=text, mode=mode, final=final))
