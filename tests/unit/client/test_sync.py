"""The blocking client offers what the async one does, under the same names and with the same arguments."""

import inspect

import pytest

import runcast.client
from runcast.client import sync

RENAMED = {"aclose": "close"}
FACES = [
    ("Runcast", ()),
    ("Run", ("loop", "stop", "tool_of_json")),
    ("ToolCall", ("begin_now", "end_now", "set_result_json")),
    ("Inbox", ("settle",)),
    ("InboxMessage", ()),
]
"""By name, and what of the async one is the library's own."""


def public(owner: type) -> dict[str, object]:
    return {name: getattr(owner, name) for name in dir(owner) if not name.startswith("_")}


@pytest.mark.parametrize(("name", "internal"), FACES)
def test_every_public_method_has_its_counterpart(name: str, internal: tuple[str, ...]) -> None:
    ours, theirs = public(getattr(sync, name)), public(getattr(runcast.client, name))
    wanted = {RENAMED.get(method, method): value for method, value in theirs.items() if method not in internal}
    assert wanted.keys() <= ours.keys(), "give runcast.client.sync what the async client got"
    for method, value in wanted.items():
        if callable(value):
            counterpart = ours[method]
            assert callable(counterpart)
            assert list(inspect.signature(counterpart).parameters) == list(inspect.signature(value).parameters), method
            assert inspect.getdoc(counterpart), method


@pytest.mark.parametrize(("name", "internal"), FACES)
def test_nothing_is_offered_that_the_async_client_does_not_have(name: str, internal: tuple[str, ...]) -> None:
    theirs = {RENAMED.get(method, method) for method in public(getattr(runcast.client, name))}
    documented = inspect.getdoc(getattr(runcast.client, name)) or ""
    extra = public(getattr(sync, name)).keys() - theirs
    assert {attribute for attribute in extra if f"{attribute}:" not in documented} == set()


def test_a_runcast_takes_the_same_arguments() -> None:
    assert inspect.signature(sync.Runcast) == inspect.signature(runcast.client.Runcast)
