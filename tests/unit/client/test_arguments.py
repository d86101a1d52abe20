"""Arguments of a wrong type: the error names the argument and says what to give."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from runcast.client import Runcast
from runcast.client.arguments import check_number, check_text, check_texts, check_whole


def test_what_is_right_comes_back() -> None:
    assert check_text("", "text") == ""
    assert check_texts(["a", "b"], "suggestions") == ("a", "b")
    assert check_texts((word for word in "ab"), "suggestions") == ("a", "b")
    assert check_whole(3, "step") == 3
    assert [check_number(value, "progress") for value in (1, 0.5, Decimal("0.25"), Fraction(1, 2))] == [1, 0.5, 0.25, 0.5]


@pytest.mark.parametrize(
    ("check", "value", "told"),
    [
        (check_text, None, "text is None; give a text"),
        (check_text, b"abc", r"text is b'abc' \(bytes\)"),
        (check_text, 5, r"text is 5 \(int\)"),
        (check_text, {"a": "secret"}, "text is of type dict"),
        (check_text, b"x" * 100, "text is of type bytes"),
        (check_texts, "try again", r"text is 'try again' \(str\); give a list of texts"),
        (check_texts, 5, "give a list of texts"),
        (check_texts, ["a", None], "one of text is None"),
        (check_whole, 1.5, r"text is 1.5 \(float\); give a whole number"),
        (check_number, "50%", r"text is '50%' \(str\); give a number"),
        (check_number, None, "text is None"),
        (check_number, [1], "text is of type list"),
    ],
)
def test_what_is_wrong_is_named(check: Any, value: object, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        check(value, "text")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"target": ["127.0.0.1:7400"]}, "target is of type list"),
        ({"agent": None}, "agent is of type NoneType"),
        ({"tenant": 5}, "tenant id is of type int"),
        ({"coalesce_s": "40ms"}, "coalesce_s is '40ms'"),
        ({"on_state": "print"}, "on_state is 'print'; give a function"),
    ],
)
def test_a_runcast_says_which_argument_is_wrong(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        Runcast(**{"target": "127.0.0.1:7400", "agent": "analyst", **arguments})
