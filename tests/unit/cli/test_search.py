"""Terms, ranking, quoting: on small corpora, on the real standard library, and for any text."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runcast.cli.demo_agent.corpus import Corpus, split_sections
from runcast.cli.demo_agent.passage import Passage
from runcast.cli.demo_agent.quotes import QUOTE_CHARS_MAX, best_sentences
from runcast.cli.demo_agent.search import CANDIDATES_MAX, Hit, Index, SearchStoppedError, is_relevant
from runcast.cli.demo_agent.words import PARTS_MAX, QUERY_TERMS_MAX, TERM_CHARS_MAX, parse_query, split_questions, stem, terms_of


def passage(text: str, name: str = "x", *, file: str = "f.txt", line: int = 1, kind: str = "section", prior: float = 1.0) -> Passage:
    end = line + text.count("\n")
    return Passage(file, line, end, line, name, kind, "", text, (name,), prior=prior)


def search(index: Index, question: str, limit: int = 6) -> list[Hit]:
    query = parse_query(question)
    return index.rank(query, index.find(query).candidates, limit=limit)


# --- terms ---


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("asyncio.TaskGroup", ["asyncio.taskgroup", "asyncio", "taskgroup", "task", "group"]),
        ("HTTPServer", ["httpserver", "http", "serv"]),
        ("get_event_loop()", ["get_event_loop", "get", "event", "loop"]),
        ("__init__", ["init"]),
        ("sha256", ["sha256", "sha", "256"]),
        ("Straße, naïve!", ["straße", "naïve"]),
        ("...", []),
        ("_", ["_"]),
    ],
)
def test_identifiers_count_whole_and_in_parts(text: str, terms: list[str]) -> None:
    assert terms_of(text) == terms


@pytest.mark.parametrize(
    "forms",
    [
        ("read", "reads", "reading", "reader", "readers"),
        ("parse", "parses", "parsing", "parser", "parsed"),
        ("directory", "directories"),
        ("create", "creates", "creating", "creation"),
        ("run", "running", "runner"),
        ("class", "classes"),
        ("compress", "compressed", "compression"),
    ],
)
def test_the_forms_of_a_word_meet(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1, [stem(form) for form in forms]


@pytest.mark.parametrize(("one", "other"), [("string", "str"), ("thing", "th"), ("user", "us"), ("process", "proc"), ("red", "r")])
def test_different_words_stay_apart(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@given(st.text(), st.text())
def test_terms_of_a_text_are_those_of_its_halves(left: str, right: str) -> None:
    terms = terms_of(f"{left} {right}")
    assert terms == terms_of(left) + terms_of(right)
    assert all(term and not any(char.isspace() for char in term) and len(term) <= TERM_CHARS_MAX for term in terms)


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_letter_case_only_separates_parts(text: str) -> None:
    lower = text.lower()
    assert terms_of(lower) == terms_of(lower.upper()) or any(char.isdigit() for char in text)
    assert set(terms_of(text)) >= {term for term in terms_of(text) if term in terms_of(lower)}


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", max_size=30))
def test_a_stem_is_no_longer_than_its_word(word: str) -> None:
    assert len(stem(word)) <= len(word)
    assert bool(stem(word)) == bool(word)


# --- questions ---


def test_a_question_is_what_it_asks_for() -> None:
    query = parse_query("How do I read a CSV file?")
    assert query.words == ("read", "CSV", "file")
    assert query.terms["csv"] == 1.0
    assert 0 < query.terms["pars"] < 1.0
    assert parse_query("how do I").words == ("how", "do", "I")
    assert parse_query("?!").terms == {}
    assert parse_query("csv CSV csv").asked == (("csv",),)


@given(st.text(max_size=2_000))
def test_any_question_can_be_taken_apart(text: str) -> None:
    query = parse_query(text)
    assert sum(weight == 1.0 for weight in query.terms.values()) <= QUERY_TERMS_MAX
    assert len(query.words) == len(query.asked) == len(query.names)
    assert all(term in query.terms for group in query.asked for term in group)
    assert 1 <= len(split_questions(text)) <= PARTS_MAX


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("How do I read a CSV? What is asyncio.TaskGroup? Thanks!", ["How do I read a CSV", "What is asyncio.TaskGroup"]),
        ("how to parse json and how to write csv", ["how to parse json", "how to write csv"]),
        ("search and replace", ["search and replace"]),
        ("apple\npear\n\nplum\n- fig\nlime", ["apple", "pear", "plum", "fig lime"]),
        ("  ", [""]),
        ("What is os.path.join?", ["What is os.path.join?"]),
    ],
)
def test_a_message_may_hold_several_questions(message: str, parts: list[str]) -> None:
    assert split_questions(message)[: len(parts)] == parts
    assert len(split_questions(message)) <= PARTS_MAX


# --- ranking, small ---


def test_rare_words_and_names_decide() -> None:
    index = Index(
        [
            passage("The file is a file of files.", "file"),
            passage("Reads a file of comma separated values.", "comma.Reader"),
            passage("Comma is a word in a file.", "grammar"),
        ]
    )
    assert [hit.passage.name for hit in search(index, "read comma file")] == ["comma.Reader", "grammar", "file"]
    best = search(index, "read comma file")[0]
    assert best.matched[0] in {"read", "comma"}
    assert best.coverage == 1.0


def test_a_name_asked_for_outright_is_first() -> None:
    filler = [passage(f"walk tree {number} os.walk is good for trees", f"other{number}") for number in range(300)]
    index = Index([*filler, passage("Generate.", "os.walk", kind="function")])
    assert search(index, "what does os.walk do with a tree")[0].passage.name == "os.walk"
    assert [one.name for one in index.named("OS.Walk")] == ["os.walk"]


def test_the_same_text_is_given_once() -> None:
    index = Index([passage("About apples.", "a"), passage("About apples.", "b"), passage("Apples and pears.", "c")])
    assert [hit.passage.name for hit in search(index, "apples")] == ["a", "c"]


def test_what_nobody_speaks_of_is_not_found() -> None:
    index = Index([passage("Bread is made of flour.", "loaf")])
    assert index.find(parse_query("quantum chromodynamics")).total == 0
    # A synonym alone is not what was asked for.
    assert index.find(parse_query("create")).candidates == ()
    (hit,) = search(index, "flour of sourdough rye starters")
    assert not is_relevant(hit, parse_query("flour of sourdough rye starters"))
    assert index.nearest_names(parse_query("loav"), limit=3) == ["loaf"]
    assert index.nearest_names(parse_query("zzz"), limit=3) == []


def test_an_empty_index_finds_nothing() -> None:
    index = Index([])
    assert search(index, "anything") == []
    assert index.rarity("anything") > 0


def test_building_and_searching_can_be_stopped() -> None:
    with pytest.raises(SearchStoppedError):
        Index([passage("a")], stopped=lambda: True)
    index = Index([passage("apple")])
    query = parse_query("apple")
    with pytest.raises(SearchStoppedError):
        index.find(query, stopped=lambda: True)
    with pytest.raises(SearchStoppedError):
        index.rank(query, index.find(query).candidates, limit=1, stopped=lambda: True)


WORDS = st.lists(st.sampled_from(["apple", "pear", "plum", "os.path", "TaskGroup", "read", "the", "\n", "."]), max_size=12).map(" ".join)


@settings(max_examples=60)
@given(st.lists(st.tuples(WORDS, WORDS), max_size=12), WORDS, st.integers(1, 5))
def test_ranking_holds_its_promises(texts: list[tuple[str, str]], question: str, limit: int) -> None:
    index = Index([passage(text, name or "unnamed", line=number + 1) for number, (name, text) in enumerate(texts)])
    query = parse_query(question)
    found = index.find(query)
    hits = index.rank(query, found.candidates, limit=limit)
    assert len(found.candidates) <= min(found.total, CANDIDATES_MAX)
    assert len(hits) <= limit
    assert hits == index.rank(query, found.candidates, limit=limit)
    for hit in hits:
        present = set(terms_of(hit.passage.text)) | {term for name in hit.passage.names for term in terms_of(name)}
        assert set(hit.matched) == query.terms.keys() & present
        assert math.isfinite(hit.score)
        assert hit.score > 0
        assert 0 <= hit.coverage <= 1.0 + 1e-9
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


# --- quoting ---


def test_the_opening_sentence_and_the_fitting_ones_are_quoted() -> None:
    text = (
        "Opens a file.  It may fail.\nThe mode is read by default, e.g. 'r' is enough.\n\nNothing else\nmatters here.  Buffers are flushed."
    )
    found = best_sentences(passage(text, kind="function", line=10), parse_query("default mode"), limit=2)
    assert [(quote.text, quote.line) for quote in found] == [
        ("Opens a file.", 10),
        ("The mode is read by default, e.g. 'r' is enough.", 11),
    ]


def test_examples_are_quoted_as_they_stand() -> None:
    text = "Groups tasks.\n\nExample:\n\n    async with TaskGroup() as group:\n        group.create_task(work())\n\nAll are awaited."
    found = best_sentences(passage(text, kind="class"), parse_query("create_task in a group"), limit=2)
    assert [(quote.code, quote.line) for quote in found] == [(False, 1), (True, 5)]
    assert found[1].text == "    async with TaskGroup() as group:\n        group.create_task(work())"


def test_lists_tables_and_headings() -> None:
    text = "# Fruit\n\n- apples are red\n- pears are green\n\n| plum | is blue |\n|------|---------|\n\nEnd\n===\n"
    quotes = best_sentences(passage(text), parse_query("red green plum"), limit=9)
    assert [(quote.text, quote.line) for quote in quotes] == [("apples are red", 3), ("pears are green", 4), ("plum | is blue |", 6)]


def test_a_very_long_sentence_is_cut() -> None:
    (quote,) = best_sentences(passage("word " * 500), parse_query("word"), limit=3)
    assert len(quote.text) <= QUOTE_CHARS_MAX + 2
    assert quote.text.endswith(" …")


def test_a_blank_passage_gives_no_quotes() -> None:
    assert best_sentences(passage(" \n---\n"), parse_query("x"), limit=3) == []


@given(st.text(alphabet="ab.!? \n\t-*#`>1AZ=|", max_size=300), st.integers(1, 4))
def test_quotes_stand_where_they_say(text: str, limit: int) -> None:
    for one in split_sections("any.md", text):
        lines = text.split("\n")
        quotes = best_sentences(one, parse_query("a b"), limit=limit)
        assert len(quotes) <= limit
        assert [quote.line for quote in quotes] == sorted(quote.line for quote in quotes)
        for quote in quotes:
            first = quote.text.split()[0]
            assert one.line <= quote.line <= one.end_line
            assert first in lines[quote.line - 1]


# --- the real standard library ---


@pytest.mark.parametrize(
    ("question", "name", "within"),
    [
        ("How do I read a CSV file with a dict per row?", "csv.DictReader", 2),
        ("what does asyncio.TaskGroup do", "asyncio.TaskGroup", 1),
        ("how to make a temporary directory", "tempfile.TemporaryDirectory", 1),
        ("How do I parse command line arguments?", "argparse.ArgumentParser", 3),
        ("copy a directory tree", "shutil.copytree", 3),
        ("how do I run a subprocess and capture its output?", "subprocess.run", 2),
        ("what is a namedtuple", "collections.namedtuple", 1),
        ("cache function results", "functools.lru_cache", 3),
        ("how to parse JSON", "json.loads", 3),
        ("compute sha256 of a file", "hashlib", 1),
        ("join paths", "os.path.join", 1),
        ("read a zip file", "zipfile.ZipFile", 2),
        ("start a thread", "threading.Thread.start", 2),
        ("timeout for a coroutine", "asyncio.wait_for", 3),
        ("binary search in a sorted list", "bisect.insort_right", 4),
    ],
)
def test_questions_find_what_answers_them(index: Index, question: str, name: str, within: int) -> None:
    hits = search(index, question)
    assert name in [hit.passage.name for hit in hits[:within]]
    (hit,) = [hit for hit in hits if hit.passage.name == name]
    assert is_relevant(hit, parse_query(question))


@pytest.mark.parametrize("question", ["how do I bake sourdough bread?", "quux frobnicate", "who won the football championship"])
def test_what_the_library_does_not_know_is_not_an_answer(index: Index, question: str) -> None:
    assert not any(is_relevant(hit, parse_query(question)) for hit in search(index, question))


def test_quotes_of_the_library_are_in_its_files(stdlib: Corpus, index: Index) -> None:
    for hit in search(index, "How do I cancel a task of an event loop?", limit=20):
        lines = Path(stdlib.root, hit.passage.file).read_text("utf-8").split("\n")
        quotes = best_sentences(hit.passage, parse_query("cancel task loop"), limit=4, rarity=index.rarity)
        assert quotes
        for quote in quotes:
            assert quote.text.split()[0] in lines[quote.line - 1]
