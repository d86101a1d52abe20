"""Every input that was kept, and every one that fuzzing begins with, still does no harm: the fuzz targets, a few seconds of them."""

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, seeds


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_does_no_harm(name: str) -> None:
    kept = sorted((CORPUS / name).glob("*"))
    assert kept, "run `make fuzz` with --keep for a new target"
    for data in [*seeds()[name], *map(Path.read_bytes, kept)]:
        TARGETS[name](data)
        for cut in (1, len(data) // 2, len(data) - 1):
            TARGETS[name](data[:cut])


def test_every_corpus_has_its_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
