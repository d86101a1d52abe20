"""What exceptions mean to the person who waits."""

import json
import socket
import sqlite3
import ssl
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from runcast.client import Classification, EventTooLargeError, LifecycleError, UnavailableError
from runcast.client.classify import CATEGORIES, NAMES, Classifier, Rule, describe_exception
from runcast.wire import limits_client as limits


def of(name: str, *bases: type[BaseException], module: str = "openai", **attributes: Any) -> BaseException:
    """An exception of a library that is not here."""
    exc = type(name, bases or (Exception,), {"__module__": module})("secret text")
    for attribute, value in attributes.items():
        setattr(exc, attribute, value)
    return exc


def status_error(status: int, **headers: str) -> BaseException:
    return of("HTTPStatusError", module="httpx", response=SimpleNamespace(status_code=status, headers=headers))


def aws_error(code: str, status: int) -> BaseException:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return of("ClientError", module="botocore.exceptions", response=response)


def rpc_error(status: grpc.StatusCode) -> BaseException:
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), "details")


def response_error(status: int, headers: dict[str, str] | None = None) -> BaseException:
    asked = aiohttp.RequestInfo(URL("http://x"), "GET", CIMultiDictProxy(CIMultiDict()), URL("http://x"))
    return aiohttp.ClientResponseError(asked, (), status=status, headers=CIMultiDict(headers or {}))


def json_error() -> BaseException:
    try:
        json.loads("{")
    except ValueError as exc:
        return exc
    raise AssertionError


TABLE: list[tuple[BaseException, str]] = [
    # builtins
    (TimeoutError(), "timeout"),
    (ConnectionRefusedError(), "dependency"),
    (BrokenPipeError(), "dependency"),
    (ValueError("x"), "bad_input"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "unknown"),
    (KeyError("x"), "unknown"),
    (PermissionError("/etc/shadow"), "unknown"),
    (FileNotFoundError("/home/x"), "unknown"),
    (RuntimeError(), "unknown"),
    (KeyboardInterrupt(), "unknown"),
    # by name, here and not here
    (socket.gaierror(), "dependency"),
    (ssl.SSLError(), "dependency"),
    (sqlite3.OperationalError(), "dependency"),
    (json_error(), "dependency"),
    (aiohttp.ClientConnectionError(), "dependency"),
    (aiohttp.ServerTimeoutError(), "timeout"),
    (of("APITimeoutError", type(of("APIConnectionError"))), "timeout"),
    (of("APIConnectionError"), "dependency"),
    (of("MyOwnTimeout", type(of("ReadTimeout", module="httpx"))), "timeout"),
    (of("ValidationError", ValueError, module="pydantic_core"), "bad_input"),
    (of("TimeoutError", module="redis.exceptions"), "timeout"),
    (of("NoCredentialsError", module="botocore.exceptions"), "authentication"),
    # by status
    (of("APIStatusError", status_code=401), "authentication"),
    (of("APIStatusError", status_code=429), "rate_limit"),
    (of("InternalServerError", module="anthropic", status_code=529), "dependency"),
    (of("NotFoundError", status_code=404), "bad_input"),
    (status_error(503), "dependency"),
    (status_error(504), "timeout"),
    (status_error(422), "bad_input"),
    (status_error(302), "unknown"),
    (response_error(403), "authentication"),
    (urllib.error.HTTPError("http://x", 408, "slow", Message(), None), "timeout"),
    (of("ConnectionClosedOK", code=1000), "unknown"),
    (rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED), "timeout"),
    (rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED), "rate_limit"),
    (rpc_error(grpc.StatusCode.UNAUTHENTICATED), "authentication"),
    (rpc_error(grpc.StatusCode.NOT_FOUND), "bad_input"),
    (rpc_error(grpc.StatusCode.UNAVAILABLE), "dependency"),
    (rpc_error(grpc.StatusCode.CANCELLED), "unknown"),
    (aws_error("ThrottlingException", 400), "rate_limit"),
    (aws_error("AccessDeniedException", 400), "authentication"),
    (aws_error("ModelTimeoutException", 408), "timeout"),
    (aws_error("ValidationException", 400), "bad_input"),
    (aws_error("InternalFailure", 500), "dependency"),
    # ours
    (UnavailableError("no router"), "dependency"),
    (EventTooLargeError("too large"), "bad_input"),
    (LifecycleError("not now"), "unknown"),
    # groups, and what is behind an exception
    (ExceptionGroup("two", [RuntimeError(), TimeoutError()]), "timeout"),
    (ExceptionGroup("deep", [ExceptionGroup("in", [KeyError(), status_error(429)])]), "rate_limit"),
    (ExceptionGroup("none", [RuntimeError()]), "unknown"),
]


@pytest.mark.parametrize(("exc", "category"), TABLE, ids=lambda value: value if isinstance(value, str) else type(value).__name__)
def test_the_table(exc: BaseException, category: str) -> None:
    told = Classifier().tell(exc)
    assert told.category == category
    assert told.message
    assert told.suggestions
    assert "secret" not in repr(told)
    assert "/" not in repr(told)


def test_the_cause_tells_what_the_exception_does_not() -> None:
    outer = RuntimeError("could not answer")
    outer.__cause__ = inner = RuntimeError()
    inner.__cause__ = TimeoutError()
    assert Classifier().classify(outer).category == "timeout"
    outer.__cause__, outer.__context__ = None, TimeoutError()
    assert Classifier().classify(outer).category == "unknown", "what was handled meanwhile is another matter"


def test_causes_that_go_round_come_to_an_end() -> None:
    one, other = RuntimeError(), RuntimeError()
    one.__cause__, other.__cause__ = other, one
    assert Classifier().classify(one).category == "unknown"


def test_names_are_in_one_category() -> None:
    assert set(NAMES.values()) <= set(CATEGORIES)


@pytest.mark.parametrize(
    ("exc", "retry_after_s"),
    [
        (status_error(429, **{"retry-after": "7"}), 7.0),
        (status_error(429, **{"Retry-After": "7"}), 7.0),
        (status_error(429, **{"retry-after-ms": "1500", "retry-after": "2"}), 1.5),
        (status_error(429, **{"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}), None),
        (status_error(429, **{"retry-after": "-1"}), None),
        (status_error(429, **{"retry-after": "nan"}), None),
        (response_error(429, {"Retry-After": "3"}), 3.0),
        (of("RateLimited", retry_after=0.5, status=429), 0.5),
        (UnavailableError("full", code="rate_limited", retry_after_s=2.0), 2.0),
        (TimeoutError(), None),
    ],
)
def test_when_to_try_again(exc: BaseException, retry_after_s: float | None) -> None:
    assert Classifier().classify(exc).retry_after_s == retry_after_s


class QuotaError(Exception):
    pass


class DailyQuotaError(QuotaError):
    pass


QUOTA = Classification("quota", "You have used up your quota for today.", ("Come back tomorrow.",), "fatal")


@pytest.mark.parametrize(
    ("rule", "category"),
    [
        ((QuotaError, QUOTA), "quota"),
        ((DailyQuotaError, "rate_limit"), "rate_limit"),
        (((KeyError, "QuotaError"), "rate_limit"), "rate_limit"),
        ((f"{__name__}.QuotaError", "rate_limit"), "rate_limit"),
        ((f"{__name__.partition('.')[0]}.DailyQuotaError", "rate_limit"), "rate_limit"),
        (("KeyError", "timeout"), "unknown"),
        (lambda exc: "timeout" if exc.args else None, "timeout"),
        (lambda exc: None, "unknown"),
    ],
)
def test_rules_of_ones_own_come_first(rule: Rule, category: str) -> None:
    assert Classifier([rule]).classify(DailyQuotaError("x")).category == category


def test_the_first_rule_that_knows_counts_also_for_causes() -> None:
    classifier = Classifier([(TimeoutError, QUOTA), (TimeoutError, "dependency")])
    assert classifier.classify(TimeoutError()) == QUOTA
    outer = RuntimeError()
    outer.__cause__ = TimeoutError()
    assert classifier.classify(outer) == QUOTA


def test_a_word_of_ones_own_has_words_for_people_in_any_case() -> None:
    told = Classifier([(QuotaError, Classification("quota"))]).classify(QuotaError())
    assert (told.category, told.message) == ("quota", CATEGORIES["unknown"].message)


def test_a_broken_rule_is_told_and_passed_over() -> None:
    broken: list[Exception] = []

    def rule(exc: BaseException) -> str:
        raise ZeroDivisionError

    def wrong(exc: BaseException) -> str:
        return "no such category"

    classifier = Classifier([rule, wrong], on_broken_rule=broken.append)
    assert classifier.classify(TimeoutError()).category == "timeout"
    assert [type(exc) for exc in broken] == [ZeroDivisionError, KeyError]
    assert Classifier([rule]).classify(TimeoutError()).category == "timeout"


@pytest.mark.parametrize("rule", ["timeout", (TimeoutError,), (TimeoutError, 5), (5, "timeout"), ((5,), "timeout"), (int, "timeout")])
def test_what_is_no_rule_is_refused(rule: Any) -> None:
    with pytest.raises(TypeError, match="give"):
        Classifier([rule])


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(ValueError, match="Classification"):
        Classifier([(TimeoutError, "slow")])


def test_detail_is_given_only_when_asked_for() -> None:
    told = Classifier(detail=True).tell(KeyError("where"))
    assert told.message == "The agent met an unexpected error. (KeyError: 'where')"
    assert Classifier().tell(KeyError("where")).message == "The agent met an unexpected error."


def test_exceptions_are_described_by_name_and_text() -> None:
    assert describe_exception(ValueError("no such file")) == "ValueError: no such file"
    assert describe_exception(KeyError()) == "KeyError"
    assert describe_exception(ValueError("\ud800")) == "ValueError: ?"
    long = describe_exception(ValueError("x" * 10_000))
    assert len(long) == limits.ERROR_TEXT_CHARS_MAX
    assert long.endswith("…")


class HostileError(Exception):
    """Whatever is asked of it, it raises."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("no")

    @property
    def response(self) -> object:
        raise RuntimeError("no")

    @property
    def code(self) -> object:
        raise RuntimeError("no")


def test_a_hostile_exception_is_unknown() -> None:
    assert Classifier().classify(HostileError()).category == "unknown"
    assert describe_exception(HostileError()) == "HostileError"


@given(
    st.dictionaries(
        st.sampled_from(["status", "status_code", "code", "response", "headers", "retry_after"]),
        st.none()
        | st.integers()
        | st.text()
        | st.floats()
        | st.binary()
        | st.dictionaries(st.text() | st.sampled_from(["Error", "ResponseMetadata"]), st.integers() | st.text() | st.lists(st.text()))
        | st.just(len)
        | st.builds(SimpleNamespace, name=st.lists(st.text()), headers=st.dictionaries(st.sampled_from(["retry-after"]), st.text())),
    )
)
def test_whatever_an_exception_carries_it_is_told(attributes: dict[str, Any]) -> None:
    told = Classifier().tell(of("Strange", module="strange", **attributes))
    assert told.category in CATEGORIES
    assert told.message == CATEGORIES[told.category].message
