"""Which sentences of a passage to quote: the opening one, which says what the thing is, and those that fit the question best.

Invariants: a quote's words stand in the passage, in that order, from its line on; only white space and the marks of lists and headings
are left out, and what is cut ends in an ellipsis. Examples and source are quoted by the block, as they stand.

Pure: imports no asyncio, clock, random or logging.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from runcast.cli.demo_agent.passage import Passage
from runcast.cli.demo_agent.words import Query, terms_of

QUOTE_CHARS_MAX: Final = 420
"""Characters of one quoted sentence; a longer one is cut at a word, with an ellipsis."""
BLOCK_LINES_MAX: Final = 16
"""Lines of one quoted block of code; the further ones are left out, with an ellipsis."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence of a passage.

    Attributes:
        text: its words, white space collapsed; source lines keep theirs.
        line: the line of the file that it begins on.
        code: whether it is an example or source, to be shown as it stands.
        score: how well it fits the question.
    """

    text: str
    line: int
    code: bool
    score: float


_SENTENCE_END = re.compile(r"(?<=[.!?:])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!vs\.)\s+(?=[A-Z0-9\"'`(*\[])")
_MARGIN = re.compile(r"^\s*(?:[-*+|]|\d+[.)]|>(?!>>))\s+")
_DEFINITION = re.compile(r"^\s*(?:@|(?:async )?def |class )")
_HEADING = re.compile(r"^#{1,6}\s")


def best_sentences(passage: Passage, query: Query, *, limit: int, rarity: Callable[[str], float] | None = None) -> list[Quote]:
    """Choose what of a passage to quote.

    Args:
        passage: the passage.
        query: what was asked.
        limit: quotes wanted at most, 1 or more.
        rarity: weight of a term; all alike by default.

    Returns:
        In the order of the text; the opening sentence is among them, since it says what the thing is. Empty for a blank passage.
    """
    sentences = list(_sentences(passage) if passage.documented else _source_blocks(passage))
    if not sentences:
        return []
    scored: list[tuple[float, int]] = []
    for number, sentence in enumerate(sentences):
        terms = terms_of(sentence.text)
        held = set(terms) & query.terms.keys()
        score = sum(query.terms[term] * (rarity(term) if rarity else 1.0) for term in held) / math.sqrt(12 + len(terms))
        scored.append((score * (0.5 if sentence.code and passage.documented else 1.0), number))
    chosen = {0} if passage.kind != "section" or scored[0][0] > 0 else set()
    if not passage.documented:
        limit = min(limit, 2)
    for score, number in sorted(scored, key=lambda pair: (-pair[0], pair[1])):
        if len(chosen) >= limit or (score <= 0 and chosen):
            break
        chosen.add(number)
    return [
        replace(sentences[number], score=scored[number][0], text=_shorten(sentences[number].text, code=sentences[number].code))
        for number in sorted(chosen)
    ]


def _shorten(text: str, *, code: bool) -> str:
    if code:
        lines = [line if len(line) <= QUOTE_CHARS_MAX else line[:QUOTE_CHARS_MAX] + " …" for line in text.split("\n")]
        return "\n".join(lines if len(lines) <= BLOCK_LINES_MAX else [*lines[:BLOCK_LINES_MAX], "…"])
    if len(text) <= QUOTE_CHARS_MAX:
        return text
    cut = text.rfind(" ", 0, QUOTE_CHARS_MAX)
    return text[: cut if cut > QUOTE_CHARS_MAX // 2 else QUOTE_CHARS_MAX].rstrip() + " …"


def _sentences(passage: Passage) -> Iterable[Quote]:
    """The sentences of a text, and its blocks of code whole; `text` of a sentence has single spaces."""
    fenced = False
    block: list[tuple[int, str]] = []
    blocks: list[tuple[list[tuple[int, str]], bool]] = []

    def close(*, code: bool = False) -> None:
        nonlocal block
        if block:
            blocks.append((block, code))
        block = []

    for offset, line in enumerate(passage.text.split("\n")):
        if line.lstrip().startswith(("```", "~~~")):
            close(code=fenced)
            fenced = not fenced
        elif not line.strip():
            if not fenced:
                close(code=_looks_like_code(block))
        elif set(line.strip()) <= set("=-~^*_|:+ ") and len(line.strip()) > 2:
            close(code=fenced)
        else:
            heading = not fenced and passage.kind == "section" and bool(_HEADING.match(line))
            if block and not fenced and (heading or _MARGIN.match(line)):
                close(code=_looks_like_code(block))
            # A heading names the passage, so that it needs no quoting.
            if not heading:
                block.append((offset, line))
    close(code=fenced or _looks_like_code(block))
    for lines, code in blocks:
        if code:
            yield Quote("\n".join(line.rstrip() for _offset, line in lines), passage.text_line + lines[0][0], code=True, score=0.0)
        else:
            yield from _prose(lines, passage.text_line)


def _looks_like_code(block: Sequence[tuple[int, str]]) -> bool:
    """Whether a paragraph is an example: an interpreter's session, or indented with the marks of source."""
    if not block:
        return False
    first = block[0][1]
    if first.lstrip().startswith((">>>", "...", "$ ")):
        return True
    indented = all(line.startswith(("    ", "\t")) for _offset, line in block)
    return indented and any(re.search(r"[=({\[]|^\s*(?:import|from|for|with|def|class|if|try|return)\b", line) for _offset, line in block)


def _prose(lines: Sequence[tuple[int, str]], text_line: int) -> Iterable[Quote]:
    """The sentences of one paragraph, each with the line that it begins on."""
    starts: list[tuple[int, int]] = []
    joined = ""
    for number, (offset, line) in enumerate(lines):
        words = " ".join((_MARGIN.sub("", line) if number == 0 else line).split())
        if joined:
            joined += " "
        starts.append((len(joined), offset))
        joined += words
    begin = 0
    for end in [*(match.start() for match in _SENTENCE_END.finditer(joined)), len(joined)]:
        sentence = joined[begin:end].strip()
        if sentence and any(char.isalnum() for char in sentence):
            at = begin + (len(joined[begin:end]) - len(joined[begin:end].lstrip()))
            offset = max(offset for start, offset in starts if start <= at)
            yield Quote(sentence, text_line + offset, code=False, score=0.0)
        begin = end


def _source_blocks(passage: Passage) -> Iterable[Quote]:
    """The source of a thing without documentation: its heading, then what follows, cut before each `def`; comments stay with theirs."""
    lines = passage.text.split("\n")
    head = passage.signature.count("\n") + 1 if passage.text.startswith(passage.signature) else 1
    begin = 0
    for end in [*(at for at in range(head, len(lines)) if _DEFINITION.match(lines[at])), len(lines)]:
        block = lines[begin:end]
        while block and not block[-1].strip():
            block.pop()
        if block:
            yield Quote("\n".join(block), passage.text_line + begin, code=True, score=0.0)
        begin = end
