"""How text becomes terms, and a question becomes what is looked for.

Rules: an identifier counts whole and in its parts (`asyncio.TaskGroup` is `asyncio.taskgroup`, `asyncio`, `taskgroup`, `task`,
`group`); plain words are reduced to a stem, so that *reading*, *reader* and *read* meet. A question's own words weigh 1, the
near-synonyms that are added to it weigh less, and words that every question has (how, do, I) weigh nothing unless there is no other.

Invariants: terms are never empty and never hold white space; `terms_of(a + " " + b)` is `terms_of(a)` followed by `terms_of(b)`; letter
case changes nothing except where it separates the parts of an identifier.

Pure: imports no asyncio, clock, random or logging.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

QUERY_TERMS_MAX: Final = 64
"""Distinct terms taken from one question, the first ones; the rest is not looked for."""
PARTS_MAX: Final = 4
"""Parts that one message is taken apart into; what follows belongs to the last."""
TERM_CHARS_MAX: Final = 64
"""Characters of a term; a longer word is cut, so that a base64 blob costs no more than a word."""
SYNONYM_WEIGHT: Final = 0.35
"""What a synonym counts, next to 1 for the word that was asked with."""

_WORD = re.compile(r"[^\W\d_]\w*(?:\.[^\W\d_]\w*)*|\w+")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_VOWEL = re.compile(r"[aeiouy]")

STOP_WORDS: Final = frozenset({
    "a", "about", "all", "also", "am", "an", "and", "any", "anybody", "anyone", "are", "as", "at", "be", "been", "being", "best",
    "but", "by", "can", "could", "did", "do", "does", "doing", "don", "each", "easily", "explain", "find", "for", "from", "get",
    "give", "go", "had", "has", "have", "having", "help", "hi", "hello", "how", "i", "if", "in", "into", "is", "it", "its", "just",
    "know", "let", "like", "many", "may", "me", "mean", "means", "might", "most", "much", "must", "my", "need", "of", "on", "one", "or",
    "our", "out", "over", "per", "please", "provide", "provided", "python", "s", "same", "shall", "should", "show", "simple", "so",
    "some", "someone", "such", "t", "tell", "than",
    "thank", "thanks", "that", "the", "their", "them", "then", "there", "these", "they", "thing",
    "things", "this", "those", "to", "too", "try", "us", "use", "used", "uses", "using", "want", "was", "way", "ways", "we", "well",
    "were", "what", "when", "where", "which", "while", "who", "whom", "why", "will", "wish", "with", "without", "work", "works",
    "would", "you", "your",
})  # fmt: skip
"""Words that say nothing about the subject of a question."""

_SYNONYMS: Final[tuple[tuple[str, ...], ...]] = (
    ("create", "make", "build", "new"),
    ("delete", "remove", "erase", "unlink"),
    ("folder", "directory", "dir"),
    ("dict", "dictionary", "mapping"),
    ("temporary", "temp", "tmp"),
    ("concurrent", "parallel"),
    ("async", "asynchronous", "asyncio"),
    ("compress", "zip", "gzip"),
    ("parse", "read", "load", "decode"),
    ("write", "dump", "save", "encode"),
    ("run", "execute", "call"),
    ("program", "command", "process"),
    ("argument", "option", "parameter", "arg"),
    ("string", "text", "str"),
    ("number", "integer", "int"),
    ("list", "sequence"),
    ("wait", "sleep", "pause"),
    ("stop", "cancel", "terminate", "kill"),
    ("error", "exception"),
    ("fast", "quick", "speed"),
    ("copy", "duplicate"),
    ("random", "shuffle"),
    ("download", "fetch", "urlopen"),
    ("email", "mail"),
    ("web", "http"),
    ("date", "datetime", "time"),
    ("thread", "threading"),
    ("count", "counter", "tally"),
    ("measure", "timeit", "benchmark"),
    ("cache", "memoize"),
    ("regex", "regexp", "re"),
    ("database", "sqlite", "sql"),
)


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes:
        text: the question as it was asked.
        terms: weight by term; 1.0 for the question's own, less for synonyms. At most `QUERY_TERMS_MAX` own terms.
        words: the question's own words that carry meaning, in their order, as they were written; for people.
        names: dotted or joined identifiers in the question, lower-case, that may name a passage outright.
        asked: groups of own terms, one for each word; the share of groups that a passage meets is its coverage.
    """

    text: str
    terms: Mapping[str, float] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    asked: tuple[tuple[str, ...], ...] = ()


def terms_of(text: str) -> list[str]:
    """All terms of a text, in its order, repeats included."""
    found: list[str] = []
    for word in _WORD.findall(text):
        found.extend(_terms_of_word(word[: TERM_CHARS_MAX * 2]))
    return found


@lru_cache(maxsize=65_536)
def _terms_of_word(word: str) -> tuple[str, ...]:
    """The terms of one word: itself whole, its dotted parts, their parts."""
    terms: dict[str, None] = {}
    if "." in word:
        terms[_cut(word.lower())] = None
    for piece in word.split("."):
        parts = _PART.findall(piece) if piece.isascii() else [piece]
        if len(parts) > 1:
            terms[_cut(piece.lower())] = None
        for part in parts:
            terms[_cut(stem(part.lower()))] = None
    return tuple(terms) or ("_",)


def _cut(term: str) -> str:
    return term[:TERM_CHARS_MAX]


_ENDINGS: Final = (
    ("ies", "y"),
    ("ations", ""),
    ("ation", ""),
    ("ions", ""),
    ("ion", ""),
    ("ings", ""),
    ("ing", ""),
    ("ers", ""),
    ("er", ""),
    ("ors", ""),
    ("or", ""),
    ("ed", ""),
    ("es", "e"),
    ("ly", ""),
)
_SHORT_ENDINGS: Final = frozenset({"er", "ing", "ed"})


def stem(word: str) -> str:
    """Reduce a lower-case word to what its forms have in common. Short words and words that are not ASCII stay.

    At least three letters and a vowel stay, so `string` is not `str`; a doubled last letter becomes one (`running`, `run`), and a last
    `e` goes (`parse`, `parsing`).
    """
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    for ending, instead in _ENDINGS:
        rest = word[: len(word) - len(ending)]
        if word.endswith(ending) and len(rest) + len(instead) >= (3 if ending in _SHORT_ENDINGS else 4) and _VOWEL.search(rest):
            word = rest + instead
            break
    else:
        if word.endswith("s") and not word.endswith(("ss", "us", "is")):
            word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiousl":
        word = word[:-1]
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return word


@lru_cache(maxsize=1)
def _synonyms_by_term() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for group in _SYNONYMS:
        stems = tuple(stem(word) for word in group)
        for one in stems:
            table[one] = tuple(other for other in stems if other != one)
    return table


def parse_query(question: str) -> Query:
    """Take a question apart.

    Args:
        question: what was asked; may be empty.

    Returns:
        A query with no terms when the question has no words at all.
    """
    written = list(dict.fromkeys(_WORD.findall(question)))
    words = [word for word in written if word.lower() not in STOP_WORDS] or written
    terms: dict[str, float] = {}
    kept: list[str] = []
    asked: list[tuple[str, ...]] = []
    for word in words:
        own = _terms_of_word(word[: TERM_CHARS_MAX * 2])
        if len(terms) + len(own) > QUERY_TERMS_MAX:
            break
        if own in asked:
            continue
        terms.update(dict.fromkeys(own, 1.0))
        kept.append(word)
        asked.append(own)
    synonyms = _synonyms_by_term()
    for term in tuple(terms):
        for other in synonyms.get(term, ()):
            terms.setdefault(other, SYNONYM_WEIGHT)
    names = tuple(word.lower() for word in kept)
    return Query(question, terms, tuple(kept), names, tuple(asked))


_QUESTION_WORD = r"(?:how|what|which|where|when|why|who|is|are|can|does|do)\b"
_BETWEEN = re.compile(
    rf"\?+\s+(?=\w)|\n+\s*(?:[-*]\s+)?(?=\w)|;\s+(?=\w)|,?\s+and\s+(?={_QUESTION_WORD})|,?\s+also\s+(?={_QUESTION_WORD})", re.IGNORECASE
)


def split_questions(message: str) -> list[str]:
    """The questions in one message, 1 to `PARTS_MAX`, none without a word that carries meaning (unless it is the only one)."""
    parts: list[str] = []
    for part in _BETWEEN.split(message):
        text = part.strip()
        if text and any(word.lower() not in STOP_WORDS for word in _WORD.findall(text)):
            parts.append(text)
    if len(parts) > PARTS_MAX:
        parts[PARTS_MAX - 1 :] = [" ".join(parts[PARTS_MAX - 1 :])]
    return parts or [message.strip()]
