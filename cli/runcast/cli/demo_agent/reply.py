"""What is looked for, what is read, and what is said: the deciding part of an answer.

Rules: every sentence of an answer between quotation marks stands in the file, from the line that is named with it. When nothing fits,
the answer says so, and names what comes nearest.

Invariants: `"".join(pieces(text)) == text`; no passage is read twice for one message; equal input gives the equal answer.

Pure: imports no asyncio, clock, random, logging or runcast.client.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from runcast.cli.demo_agent.corpus import Excerpt
from runcast.cli.demo_agent.quotes import Quote, best_sentences
from runcast.cli.demo_agent.search import Hit, Index, is_relevant
from runcast.cli.demo_agent.words import Query, parse_query, split_questions

PIECE_CHARS: Final = 48
"""Characters of one streamed piece, give or take a word."""
QUESTION_CHARS_SHOWN: Final = 120
"""Characters of a question that a title or heading repeats."""
NEAREST_SHOWN: Final = 5
"""Names that are offered when nothing was found."""
FAR_BEHIND: Final = 0.05
"""Share of the best hit's score below which a hit is about something else that shares a word."""
QUOTES_BY_RANK: Final = (4, 3, 2)
"""Sentences quoted of the best passage, of the second, and of each further one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One question of a message.

    Attributes:
        question: as it was asked.
        query: what is looked for.
    """

    question: str
    query: Query


@dataclass(frozen=True, slots=True)
class Reading:
    """A passage that was read for a part.

    Attributes:
        part: number of the part, from 0.
        hit: what the search said of it.
        excerpt: its lines on disk.
        quotes: what is quoted of it, in the order of its text.
    """

    part: int
    hit: Hit
    excerpt: Excerpt
    quotes: tuple[Quote, ...]


def plan(message: str) -> list[Part]:
    """Take a message apart into questions.

    Returns:
        At least one part; its query has no terms when the message has no words.
    """
    return [Part(question, parse_query(question)) for question in split_questions(message)]


def choose(parts: Sequence[Part], ranked: Sequence[Sequence[Hit]], *, depth: int) -> list[tuple[int, Hit]]:
    """Choose what to read: the relevant hits of each part, best first, no passage twice.

    Args:
        parts: the questions.
        ranked: the hits of each.
        depth: passages wanted for each part at most.
    """
    chosen: list[tuple[int, Hit]] = []
    taken: set[str] = set()
    for number, (part, hits) in enumerate(zip(parts, ranked, strict=True)):
        fitting = [hit for hit in hits if is_relevant(hit, part.query)]
        fitting = [hit for hit in fitting if hit.score >= FAR_BEHIND * fitting[0].score or hit.coverage >= 0.99]
        for hit in fitting[:depth]:
            if hit.passage.place not in taken:
                taken.add(hit.passage.place)
                chosen.append((number, hit))
    return chosen


def quote(index: Index, part: Part, hit: Hit, *, rank: int) -> tuple[Quote, ...]:
    """What to quote of a passage.

    Args:
        index: knows how rare each term is.
        part: the question.
        hit: the passage.
        rank: its place among those that are read for the part, from 0.
    """
    limit = QUOTES_BY_RANK[min(rank, len(QUOTES_BY_RANK) - 1)]
    return tuple(best_sentences(hit.passage, part.query, limit=limit, rarity=index.rarity))


def compose(
    index: Index,
    title: str,
    parts: Sequence[Part],
    found: Sequence[int],
    readings: Sequence[Reading],
    unread: Sequence[tuple[int, Hit]] = (),
) -> Iterator[str]:
    """Compose the answer, paragraph by paragraph.

    Args:
        index: what was searched.
        title: the corpus, for people.
        parts: the questions.
        found: how many passages hold a word of each.
        readings: what was read, in the order of parts and ranks.
        unread: what should have been read and could not be, with the number of its part.
    """
    for number, part in enumerate(parts):
        own = [reading for reading in readings if reading.part == number]
        if len(parts) > 1:
            yield f"{'' if number == 0 else chr(10)}On “{shorten(part.question)}”\n\n"
        missing = [hit.passage.place for at, hit in unread if at == number]
        if missing:
            yield f"What I found at {', '.join(missing)} could not be read any more, so it is not quoted.\n"
        if not own:
            if not missing:
                yield from _nothing(index, title, part, found[number])
            continue
        fit = "this one answers" if len(own) == 1 else f"these {len(own)} answer"
        yield f"{_speaking(found[number], title)} of {_either(part)}; {fit} best.\n\n"
        for rank, reading in enumerate(own, 1):
            yield _heading(rank, reading)
            for one in reading.quotes:
                yield _quoted(reading, one)
            yield "\n"
        unknown = [word for word, group in zip(part.query.words, part.query.asked, strict=True) if not any(map(index.knows, group))]
        if unknown:
            yield f"Nothing in {title} speaks of {', '.join(unknown)}.\n"


def _speaking(count: int, title: str) -> str:
    return f"1 passage of {title} speaks" if count == 1 else f"{count:,} passages of {title} speak"


def _either(part: Part) -> str:
    """The first words of a question: `a, b or c`."""
    *some, last = part.query.words[:6]
    return f"{', '.join(some)} or {last}" if some else last


def _heading(rank: int, reading: Reading) -> str:
    passage = reading.hit.passage
    shown = f"\n    {passage.signature}" if passage.signature and "\n" not in passage.signature and passage.documented else ""
    return f"{rank}. {passage.name} ({passage.place}){shown}\n"


def _quoted(reading: Reading, one: Quote) -> str:
    place = f"{reading.hit.passage.file}:{one.line}"
    if not one.code:
        return f"   “{one.text}” ({place})\n"
    lines = one.text.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    block = "\n".join(f"       {line[margin:]}".rstrip() for line in lines)
    return f"   {place}:\n{block}\n"


def _nothing(index: Index, title: str, part: Part, found: int) -> Iterator[str]:
    """The honest answer when no passage fits."""
    if not part.query.terms:
        yield "I found no words in this message to look for. Ask about something by its name, or in a sentence.\n"
        return
    if found:
        yield f"I found no answer. {_speaking(found, title)} of {_either(part)}, but none of enough of it. I searched nothing else.\n"
    else:
        yield f"I found nothing: no passage of {title} speaks of {_either(part)}. I searched nothing else.\n"
    names = index.nearest_names(part.query, limit=NEAREST_SHOWN)
    if names:
        yield f"The names that look most like it: {', '.join(names)}.\n"


def suggestion(title: str, part: Part) -> str:
    """What is asked when nothing fits and there are names that look like it."""
    return f"Nothing in {title} answers “{shorten(part.question)}”. Did you mean one of these?"


def pieces(text: str, *, chars: int = PIECE_CHARS) -> Iterator[str]:
    """Cut a text at the ends of words; the pieces together are the text.

    Args:
        text: what is cut; empty gives nothing.
        chars: how long a piece is, give or take a word; 1 or more.
    """
    start = 0
    while start < len(text):
        end = start + chars
        while end < len(text) and not text[end - 1].isspace():
            end += 1
        yield text[start:end]
        start = end


def shorten(text: str) -> str:
    """The first `QUESTION_CHARS_SHOWN` characters of a question, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= QUESTION_CHARS_SHOWN else line[: QUESTION_CHARS_SHOWN - 1].rstrip() + "…"


def summarize(parts: Sequence[Part], readings: Sequence[Reading]) -> str:
    """The run's outcome in a sentence."""
    if not readings:
        return "Found nothing that answers this."
    places = ", ".join(dict.fromkeys(reading.hit.passage.name for reading in readings[:3]))
    unanswered = len(parts) - len({reading.part for reading in readings})
    more = f"; {unanswered} of {len(parts)} questions found nothing" if unanswered else ""
    return f"Answered from {len(readings)} passage{'s' * (len(readings) > 1)}: {places}{' and more' * (len(readings) > 3)}{more}."
