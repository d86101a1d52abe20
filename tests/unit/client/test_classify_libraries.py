"""The exceptions of libraries that agents are made with, as those libraries make them."""

from collections.abc import Callable

import agents
import httpx
import openai
import pydantic
import pytest
import requests
from langchain_core.exceptions import OutputParserException
from langgraph.errors import GraphRecursionError
from pydantic_ai.exceptions import ModelHTTPError, UnexpectedModelBehavior, UsageLimitExceeded

from runcast.client.classify import Classifier

REQUEST = httpx.Request("POST", "https://models.example/v1")


def response(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, request=REQUEST)


def raised(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as exc:
        return exc
    raise AssertionError


class Model(pydantic.BaseModel):
    size: int


TABLE = [
    (openai.RateLimitError("slow down", response=response(429, **{"Retry-After": "3"}), body=None), "rate_limit"),
    (openai.AuthenticationError("bad key", response=response(401), body=None), "authentication"),
    (openai.BadRequestError("too long", response=response(400), body=None), "bad_input"),
    (openai.InternalServerError("oops", response=response(500), body=None), "dependency"),
    (openai.APITimeoutError(request=REQUEST), "timeout"),
    (openai.APIConnectionError(request=REQUEST), "dependency"),
    (httpx.ConnectTimeout("x"), "timeout"),
    (httpx.PoolTimeout("x"), "timeout"),
    (httpx.ConnectError("x"), "dependency"),
    (httpx.RemoteProtocolError("x"), "dependency"),
    (raised(response(503).raise_for_status), "dependency"),
    (raised(response(404).raise_for_status), "bad_input"),
    (requests.exceptions.ReadTimeout(), "timeout"),
    (requests.exceptions.ConnectionError(), "dependency"),
    (requests.exceptions.JSONDecodeError("x", "{", 0), "dependency"),
    (raised(lambda: Model(size="large")), "bad_input"),  # type: ignore[arg-type]
    (ModelHTTPError(429, "model"), "rate_limit"),
    (UnexpectedModelBehavior("x"), "dependency"),
    (UsageLimitExceeded("x"), "unknown"),
    (OutputParserException("x"), "dependency"),
    (GraphRecursionError("x"), "unknown"),
    (agents.exceptions.ModelBehaviorError("x"), "dependency"),
    (agents.exceptions.MaxTurnsExceeded("x"), "unknown"),
]


@pytest.mark.parametrize(("exc", "category"), TABLE, ids=lambda value: value if isinstance(value, str) else type(value).__name__)
def test_libraries_that_agents_are_made_with(exc: Exception, category: str) -> None:
    assert Classifier().classify(exc).category == category


def test_when_to_try_again_is_read_from_a_models_answer() -> None:
    assert Classifier().classify(TABLE[0][0]).retry_after_s == 3.0


def test_what_a_framework_wraps_is_found_behind_it() -> None:
    def run() -> None:
        try:
            raise openai.RateLimitError("slow down", response=response(429), body=None)
        except openai.OpenAIError as exc:
            raise RuntimeError("the step failed") from exc

    assert Classifier().classify(raised(run)).category == "rate_limit"
