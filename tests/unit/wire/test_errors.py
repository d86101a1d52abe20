"""The error tree: every error has a row of the table, and its text says code and cause."""

import re

import pytest

from runcast.wire import errors
from runcast.wire.codes import CODES
from runcast.wire.errors import RefusedError, RuncastError, UnavailableError

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RuncastError)]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_has_a_row_and_a_text(kind: type[RuncastError]) -> None:
    error = kind("it broke; mend it")
    assert error.code is CODES[kind.default_code]
    assert str(error) == f"{kind.default_code}: it broke; mend it"
    assert error.message == "it broke; mend it"
    assert error.retry_after_s == 0.0


def test_the_header_shows_the_whole_tree() -> None:
    shown = dict(re.findall(r"[├└]── (\w+)\s+([\w, ]+)", errors.__doc__ or ""))
    assert set(shown) == {kind.__name__ for kind in TREE} - {"RuncastError"}
    for kind in TREE:
        if kind not in (RuncastError, RefusedError):
            assert kind.default_code in shown[kind.__name__]


def test_a_code_can_be_given() -> None:
    error = UnavailableError("no answer", code="indeterminate", retry_after_s=0.5)
    assert error.code.retry
    assert not error.code.definite
    assert error.retry_after_s == 0.5


def test_a_code_outside_the_table_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        RefusedError("x", code="nonsense")
