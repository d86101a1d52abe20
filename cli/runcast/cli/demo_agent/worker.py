"""The demo agent's process: takes messages of its group, answers each in a run of its own, and ends cleanly.

Rules: a message's run begins at once, and says so when it has to wait for one of the `ANSWERING_MAX` places; past `OPEN_RUNS_MAX` open
runs further messages wait in the inbox. What goes wrong in one run ends that run, never the process.

When a message is acknowledged: as soon as its run's start is stored. Before that nobody has seen anything, so when this process dies
the message goes to another worker and the user just waits a little longer. After it the user sees the run, and the run's lease sees to
it that a death shows (`run_lost`); asking again behind the user's back would hand a message that kills its worker to one worker after
the other. It also keeps slow answers (a small pace) from being handed out twice. A message that is delivered again all the same (its
acknowledgement was lost) is a further attempt of the same run, so it never gives two answers.

Order of stopping: take no more messages; cancel the open runs, which their users see; send what is left, for
`limits_client.CLOSE_TIMEOUT_S` at most; go.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runcast.cli.demo_agent.answer import DEPTH_DEFAULT, PACE_DEFAULT, PATIENCE_DEFAULT, Answerer, in_thread
from runcast.cli.demo_agent.corpus import Corpus, load_corpus
from runcast.cli.demo_agent.reply import shorten
from runcast.cli.demo_agent.search import Index
from runcast.client import InboxMessage, Runcast, RuncastError, UnavailableError

ANSWERING_MAX: Final = 8
"""Answers worked on at once. Further runs say that they wait, and can be cancelled meanwhile."""
OPEN_RUNS_MAX: Final = 64
"""Runs open at once, the waiting ones included. Further messages wait in the inbox, where another worker may take them."""

_log = logging.getLogger("runcast.demo_agent")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a demo agent is started with.

    Attributes:
        router: routers as `host:port`, several with commas between them.
        group: the agent group whose messages it takes.
        agent: the name that its events carry.
        corpus: a folder of text; None for the standard library.
        depth: passages read for each question.
        pace: characters a second at which answers are streamed; 0.0 for as fast as it goes.
        patience: how long a user may take to say what was meant, seconds; 0.0: nobody is asked.
    """

    router: str = "127.0.0.1:7400"
    group: str = "demo"
    agent: str = "demo"
    corpus: Path | None = None
    depth: int = DEPTH_DEFAULT
    pace: float = PACE_DEFAULT
    patience: float = PATIENCE_DEFAULT


def load(folder: Path | None, stopped: Callable[[], bool]) -> tuple[Corpus, Index]:
    """Load and index a corpus; blocking.

    Args:
        folder: any folder of text; None for the standard library.
        stopped: asked now and then; True ends the loading.

    Raises:
        CorpusError: there is nothing to load.
        LoadStoppedError, SearchStoppedError: `stopped` returned True.
    """
    begun = time.monotonic()
    corpus = load_corpus(folder, stopped=stopped)
    index = Index(corpus.passages, stopped=stopped)
    left_out = "".join(f", left out {count} {reason}" for reason, count in corpus.left_out.items())
    took_s = time.monotonic() - begun
    _log.info("loaded %s: %d passages of %d files in %.1f s%s", corpus.title, len(corpus.passages), corpus.files, took_s, left_out)
    return corpus, index


async def serve(settings: WorkerSettings, stop: asyncio.Event, announce: Callable[[], None]) -> None:
    """Answer messages until `stop` is set, then end cleanly.

    Args:
        settings: what to connect to and how to answer.
        stop: set it to end.
        announce: called once, when messages are taken.

    Raises:
        ValueError: a setting is out of its range.
        CorpusError: there is no corpus.
        RuncastError: no router will ever let this agent in.
    """

    async def work() -> None:
        corpus, index = await in_thread(lambda stopped: load(settings.corpus, stopped))
        answerer = Answerer(corpus, index, depth=settings.depth, pace=settings.pace, patience=settings.patience)
        async with Runcast(settings.router, agent=settings.agent) as runcast:
            await _connected(runcast)
            await _take_messages(runcast, settings.group, answerer, announce)

    await _until(stop, work())


async def _until(stop: asyncio.Event, work: Awaitable[None]) -> None:
    """Await `work`, and cancel it when `stop` is set. Raises what it raised."""

    async def watch() -> None:
        await stop.wait()
        raise _StopError

    try:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch(), name="stop")
            await work
            watching.cancel()
    except* _StopError:
        _log.info("stopped")


class _StopError(Exception):
    """Raised in the group that works, to cancel the rest of it."""


async def _connected(runcast: Runcast) -> None:
    """Wait for a router, as long as it takes, saying every few seconds that there is none."""
    while True:
        try:
            await runcast.ready()
        except UnavailableError as exc:
            _log.warning("%s; still trying", exc.message)
        else:
            return


async def _take_messages(runcast: Runcast, group: str, answerer: Answerer, announce: Callable[[], None]) -> None:
    """Begin a run for each message, until cancelled."""
    open_runs = asyncio.Semaphore(OPEN_RUNS_MAX)
    answering = asyncio.Semaphore(ANSWERING_MAX)
    async with asyncio.TaskGroup() as tasks:
        inbox = runcast.inbox(group, in_flight=ANSWERING_MAX)
        announce()
        await open_runs.acquire()
        async for message in inbox:
            task = tasks.create_task(_handle(runcast, message, answerer, answering), name=f"answer to {message.id}")
            task.add_done_callback(lambda _task: open_runs.release())
            await open_runs.acquire()


def run_id_of(message_id: str) -> str:
    """The id of the run that answers a message: the same for every delivery of it."""
    return f"answer-{hashlib.sha256(message_id.encode()).hexdigest()[:24]}"


async def _handle(runcast: Runcast, message: InboxMessage, answerer: Answerer, answering: asyncio.Semaphore) -> None:
    """Answer one message in a run of its own; what goes wrong is told in the run and logged, and goes no further."""
    if message.answer is not None:
        _log.warning("an answer to %s came to the group, but this agent asks for its own", message.answer.request_id)
        await message.reject()
        return
    run = runcast.run(
        user=message.user,
        tenant=message.tenant,
        thread=message.thread,
        title=shorten(message.text),
        reply_to=message.id,
        run_id=run_id_of(message.id),
        attempt=max(1, message.tries),
    )
    begun = time.monotonic()
    outcome = "answered"
    try:
        async with run:
            await run.flush()
            await message.ack()
            if answering.locked():
                await run.thinking(f"Waiting: {ANSWERING_MAX} other questions are being answered")
            async with answering:
                await answerer.answer(run, message.text)
    except RuncastError as exc:
        outcome = f"not stored: {exc}"
        # Both do nothing when it was acknowledged before.
        await (message.retry() if exc.code.retry else message.reject())
    except Exception:  # the run has told it to the user as its error
        outcome = "failed"
        _log.exception("answering %s failed", message.id)
    if run.cancelled:
        outcome = f"cancelled: {run.cancel_reason}"
    _log.info("run %s, attempt %d: %s, %.2f s", run.id, run.attempt, outcome, time.monotonic() - begun)
