"""The search: an index of passages, and two steps of ranking.

Theory: `Index.find` scores every passage that holds a term of the query by BM25 over two fields, the names (short, weighty) and the
text, and keeps the best few hundred. `rank` then looks at those again, with what is too dear to do for all: how much of the question
a passage covers, whether the words stand close together, whether it was asked for by name, and whether the same text came already.

Invariants: scores are positive and finite; the order is total (score, then place), so equal input gives equal output; a hit's `matched`
are terms of the query that are in the passage.

Pure: imports no asyncio, clock, random or logging.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from runcast.cli.demo_agent.passage import Passage
from runcast.cli.demo_agent.words import Query, terms_of

K1: Final = 1.2
"""BM25: how soon repeating a term stops to matter."""
B_TEXT: Final = 0.6
"""BM25: how much a long text counts against it; 0 not at all, 1 fully."""
NAME_WEIGHT: Final = 3.0
"""A term in a name counts like this many in the text."""
HINT_WEIGHT: Final = 0.4
"""A term in the hint counts like this many in the text."""
INDEXED_TERMS_MAX: Final = 4_000
"""Terms of one passage that are indexed; what a very long one says after them is not found."""
CANDIDATES_MAX: Final = 200
"""Passages that `find` hands to `rank`."""
RELEVANT_COVERAGE: Final = 0.42
"""The share of a question, by the rarity of its words, that a passage must meet to be an answer."""
NEAR_LIKENESS: Final = 0.4
"""Share of letter groups from which on a name looks like a word."""

Stopped = Callable[[], bool]


def _never() -> bool:
    return False


class SearchStoppedError(Exception):
    """The caller's `stopped` said so."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    Attributes:
        passage: what was found.
        score: higher is better; comparable within one query only.
        coverage: the share of the question that it meets, by rarity of the words, 0.0 to 1.0.
        matched: the query's terms that it holds, the rarest first.
    """

    passage: Passage
    score: float
    coverage: float = 0.0
    matched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What `Index.find` gives.

    Attributes:
        total: passages that hold at least one of the terms.
        candidates: the best of them, best first, `CANDIDATES_MAX` at most.
    """

    total: int
    candidates: tuple[Hit, ...]


class Index:
    """An inverted index of passages.

    Args:
        passages: what can be found; their order breaks ties.
        stopped: asked now and then; True ends the building.

    Raises:
        SearchStoppedError: `stopped` returned True.
    """

    __slots__ = ("_lengths", "_mean", "_names", "_postings", "passages")

    def __init__(self, passages: Sequence[Passage], *, stopped: Stopped = _never) -> None:
        self.passages = tuple(passages)
        self._postings: dict[str, dict[int, float]] = {}
        self._names: dict[str, list[int]] = {}
        self._lengths: list[int] = []
        for number, passage in enumerate(self.passages):
            if number % 256 == 0 and stopped():
                raise SearchStoppedError
            counts: dict[str, float] = {}
            text = terms_of(passage.text)[:INDEXED_TERMS_MAX]
            for term in text:
                counts[term] = counts.get(term, 0.0) + 1.0
            if passage.signature and passage.documented:
                for term in set(terms_of(passage.signature)):
                    counts[term] = counts.get(term, 0.0) + 1.0
            for term in set(terms_of(passage.hint)):
                counts[term] = counts.get(term, 0.0) + HINT_WEIGHT
            for term in _name_terms(passage):
                counts[term] = counts.get(term, 0.0) + NAME_WEIGHT
            for term, count in counts.items():
                self._postings.setdefault(term, {})[number] = count
            for name in passage.names:
                self._names.setdefault(name.lower(), []).append(number)
            self._lengths.append(len(text))
        self._mean = max(1.0, sum(self._lengths) / max(1, len(self._lengths)))

    def rarity(self, term: str) -> float:
        """BM25's inverse document frequency: high for rare terms, highest for unknown ones, always positive."""
        holds = len(self._postings.get(term, ()))
        return math.log(1.0 + (len(self.passages) - holds + 0.5) / (holds + 0.5))

    def knows(self, term: str) -> bool:
        """Whether any passage holds the term."""
        return term in self._postings

    def named(self, name: str) -> list[Passage]:
        """The passages with exactly this name, in any letter case."""
        return [self.passages[number] for number in self._names.get(name.lower(), ())]

    def find(self, query: Query, *, stopped: Stopped = _never) -> Found:
        """Score every passage that holds a term of the query.

        Args:
            query: what is looked for.
            stopped: asked between terms; True ends the search.

        Returns:
            No candidates when no passage holds a term of the question's own.

        Raises:
            SearchStoppedError: `stopped` returned True.
        """
        scores: dict[int, float] = {}
        own: set[int] = set()
        for term, weight in query.terms.items():
            if stopped():
                raise SearchStoppedError
            held = self._postings.get(term)
            if not held:
                continue
            rarity = self.rarity(term) * weight
            if weight >= 1.0:
                own.update(held)
            for number, count in held.items():
                longer = 1.0 - B_TEXT + B_TEXT * self._lengths[number] / self._mean
                scores[number] = scores.get(number, 0.0) + rarity * count * (K1 + 1.0) / (count + K1 * longer)
        for name in query.names:
            own.update(self._names.get(name, ()))
        kept = [(score * self.passages[number].prior, number) for number, score in scores.items() if number in own]
        kept.sort(key=lambda pair: (-pair[0], pair[1]))
        # What was asked for by name is looked at again even if its text says little.
        chosen = dict.fromkeys(number for _score, number in kept[:CANDIDATES_MAX])
        by_number = {number: score for score, number in kept}
        for name in query.names:
            chosen.update(dict.fromkeys(number for number in self._names.get(name, ())[:8] if number in by_number))
        return Found(len(kept), tuple(Hit(self.passages[number], by_number[number]) for number in chosen))

    def rank(self, query: Query, candidates: Iterable[Hit], *, limit: int, stopped: Stopped = _never) -> list[Hit]:
        """Look at the candidates again, closely.

        Args:
            query: what is looked for.
            candidates: what `find` gave for it.
            limit: hits wanted at most.
            stopped: asked between candidates; True ends the ranking.

        Returns:
            Best first, with coverage and matched terms; the same text only once.

        Raises:
            SearchStoppedError: `stopped` returned True.
        """
        rarities = {term: self.rarity(term) for term in query.terms}
        ranked: list[tuple[float, int, Hit]] = []
        for place, hit in enumerate(candidates):
            if stopped():
                raise SearchStoppedError
            passage = hit.passage
            name_terms = _name_terms(passage)
            text_terms = [*terms_of(passage.signature), *terms_of(passage.text)[:INDEXED_TERMS_MAX]]
            present = name_terms | set(text_terms) | set(terms_of(passage.hint))
            coverage = _coverage(query, present, rarities)
            in_name = _coverage(query, name_terms, rarities)
            score = hit.score * (0.15 + 0.85 * coverage**1.5) * (1.0 + 0.6 * in_name) * (1.0 + 0.25 * _closeness(query, text_terms))
            names = {name.lower() for name in passage.names}
            asked = [name for name in query.names if name in names]
            if asked and (passage.kind != "module" or len(query.asked) == 1):
                # A dotted name means that thing and nothing else; a plain word may mean much.
                score *= 6.0 if any("." in name or len(terms_of(name)) > 1 for name in asked) else 1.5
            matched = sorted((term for term in query.terms if term in present), key=lambda term: (-rarities[term], term))
            ranked.append((score, place, replace(hit, score=score, coverage=coverage, matched=tuple(matched))))
        ranked.sort(key=lambda entry: (-entry[0], entry[1]))
        seen: set[str] = set()
        best: list[Hit] = []
        for _score, _place, hit in ranked:
            text = hit.passage.text
            if text not in seen:
                seen.add(text)
                best.append(hit)
                if len(best) >= limit:
                    break
        return best

    def nearest_names(self, query: Query, *, limit: int) -> list[str]:
        """Names of passages that look like the question's words, by the letter groups that they share; best first.

        Args:
            query: what was looked for.
            limit: names wanted at most.
        """
        wanted = [_trigrams(word.lower()) for word in query.words]
        best: dict[str, tuple[float, int, str]] = {}
        for passage in self.passages:
            last = passage.name.rpartition(".")[2].lower()
            grams = _trigrams(last)
            likeness = max((2 * len(grams & want) / (len(grams) + len(want)) for want in wanted), default=0.0) * passage.prior
            if likeness >= NEAR_LIKENESS:
                entry = (-likeness, len(passage.name), passage.name)
                best[last] = min(entry, best.get(last, entry))
        return [name for _likeness, _length, name in sorted(best.values())[:limit]]


def is_relevant(hit: Hit, query: Query) -> bool:
    """Whether a ranked hit meets enough of the question to be an answer, or was asked for by name."""
    names = {name.lower() for name in hit.passage.names}
    return hit.coverage >= RELEVANT_COVERAGE or any("." in name and name in names for name in query.names)


def _name_terms(passage: Passage) -> set[str]:
    return {term for name in passage.names for term in terms_of(name)}


def _coverage(query: Query, present: set[str], rarities: Mapping[str, float]) -> float:
    """The share of the question's words that are present, by their rarity; a word is as present as its parts are."""
    total = met = 0.0
    for group in query.asked:
        weight = max(rarities[term] for term in group)
        total += weight
        if group[0] in present:
            met += weight
        elif len(group) > 1:
            # Parts of an identifier speak of its subject, but they are not it.
            met += 0.7 * weight * sum(term in present for term in group[1:]) / (len(group) - 1)
    return met / total if total else 0.0


def _closeness(query: Query, terms: Sequence[str]) -> float:
    """How close the question's words stand to each other, 0.0 (one only, or far apart) to 1.0 (all in a row)."""
    wanted = {group[0] for group in query.asked}
    if len(wanted) < 2:
        return 0.0
    window = 2 * len(wanted) + 4
    last: dict[str, int] = {}
    best = 1
    for place, term in enumerate(terms):
        if term in wanted:
            last[term] = place
            best = max(best, sum(place - seen < window for seen in last.values()))
    return (best - 1) / (len(wanted) - 1)


def _trigrams(word: str) -> set[str]:
    padded = f"^{word}$"
    return {padded[start : start + 3] for start in range(max(1, len(padded) - 2))}
