"""The corpus: passages of text, each with its place (file and line), loaded from disk and read again from disk.

Two kinds: the documentation strings of the running interpreter's standard library (`load_stdlib`), and any folder of text
(`load_folder`). A file belongs to a folder's corpus when it is not hidden, is UTF-8 without NUL bytes, and is within the bounds below.

Invariants: files are taken in the order of their names, so the same folder gives the same passages; `file` is relative to `root`, with
`/`; line numbers count from 1; a passage's text lies within its lines, and line `n` of the text is line `text_line + n` of the file.

Blocking: call from a thread. Never imports asyncio, grpc or runcast.client.
"""

import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runcast.cli.demo_agent.docstrings import ModuleText, passages_of_library, passages_of_module
from runcast.cli.demo_agent.passage import Passage

FILES_MAX: Final = 20_000
"""Files of a corpus. The further ones, in the order of names, are left out and counted."""
FILE_BYTES_MAX: Final = 2 * 1024 * 1024
"""Bytes of one file. A larger one is left out and counted."""
CORPUS_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of all files. The further files are left out and counted."""
SECTION_CHARS: Final = 1_200
"""Characters at which a folder's paragraphs stop being joined to one passage."""
SECTION_CHARS_MAX: Final = 6_000
"""Characters at which a passage is ended even inside a paragraph or a fenced block. One line is never cut."""
EXCERPT_LINES_MAX: Final = 60
"""Lines of one excerpt. A longer passage is cut there."""
EXCERPT_CHARS_MAX: Final = 8_000
"""Characters of one excerpt; the same."""

_SKIPPED_DIRS: Final = frozenset(
    {
        "test",
        "tests",
        "idle_test",
        "site-packages",
        "dist-packages",
        "lib-dynload",
        "idlelib",
        "lib2to3",
        "turtledemo",
        "ensurepip",
        "distutils",
        "pydoc_data",
        "encodings",
    }
)
_GENERATED: Final = re.compile(r"^(_sysconfigdata_.*|config-.*|__phello__|antigravity|this)$")


class CorpusError(Exception):
    """The corpus can't be loaded, or a passage can't be read any more; the message says what to do."""


class LoadStoppedError(Exception):
    """The caller's `stopped` said so."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was loaded.

    Attributes:
        root: the folder that every passage's `file` is relative to.
        title: for people, e.g. "the Python 3.11.7 standard library".
        passages: in the order of files and lines.
        files: how many files they come from.
        left_out: why and how many files were not taken, e.g. `{"not text": 3}`.
    """

    root: Path
    title: str
    passages: tuple[Passage, ...]
    files: int
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines of a file, as they are on disk now.

    Attributes:
        file: relative to the corpus's root.
        line: number of the first line, from 1.
        end_line: number of the last line.
        text: the lines, without the last line break.
    """

    file: str
    line: int
    end_line: int
    text: str


def _never() -> bool:
    return False


def load_corpus(folder: Path | None, *, stopped: Callable[[], bool] = _never) -> Corpus:
    """Load `folder`, or the standard library when it is None.

    Args:
        folder: any folder of text.
        stopped: asked before each file; True ends the loading.

    Raises:
        CorpusError: no such folder, or nothing in it can be read.
        LoadStoppedError: `stopped` returned True.
    """
    return load_stdlib(stopped=stopped) if folder is None else load_folder(folder, stopped=stopped)


def load_stdlib(root: Path | None = None, *, stopped: Callable[[], bool] = _never) -> Corpus:
    """Load the documentation of the standard library from its sources.

    Args:
        root: where it lies; the running interpreter's by default.
        stopped: asked before each file; True ends the loading.

    Raises:
        CorpusError: its sources are not on this machine.
        LoadStoppedError: `stopped` returned True.
    """
    base = Path(sysconfig.get_path("stdlib")) if root is None else root
    left_out: dict[str, int] = {}
    modules: list[ModuleText] = []
    for path, source in _texts(base, left_out, stopped, keep_dir=_is_library_dir, keep_file=_is_library_file):
        module = passages_of_module(path, source)
        if module is None:
            _count(left_out, "not parsable")
        else:
            modules.append(module)
    passages = passages_of_library(modules)
    if not passages:
        raise CorpusError(f"{base} holds no sources of the standard library; give a folder of text with --corpus DIR")
    version = ".".join(map(str, sys.version_info[:3]))
    return Corpus(base, f"the Python {version} standard library", tuple(passages), len(modules), left_out)


def load_folder(folder: Path, *, stopped: Callable[[], bool] = _never) -> Corpus:
    """Load every text file of a folder and its sub-folders.

    Raises:
        CorpusError: `folder` is not a folder, or nothing in it can be read.
        LoadStoppedError: `stopped` returned True.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder; give --corpus a folder of text files")
    left_out: dict[str, int] = {}
    passages: list[Passage] = []
    files = 0
    for path, source in _texts(folder, left_out, stopped):
        files += 1
        passages.extend(split_sections(path, source))
    if not passages:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it is empty"
        raise CorpusError(f"{folder} holds no readable text ({why}); give --corpus a folder with UTF-8 text files")
    return Corpus(folder, f"the folder {folder.resolve().name or folder}", tuple(passages), files, left_out)


def _is_library_dir(name: str) -> bool:
    return name not in _SKIPPED_DIRS and not _GENERATED.match(name)


def _is_library_file(name: str) -> bool:
    return name.endswith(".py") and not _GENERATED.match(name[:-3])


def _any(_name: str) -> bool:
    return True


def _count(left_out: dict[str, int], reason: str) -> None:
    left_out[reason] = left_out.get(reason, 0) + 1


def _texts(
    root: Path,
    left_out: dict[str, int],
    stopped: Callable[[], bool],
    *,
    keep_dir: Callable[[str], bool] = _any,
    keep_file: Callable[[str], bool] = _any,
) -> Iterator[tuple[str, str]]:
    """Relative path and text of each file that is taken; the others are counted in `left_out` by reason. Links are not followed."""
    files = total_bytes = 0
    for where, dirs, names in os.walk(root):
        dirs[:] = sorted(name for name in dirs if not name.startswith(".") and name != "__pycache__" and keep_dir(name))
        for name in sorted(name for name in names if not name.startswith(".") and keep_file(name)):
            if stopped():
                raise LoadStoppedError
            path = Path(where, name)
            if path.is_symlink() or not path.is_file():
                _count(left_out, "no regular file")
                continue
            try:
                if files >= FILES_MAX:
                    _count(left_out, f"past {FILES_MAX:,} files")
                    continue
                size = path.stat().st_size
                if size > FILE_BYTES_MAX:
                    _count(left_out, f"larger than {FILE_BYTES_MAX:,} bytes")
                    continue
                if total_bytes + size > CORPUS_BYTES_MAX:
                    _count(left_out, f"past {CORPUS_BYTES_MAX:,} bytes together")
                    continue
                data = path.read_bytes()
            except OSError:
                _count(left_out, "unreadable")
                continue
            text = _decode(data)
            if text is None:
                _count(left_out, "not UTF-8 text")
                continue
            files += 1
            total_bytes += size
            yield path.relative_to(root).as_posix(), text


def _decode(data: bytes) -> str | None:
    """The text, with line feeds for line breaks; None when it is none."""
    if b"\0" in data:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n")


_HEADING = re.compile(r"^#{1,6}\s+(?P<md>\S.*?)\s*#*$|^(?:class|def|async def)\s+(?P<py>\w+)")
_UNDERLINE = re.compile(r"^([=\-~^\"'`*+#:.])\1{2,}\s*$")


def split_sections(file: str, source: str) -> list[Passage]:
    """Cut a text into passages: paragraphs, joined up to `SECTION_CHARS`, never across a heading.

    Headings are Markdown's (`# ...`), reStructuredText's (underlined) and Python's (`class`, `def` at the margin); the one above a
    passage names it, or the file does.

    Args:
        file: path relative to the corpus's root.
        source: the file's text.
    """
    stem = file.rsplit("/", 1)[-1].rsplit(".", 1)[0] or file
    python = file.endswith((".py", ".pyi"))
    passages: list[Passage] = []
    title, begin = stem, 0
    lines = source.split("\n")
    fenced = False

    def close(end: int) -> None:
        """Make a passage of lines[begin:end] (from 0), without blank lines at its ends."""
        nonlocal begin
        first, last = begin, end
        while first < last and not lines[first].strip():
            first += 1
        while last > first and not lines[last - 1].strip():
            last -= 1
        if first < last:
            text = "\n".join(lines[first:last])
            passages.append(Passage(file, first + 1, last, first + 1, title, "section", "", text, names=(title,)))
        begin = end

    size = 0
    for number, line in enumerate(lines):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        found = None if fenced else _HEADING.match(line)
        heading = (found["py"] if python else found["md"]) if found else None
        follows = lines[number + 1] if number + 1 < len(lines) else ""
        if heading is None and not fenced and not python and line.strip() and _UNDERLINE.match(follows) and not _UNDERLINE.match(line):
            heading = line.strip()
        if heading is not None:
            close(number)
            title, size = heading, 0
        elif size >= SECTION_CHARS_MAX or (size >= SECTION_CHARS and not line.strip() and not fenced):
            close(number)
            size = 0
        size += len(line) + 1
    close(len(lines))
    return passages


def read_excerpt(corpus: Corpus, passage: Passage, *, context_lines: int = 2) -> Excerpt:
    """Read a passage's lines from disk, with the lines around it.

    Args:
        corpus: where the passage is from.
        passage: what to read.
        context_lines: lines before and after it, 0 or more.

    Returns:
        At most `EXCERPT_LINES_MAX` lines and `EXCERPT_CHARS_MAX` characters.

    Raises:
        CorpusError: the file is gone, unreadable, or shorter than it was.
    """
    path = corpus.root / passage.file
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise CorpusError(
            f"{passage.file} can't be read any more ({exc.strerror or exc}); restart the agent to load the corpus anew"
        ) from exc
    lines = (_decode(data) or "").split("\n")
    first = max(1, passage.line - context_lines)
    last = min(len(lines), passage.end_line + context_lines, first + EXCERPT_LINES_MAX - 1)
    if passage.line > len(lines):
        raise CorpusError(f"{passage.file} has no line {passage.line} any more; restart the agent to load the corpus anew")
    kept: list[str] = []
    room = EXCERPT_CHARS_MAX
    for line in lines[first - 1 : last]:
        if kept and len(line) > room:
            break
        kept.append(line[:room])
        room -= len(kept[-1]) + 1
    return Excerpt(passage.file, first, first + len(kept) - 1, "\n".join(kept))
