"""The real standard library, loaded and indexed once for the tests of this folder."""

import time

import pytest

from runcast.cli.demo_agent.corpus import Corpus, load_corpus
from runcast.cli.demo_agent.search import Index

LOAD_S_MAX = 20.0
"""Loading and indexing take 2.5 s on two slow cores; the bound is for busy ones."""


@pytest.fixture(scope="session")
def library() -> tuple[Corpus, Index]:
    begun = time.monotonic()
    corpus = load_corpus(None)
    index = Index(corpus.passages)
    assert time.monotonic() - begun < LOAD_S_MAX
    return corpus, index


@pytest.fixture(scope="session")
def stdlib(library: tuple[Corpus, Index]) -> Corpus:
    return library[0]


@pytest.fixture(scope="session")
def index(library: tuple[Corpus, Index]) -> Index:
    return library[1]
