"""One answer, told as a run's events: searching, ranking, reading, and the text as it is composed.

Theory: what to look for, read and say is decided in `reply`; `Answerer.answer` carries it out step by step and emits an event for each.
Searching and reading run in threads, so that the loop stays free and a cancel takes effect at once: it ends the awaiting, and tells
the thread to stop.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from runcast.cli.demo_agent.corpus import Corpus, CorpusError, Excerpt, read_excerpt
from runcast.cli.demo_agent.reply import NEAREST_SHOWN, Part, Reading, choose, compose, pieces, plan, quote, suggestion, summarize
from runcast.cli.demo_agent.search import Found, Hit, Index, is_relevant
from runcast.client import Run
from runcast.wire import limits_client as limits

DEPTH_DEFAULT: Final = 6
"""Passages read for a question."""
DEPTH_MAX: Final = 50
"""The same, at most; what is quoted of them still fits one answer."""
PACE_DEFAULT: Final = 400.0
"""Characters a second at which an answer is streamed: fast, but a person can follow it."""
PATIENCE_DEFAULT: Final = 60.0
"""How long the user may take to say what was meant, seconds."""
NOTHING_MEANT: Final = "None of these"
"""The option beside the names that are offered."""
HITS_SHOWN: Final = 5
"""Hits that a search's result lists."""

_T = TypeVar("_T")
Stopped = Callable[[], bool]


def _shown(hits: Iterable[Hit]) -> list[dict[str, Any]]:
    return [
        {
            "name": hit.passage.name,
            "file": hit.passage.file,
            "line": hit.passage.line,
            "score": round(hit.score, 2),
            **({"coverage": round(hit.coverage, 2), "matched": list(hit.matched[:8])} if hit.matched else {}),
        }
        for hit in hits
    ]


async def in_thread(work: Callable[[Stopped], _T]) -> _T:
    """Run `work` in a thread. Being cancelled ends the awaiting at once, and tells `work` to stop.

    Args:
        work: is given a function that says whether to stop; asks it now and then.
    """
    stop = threading.Event()
    try:
        return await asyncio.to_thread(work, stop.is_set)
    finally:
        stop.set()


class Answerer:
    """Answers questions about one corpus, several at once.

    Args:
        corpus: what is searched and read.
        index: its index.
        depth: passages read for each question, 1 to `DEPTH_MAX`.
        pace: characters a second at which the answer is streamed, above 0.0; 0.0 for as fast as it goes.
        patience: how long the user is asked what was meant when nothing is found, seconds, up to a day; 0.0: not at all.

    Raises:
        ValueError: depth, pace or patience is out of its range.
    """

    def __init__(
        self, corpus: Corpus, index: Index, *, depth: int = DEPTH_DEFAULT, pace: float = PACE_DEFAULT, patience: float = PATIENCE_DEFAULT
    ) -> None:
        if not 1 <= depth <= DEPTH_MAX:
            raise ValueError(f"depth is {depth}; use 1 to {DEPTH_MAX} passages")
        if not (pace >= 0 and math.isfinite(pace)):
            raise ValueError(f"pace is {pace}; use characters a second, or 0 for as fast as it goes")
        if not 0 <= patience <= limits.ASK_WAIT_MAX_S:
            raise ValueError(f"patience is {patience}; use seconds up to a day, or 0 to ask nothing")
        self._corpus = corpus
        self._index = index
        self._depth = depth
        self._pace = pace
        self._patience = patience
        # How long the last calls of each tool took, seconds: what the next one is expected to take.
        self._took_s: dict[str, float] = {}

    async def answer(self, run: Run, message: str) -> None:
        """Answer `message` in `run`, to its end.

        Args:
            run: an open run; a cancel of it ends this at the next await.
            message: what the user wrote.
        """
        parts = plan(message)
        steps = 2 + 2 * len(parts) + self._depth * len(parts)
        step = 1
        await run.thinking(_intent(parts), progress=0.0, step=step, steps=steps)
        found, ranked = await self._find(run, parts, step, steps)
        step += 2 * len(parts)
        reads = choose(parts, ranked, depth=self._depth)
        if not reads and len(parts) == 1 and (name := await self._ask_what_was_meant(run, parts[0])):
            parts = plan(name)
            found, ranked = await self._find(run, parts, step, steps)
            step += 2
            reads = choose(parts, ranked, depth=self._depth)
        # From here on it is known how much there is to read.
        steps = step + len(reads) + 1
        readings: list[Reading] = []
        unread: list[tuple[int, Hit]] = []
        for number, hit in reads:
            step += 1
            await run.thinking(f"Reading {hit.passage.name}", progress=step / steps, step=step, steps=steps)
            excerpt = await self._read(run, hit)
            if excerpt is None:
                unread.append((number, hit))
            else:
                rank = sum(reading.part == number for reading in readings)
                readings.append(Reading(number, hit, excerpt, quote(self._index, parts[number], hit, rank=rank)))
        await run.thinking("Writing the answer" if reads else "Nothing fits; saying so", progress=step / steps, step=steps, steps=steps)
        for paragraph in compose(self._index, self._corpus.title, parts, found, readings, unread):
            for piece in pieces(paragraph):
                await run.respond(piece)
                if self._pace:
                    await asyncio.sleep(len(piece) / self._pace)
        sources = [
            {"name": reading.hit.passage.name, "file": reading.excerpt.file, "line": reading.hit.passage.line} for reading in readings
        ]
        await run.complete(summarize(parts, readings), result={"sources": sources})

    async def _find(self, run: Run, parts: Sequence[Part], step: int, steps: int) -> tuple[list[int], list[list[Hit]]]:
        """For each part, how many passages hold a word of it, and the best of them."""
        found: list[int] = []
        ranked: list[list[Hit]] = []
        for part in parts:
            result = await self._search(run, part)
            step += 1
            await run.thinking(
                f"Found {result.total:,} of {len(self._corpus.passages):,} passages; ranking the best",
                progress=step / steps,
                step=step,
                steps=steps,
            )
            ranked.append(await self._rank(run, part, result))
            step += 1
            found.append(result.total)
        return found, ranked

    async def _ask_what_was_meant(self, run: Run, part: Part) -> str:
        """A name of the corpus that the user chose in place of a question that nothing answers; "" for none."""
        names = self._index.nearest_names(part.query, limit=NEAREST_SHOWN) if part.query.terms else []
        if not (names and self._patience):
            return ""
        options = [*names, NOTHING_MEANT]
        chosen = await run.ask(suggestion(self._corpus.title, part), options=options, default=NOTHING_MEANT, timeout_s=self._patience)
        return "" if chosen == NOTHING_MEANT else chosen

    async def _search(self, run: Run, part: Part) -> Found:
        args = {"words": list(part.query.words), "corpus": self._corpus.title}
        purpose = f"Find the passages that speak of {', '.join(part.query.words[:6])}" if part.query.words else "Look for the message"
        async with run.tool("search_corpus", args=args, purpose=purpose, estimate_s=self._took_s.get("search_corpus")) as tool:
            begun = time.monotonic()
            result = await in_thread(lambda stopped: self._index.find(part.query, stopped=stopped))
            self._took_s["search_corpus"] = time.monotonic() - begun
            tool.result = {
                "hits": result.total,
                "passages": len(self._corpus.passages),
                "top": _shown(result.candidates[:HITS_SHOWN]),
            }
        return result

    async def _rank(self, run: Run, part: Part, result: Found) -> list[Hit]:
        args = {"candidates": len(result.candidates), "wanted": self._depth}
        purpose = "Order them by how much of the question they answer"
        async with run.tool("rank_passages", args=args, purpose=purpose, estimate_s=self._took_s.get("rank_passages")) as tool:
            begun = time.monotonic()
            hits = await in_thread(
                lambda stopped: self._index.rank(part.query, result.candidates, limit=max(self._depth, HITS_SHOWN), stopped=stopped)
            )
            self._took_s["rank_passages"] = time.monotonic() - begun
            tool.result = {"relevant": sum(is_relevant(hit, part.query) for hit in hits), "top": _shown(hits[:HITS_SHOWN])}
        return hits

    async def _read(self, run: Run, hit: Hit) -> Excerpt | None:
        """Read a passage from disk; None when it is gone, which the tool's own event has told."""
        passage = hit.passage
        args = {"file": passage.file, "line": passage.line}
        async with run.tool("read_passage", args=args, purpose=f"Read {passage.name}", estimate_s=self._took_s.get("read_passage")) as tool:
            begun = time.monotonic()
            try:
                excerpt = await in_thread(lambda _stopped: read_excerpt(self._corpus, passage))
            except CorpusError as exc:
                tool.fail(str(exc))
                return None
            self._took_s["read_passage"] = time.monotonic() - begun
            tool.result = {"file": excerpt.file, "line": excerpt.line, "end_line": excerpt.end_line, "excerpt": excerpt.text}
        return excerpt


def _intent(parts: Sequence[Part]) -> str:
    """What is about to be looked for, for people."""
    looked = "; ".join(", ".join(part.query.words[:6]) for part in parts if part.query.words) or "nothing that has a name"
    return f"Reading the question: looking for {looked}" if len(parts) == 1 else f"Reading {len(parts)} questions: looking for {looked}"
