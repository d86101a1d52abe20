"""The real standard library, loaded and indexed once for the tests of this folder."""

import time

import pytest

from runcast.cli.demo_agent.corpus import Corpus, load_corpus
from runcast.cli.demo_agent.search import Index

LOAD_CPU_S_MAX = 10.0
"""Loading and indexing take 2.5 s of CPU here; the bound is for slower machines."""


@pytest.fixture(scope="session")
def library() -> tuple[Corpus, Index]:
    begun = time.process_time()
    corpus = load_corpus(None)
    index = Index(corpus.passages)
    assert time.process_time() - begun < LOAD_CPU_S_MAX
    return corpus, index


@pytest.fixture(scope="session")
def stdlib(library: tuple[Corpus, Index]) -> Corpus:
    return library[0]


@pytest.fixture(scope="session")
def index(library: tuple[Corpus, Index]) -> Index:
    return library[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of the library together: loading it is most of what they cost."""
    for item in items:
        if "library" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("library"))
