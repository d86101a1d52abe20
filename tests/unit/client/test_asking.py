"""What makes a question."""

from typing import Any

import pytest

from runcast.client.asking import check_question
from runcast.client.classify import Classifier
from runcast.client.errors import NoAnswerError
from runcast.v1.event_pb2 import INPUT_TYPE_APPROVAL, INPUT_TYPE_CHOICE, INPUT_TYPE_QUESTION
from runcast.wire import limits_client as limits


def test_the_kind_follows_from_the_options() -> None:
    assert check_question("May I?", "approval", (), False)[1:] == (INPUT_TYPE_APPROVAL, (), b"false")
    assert check_question("Who?", None, (), "nobody")[1:] == (INPUT_TYPE_QUESTION, (), b'"nobody"')
    assert check_question("Which?", None, ["a", "b"], None)[1:] == (INPUT_TYPE_CHOICE, ("a", "b"), b"null")


@pytest.mark.parametrize(
    ("kind", "options", "default", "wrong"),
    [
        ("vote", (), "", "one of approval, question, choice"),
        ("approval", ["a"], True, "options to a choice, and only there"),
        ("choice", [], "", "options to a choice, and only there"),
        ("choice", "ab", "a", "a list of texts"),
        ("choice", ["a", "a"], "a", "each of them once"),
        ("choice", ["a", ""], "a", "each of them once"),
        ("choice", ["a", 1], "a", "each of them once"),
        ("choice", [str(n) for n in range(limits.ASK_OPTIONS_MAX + 1)], "0", "at most"),
        ("choice", ["a"], "b", "one of the options"),
        ("approval", (), "yes", "true or false"),
        ("question", (), True, "a text"),
        ("question", (), object(), "no form in JSON"),
    ],
)
def test_what_makes_no_question_is_told(kind: str, options: Any, default: object, wrong: str) -> None:
    with pytest.raises((ValueError, TypeError), match=wrong):
        check_question("?", kind, options, default)


@pytest.mark.parametrize(
    ("prompt", "told"), [("", "say what you ask"), (" \n", "say what you ask"), (None, "give a text"), (5, "give a text")]
)
def test_a_prompt_is_needed(prompt: Any, told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        check_question(prompt, None, (), None)


def test_the_same_thing_asked_has_the_same_digest_and_nothing_else_has() -> None:
    asked = [
        check_question("a", "approval", (), True),
        check_question("a", "question", (), None),
        check_question("b", "approval", (), True),
        check_question("a", "choice", ["x", "y"], None),
        check_question("a", "choice", ["y", "x"], None),
        check_question("a", "choice", ["x,y"], None),
        check_question("\ud800", "question", (), None),
    ]
    assert len({question.digest for question in asked}) == len(asked)
    assert asked[0].digest == check_question("a", "approval", (), None).digest, "the default is not what is asked"


def test_no_answer_is_a_timeout_too() -> None:
    error = NoAnswerError("nobody answered; ask again")
    assert isinstance(error, TimeoutError)
    assert (str(error), error.code.retry) == ("no_answer: nobody answered; ask again", True)
    told = Classifier().tell(error)
    assert (told.category, told.message) == ("timeout", "Nobody answered what the agent asked.")
