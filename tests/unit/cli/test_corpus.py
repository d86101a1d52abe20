"""The corpus: what is taken from disk, what is left out, and that every place it names is true."""

import sysconfig
from pathlib import Path

import pytest

from runcast.cli.demo_agent import corpus as corpus_module
from runcast.cli.demo_agent.corpus import (
    EXCERPT_CHARS_MAX,
    EXCERPT_LINES_MAX,
    Corpus,
    CorpusError,
    LoadStoppedError,
    load_corpus,
    load_folder,
    load_stdlib,
    read_excerpt,
    split_sections,
)
from runcast.cli.demo_agent.docstrings import module_name, passages_of_library, passages_of_module
from runcast.cli.demo_agent.passage import Passage


def by_name(corpus: Corpus, name: str) -> Passage:
    (found,) = [passage for passage in corpus.passages if passage.name == name]
    return found


# --- the standard library ---


def test_the_standard_library_is_read_from_its_sources(stdlib: Corpus) -> None:
    assert stdlib.root == Path(sysconfig.get_path("stdlib"))
    assert stdlib.files > 200
    assert len(stdlib.passages) > 4_000
    folders = {part for passage in stdlib.passages for part in passage.file.split("/")[:-1]}
    assert not folders & {"test", "tests", "site-packages", "idlelib", "lib2to3", "__pycache__"}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("asyncio.TaskGroup", "asyncio/taskgroups.py"),
        ("json.dumps", "json/__init__.py"),
        ("csv.DictReader", "csv.py"),
        ("tempfile.TemporaryDirectory", "tempfile.py"),
        ("hashlib", "hashlib.py"),
        ("argparse.ArgumentParser", "argparse.py"),
        ("collections.abc.Mapping", "_collections_abc.py"),
    ],
)
def test_things_have_the_name_that_people_use(stdlib: Corpus, name: str, file: str) -> None:
    assert by_name(stdlib, name).file == file


def test_the_path_module_of_this_system_is_os_path(stdlib: Corpus) -> None:
    import os.path

    joins = {passage.name: passage.file for passage in stdlib.passages if passage.name.endswith("path.join")}
    assert joins["os.path.join"] == f"{os.path.__name__}.py"


def test_every_place_is_true(stdlib: Corpus) -> None:
    """The first line of a passage's text stands on the line that it names; its definition on `line`."""
    sources: dict[str, list[str]] = {}
    wrong = []
    for passage in stdlib.passages:
        lines = sources.setdefault(passage.file, (stdlib.root / passage.file).read_text("utf-8").split("\n"))
        assert 1 <= passage.line <= passage.end_line <= len(lines), passage.place
        assert passage.line <= passage.text_line <= passage.end_line, passage.place
        if passage.kind != "module":
            assert passage.name.rpartition(".")[2] in lines[passage.line - 1], passage.place
        first = passage.text.split("\n")[0].split()
        if first and first[0] not in lines[passage.text_line - 1]:
            wrong.append(passage.place)
    # Escapes in a documentation string make its source differ from its text; that is rare.
    assert len(wrong) < len(stdlib.passages) / 200, wrong[:20]


def test_loading_twice_gives_the_same(stdlib: Corpus) -> None:
    part = stdlib.root / "asyncio"
    assert load_stdlib(part).passages == load_stdlib(part).passages


def test_loading_can_be_stopped() -> None:
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(LoadStoppedError):
        load_corpus(None, stopped=stopped)
    assert asked == 4


def test_a_folder_without_sources_is_no_standard_library(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="--corpus DIR"):
        load_stdlib(tmp_path)


# --- Python sources ---

SOURCE = '''\
"""About the module.

More of it.
"""
__all__ = ["Thing", "work"]


class Thing(Base):
    """\\
    A thing."""

    def __init__(self, size: int = 3):
        """Make it."""

    def grow(self, by):
        """Grow it."""
        def inner():
            """Not seen."""

    def bare(self): pass


class Undocumented:
    def method(self):
        return 1  # the only line


def _private():
    pass


if True:
    async def work(
        first,
        second,
    ):
        """

        Does the work.
        """
'''


def test_a_source_file_gives_modules_classes_functions_and_methods() -> None:
    module = passages_of_module("pack/mod.py", SOURCE)
    assert module is not None
    assert module.name == "pack.mod"
    assert module.public == {"Thing", "work"}
    found = {passage.name: passage for passage in module.passages}
    assert list(found) == ["", "Thing", "Thing.__init__", "Thing.grow", "Undocumented", "work"]
    assert found[""].text == "About the module.\n\nMore of it."
    assert found["Thing"].signature == "class Thing(Base):\n    def __init__(self, size: int = 3):"
    assert (found["Thing"].text, found["Thing"].line, found["Thing"].text_line) == ("A thing.", 8, 10)
    assert found["Thing"].hint == "grow bare"
    assert (found["work"].text, found["work"].line, found["work"].text_line, found["work"].end_line) == ("Does the work.", 33, 39, 40)
    assert found["work"].signature == "async def work(\n    first,\n    second,\n):"
    assert not found["Undocumented"].documented
    assert "the only line" in found["Undocumented"].text
    assert found["Thing"].prior > found["Thing.grow"].prior > found["Thing.__init__"].prior


@pytest.mark.parametrize("source", ["def (", "x = '\0'", "  indented = wrong\n also"])
def test_what_is_no_python_gives_none(source: str) -> None:
    assert passages_of_module("bad.py", source) is None


@pytest.mark.parametrize(
    ("file", "name"), [("json/__init__.py", "json"), ("json/tool.py", "json.tool"), ("csv.py", "csv"), ("__init__.py", "__init__")]
)
def test_module_names(file: str, name: str) -> None:
    assert module_name(file) == name


def test_what_a_package_takes_over_is_named_as_the_package_does() -> None:
    parts = {
        "pack/__init__.py": "from .parts import *\nfrom ._hidden import one as uno\nimport other as alias\n",
        "pack/parts.py": '__all__ = ["Shown"]\nclass Shown:\n    """Shown."""\n    def do(self):\n        """Do."""\n'
        'class Kept:\n    """Kept."""\n',
        "pack/_hidden.py": 'def one():\n    """One."""\ndef two():\n    """Two."""\n',
    }
    modules = [module for file, source in parts.items() if (module := passages_of_module(file, source))]
    passages = passages_of_library(modules)
    assert [passage.name for passage in passages] == ["pack.Shown", "pack.Shown.do", "pack.parts.Kept", "pack.uno", "pack._hidden.two"]
    assert "pack.parts.Shown.do" in passages[1].names
    assert passages[4].prior < passages[3].prior


def test_a_module_that_puts_another_in_its_place_names_what_is_in_it() -> None:
    parts = {
        "pack/shown.py": "import _hidden\nimport sys\nsys.modules[__name__] = _hidden\n",
        "_hidden.py": '__all__ = ["One"]\nclass One:\n    """One."""\ndef two():\n    """Two."""\n',
    }
    modules = [module for file, source in parts.items() if (module := passages_of_module(file, source))]
    assert [passage.name for passage in passages_of_library(modules)] == ["pack.shown.One", "_hidden.two"]


# --- any folder ---


def test_a_folder_gives_its_text_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("Beta.\r\n\r\nMore beta.\r\n")
    (tmp_path / "a.md").write_text("# Alpha\n\nFirst.\n\n## Second\n\nThen.\n", encoding="utf-8-sig")
    (tmp_path / "sub" / "c.rst").write_text("Gamma\n=====\n\nThird.\n")
    (tmp_path / "no-ending").write_text("Plain.")
    (tmp_path / ".hidden").write_text("Not seen.")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("Not seen.")
    (tmp_path / "binary.bin").write_bytes(b"\x00\x01")
    (tmp_path / "latin.txt").write_bytes("stra\u00dfe".encode("latin-1"))
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "link.txt").symlink_to("/etc/hostname")
    corpus = load_folder(tmp_path)
    assert [(passage.file, passage.line, passage.name) for passage in corpus.passages] == [
        ("a.md", 1, "Alpha"),
        ("a.md", 5, "Second"),
        ("b.txt", 1, "b"),
        ("no-ending", 1, "no-ending"),
        ("sub/c.rst", 1, "Gamma"),
    ]
    assert corpus.left_out == {"not UTF-8 text": 2, "no regular file": 1}
    assert corpus.passages[2].text == "Beta.\n\nMore beta."
    assert load_folder(tmp_path) == corpus


def test_what_is_past_a_bound_is_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcd":
        (tmp_path / name).write_text(name * 60)
    (tmp_path / "big").write_text("x" * 101)
    monkeypatch.setattr(corpus_module, "FILE_BYTES_MAX", 100)
    monkeypatch.setattr(corpus_module, "CORPUS_BYTES_MAX", 200)
    corpus = load_folder(tmp_path)
    assert [passage.file for passage in corpus.passages] == ["a", "b", "c"]
    assert corpus.left_out == {"larger than 100 bytes": 1, "past 200 bytes together": 1}
    monkeypatch.setattr(corpus_module, "FILES_MAX", 1)
    assert load_folder(tmp_path).left_out["past 1 files"] == 4


def test_an_unusable_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is not a folder"):
        load_folder(tmp_path / "absent")
    with pytest.raises(CorpusError, match="it is empty"):
        load_folder(tmp_path)
    (tmp_path / "x.bin").write_bytes(b"\0")
    with pytest.raises(CorpusError, match="1 not UTF-8 text"):
        load_folder(tmp_path)


def test_sections_end_at_headings_and_at_their_size() -> None:
    paragraph = "word " * 100
    text = "\n\n".join([paragraph.strip()] * 5)
    passages = split_sections("long.txt", text)
    assert len(passages) == 2
    assert "\n\n".join(passage.text for passage in passages) == text
    fenced = split_sections("code.md", "# One\n```sh\n# no heading\n```\n# Two\nx\n")
    assert [(passage.name, passage.line, passage.end_line) for passage in fenced] == [("One", 1, 4), ("Two", 5, 6)]
    python = split_sections("x.py", "import a\n\ndef f():\n    pass\n\nclass G:\n    pass\n")
    assert [(passage.name, passage.line) for passage in python] == [("x", 1), ("f", 3), ("G", 6)]
    unbroken = split_sections("log", "\n".join(["line of a log without blank lines"] * 1000))
    assert all(len(passage.text) < 7_000 for passage in unbroken)


# --- reading again ---


def test_an_excerpt_is_the_lines_on_disk_now(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\nthree\n")
    corpus = load_folder(tmp_path)
    excerpt = read_excerpt(corpus, corpus.passages[0], context_lines=0)
    assert (excerpt.file, excerpt.line, excerpt.end_line, excerpt.text) == ("a.txt", 1, 4, "one\ntwo\n\nthree")
    path.write_text("ONE\nTWO\n")
    assert read_excerpt(corpus, corpus.passages[0]).text.startswith("ONE\nTWO")
    path.unlink()
    with pytest.raises(CorpusError, match=r"a\.txt can't be read any more"):
        read_excerpt(corpus, corpus.passages[0])


def test_an_excerpt_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("# h\n" + "```\n" + "x\n" * 500)
    (tmp_path / "wide").write_text("y" * 50_000)
    corpus = load_folder(tmp_path)
    for passage in corpus.passages:
        excerpt = read_excerpt(corpus, passage)
        assert excerpt.end_line - excerpt.line < EXCERPT_LINES_MAX
        assert len(excerpt.text) <= EXCERPT_CHARS_MAX
        assert excerpt.text


def test_a_file_that_became_shorter_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# one\n\ntext\n\n# two\n\ntext\n")
    corpus = load_folder(tmp_path)
    (tmp_path / "a.md").write_text("# one")
    with pytest.raises(CorpusError, match="no line 5"):
        read_excerpt(corpus, corpus.passages[1])
