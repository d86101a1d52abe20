"""A passage: a piece of text that can be found, read and quoted, with its place.

Pure; the one word that the corpus, the search and the answer share.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text and where it is.

    Attributes:
        file: path relative to the corpus's root, with `/`.
        line: where it begins, from 1 (for a documented thing, its `class` or `def`).
        end_line: where it ends, inclusive.
        text_line: the line of the text's first line.
        name: what people call it: `asyncio.TaskGroup`, or the heading above it.
        kind: module, class, function, method or section.
        signature: the heading of the thing in its source; empty for sections.
        text: what it says; its line breaks are the file's.
        names: every name that it can be asked by, `name` first.
        hint: further words that it is found by but that are not quoted, e.g. the names of a class's methods.
        documented: whether the text was written for people; else it is source.
        prior: how much it counts next to others of the same fit; 1.0 for public, documented things.
    """

    file: str
    line: int
    end_line: int
    text_line: int
    name: str
    kind: str
    signature: str
    text: str
    names: tuple[str, ...]
    hint: str = ""
    documented: bool = True
    prior: float = 1.0

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"
