"""What is read and what is said, decided on the real standard library and on a folder of two files."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runcast.cli.demo_agent.corpus import Corpus, load_folder, read_excerpt
from runcast.cli.demo_agent.reply import Part, Reading, choose, compose, pieces, plan, quote, shorten, summarize
from runcast.cli.demo_agent.search import Index


def reply(corpus: Corpus, index: Index, message: str, depth: int = 6) -> tuple[list[Part], list[Reading], str]:
    parts = plan(message)
    found = [index.find(part.query) for part in parts]
    ranked = [index.rank(part.query, one.candidates, limit=depth) for part, one in zip(parts, found, strict=True)]
    readings: list[Reading] = []
    for number, hit in choose(parts, ranked, depth=depth):
        rank = sum(reading.part == number for reading in readings)
        readings.append(Reading(number, hit, read_excerpt(corpus, hit.passage), quote(index, parts[number], hit, rank=rank)))
    return parts, readings, "".join(compose(index, corpus.title, parts, [one.total for one in found], readings))


def test_an_answer_quotes_what_was_read_with_its_place(stdlib: Corpus, index: Index) -> None:
    parts, readings, text = reply(stdlib, index, "how to make a temporary directory")
    assert readings[0].hit.passage.name == "tempfile.TemporaryDirectory"
    place = f"tempfile.py:{readings[0].hit.passage.line}"
    assert f"1. tempfile.TemporaryDirectory ({place})" in text
    assert "“Create and return a temporary directory.” (tempfile.py:" in text
    assert "Create and return a temporary directory." in readings[0].excerpt.text
    assert summarize(parts, readings).startswith("Answered from 6 passages: tempfile.TemporaryDirectory, ")


def test_source_is_quoted_where_there_is_no_documentation(stdlib: Corpus, index: Index) -> None:
    _parts, readings, text = reply(stdlib, index, "How do I read a CSV file with a dict per row?")
    assert "csv.DictReader" in [reading.hit.passage.name for reading in readings[:2]]
    assert "class DictReader:" in text
    assert "d = dict(zip(self.fieldnames, row))" in text


def test_each_question_of_a_message_is_answered(stdlib: Corpus, index: Index) -> None:
    parts, readings, text = reply(stdlib, index, "what does asyncio.TaskGroup do? how do I bake sourdough bread? how to parse JSON")
    assert {reading.part for reading in readings} == {0, 2}
    assert [text.index(f"On “{part.question}”") for part in parts] == sorted(text.index(f"On “{part.question}”") for part in parts)
    assert "I found no answer" in text
    assert "1 of 3 questions found nothing" in summarize(parts, readings)


def test_depth_is_what_is_read_of_each_question(stdlib: Corpus, index: Index) -> None:
    assert len(reply(stdlib, index, "how to parse JSON", depth=1)[1]) == 1
    many = reply(stdlib, index, "how to parse JSON", depth=20)[1]
    assert 6 < len(many) <= 20
    places = [reading.hit.passage.place for reading in many]
    assert len(set(places)) == len(places)


def test_nothing_found_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Recipes\n\nA pie needs apples.\n")
    corpus = load_folder(tmp_path)
    index = Index(corpus.passages)
    parts, readings, text = reply(corpus, index, "which recipees for plums")
    assert readings == []
    assert text.startswith("I found nothing: no passage of the folder ")
    assert "speaks of recipees or plums" in text
    assert "The names that look most like it: Recipes." in text
    assert summarize(parts, readings) == "Found nothing that answers this."
    assert "no words in this message" in reply(corpus, index, "?!")[2]


def test_a_word_that_nobody_knows_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Pies\n\nA pie needs apples.\n\n# Tarts\n\nA tart needs plums.")
    corpus = load_folder(tmp_path)
    text = reply(corpus, Index(corpus.passages), "how many apples in a pie of xylophones")[2]
    assert "“A pie needs apples.” (a.md:3)" in text
    assert text.endswith("speaks of xylophones.\n")


@given(st.text(max_size=500), st.integers(1, 60))
def test_pieces_are_the_text(text: str, chars: int) -> None:
    cut = list(pieces(text, chars=chars))
    assert "".join(cut) == text
    assert all(cut)
    assert all(len(piece) >= chars for piece in cut[:-1])


def test_a_question_is_shortened_for_titles() -> None:
    assert shorten("what\n is  it") == "what is it"
    assert len(shorten("x" * 500)) == 120
