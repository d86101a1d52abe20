"""What paths lead to is taken out, and nothing else is touched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.v1.event_pb2 import Event
from runcast.wire.eventjson import KINDS, EventJson, event_from_json, event_to_json
from runcast.wire.limits_replay import REDACTION_FILE_BYTES_MAX, REDACTION_RULES_MAX
from runcast.wire.redaction import MARK, Redaction, RedactionError, matches, parse_redaction


def event(kind: str, **data: Any) -> Event:
    return event_from_json(EventJson(id="e1", kind=kind, run_id="r1", seq=3, agent="analyst", thread="t1", data=data))


def data_of(made: Event) -> dict[str, Any]:
    data = event_to_json(made).data
    return {name: json.loads(bytes(value)) if not isinstance(value, str | int | float | list) else value for name, value in data.items()}


ARGS = {"user": "al", "Password": "pw", "list": [{"api_key": "k", "n": 1}], "deep": {"a": {"b": 2}}}
TOOL = event("tool_executing", tool="login", args=ARGS)


@pytest.mark.parametrize(
    ("path", "given", "left", "taken"),
    [
        ("data.args.password", TOOL, {"args": ARGS | {"Password": MARK}}, 1),
        ("tool_executing.args.deep", TOOL, {"args": ARGS | {"deep": MARK}}, 1),
        ("**.*key*", TOOL, {"args": ARGS | {"list": [{"api_key": MARK, "n": 1}]}}, 1),
        ("data.args.list.*.n", TOOL, {"args": ARGS | {"list": [{"api_key": "k", "n": MARK}]}}, 1),
        ("data.args.list.0", TOOL, {"args": ARGS | {"list": [MARK]}}, 1),
        ("data.args", TOOL, {"args": MARK}, 1),
        ("data.*", TOOL, {"tool": MARK, "args": MARK}, 2),
        ("data.**", TOOL, {"tool": MARK, "args": MARK}, 2),
        ("data.**.b", TOOL, {"args": ARGS | {"deep": {"a": {"b": MARK}}}}, 1),
        ("tool_completed.args.password", TOOL, {}, 0),
        ("data.args.passwor", TOOL, {}, 0),
        ("agent_response.text", event("agent_response", message_id="m", text="hello"), {"text": MARK}, 1),
        ("data.duration_ms", event("tool_completed", tool="x", status="ok", duration_ms=5), {"duration_ms": None}, 1),
        ("data.status", event("tool_completed", tool="x", status="error", duration_ms=5), {"status": None}, 1),
        ("data.options", event("input_requested", request_id="q", type="choice", options=["a", "b"]), {"options": None}, 1),
        ("data.options.1", event("input_requested", request_id="q", type="choice", options=["a", "b"]), {"options": ["a", MARK]}, 1),
    ],
)  # fmt: skip
def test_what_a_path_leads_to(path: str, given: Event, left: dict[str, Any], taken: int) -> None:
    before = given.SerializeToString(deterministic=True)
    made, count = Redaction([path]).apply(given)
    expected = {name: value for name, value in (data_of(given) | left).items() if value is not None}
    assert (data_of(made), count) == (expected, taken)
    assert given.SerializeToString(deterministic=True) == before
    assert (made.id, made.run_id, made.seq, made.agent) == ("e1", "r1", 3, "analyst")


def test_fields_of_the_event_itself() -> None:
    made, count = Redaction(["agent", "thread", "traceparent"]).apply(TOOL)
    assert (made.agent, made.thread, made.traceparent, count) == (MARK, MARK, "", 2)


@pytest.mark.parametrize("args", [b'{"a":', b"[" * 5000 + b"]" * 5000, b'"\xff"'])
def test_what_can_not_be_looked_into_is_taken_out(args: bytes) -> None:
    broken = Event()
    broken.tool_executing.args_json = args
    assert Redaction(["**.password"]).apply(broken).event.tool_executing.args_json == json.dumps(MARK).encode()


def test_what_is_not_known_here_keeps_its_frame_and_loses_its_content() -> None:
    unknown = Event.FromString(Event(id="e9", run_id="r").SerializeToString() + b"\xca\x3e\x06secret")
    assert b"secret" in unknown.SerializeToString()
    made, count = Redaction(["data.x"]).apply(unknown)
    assert (b"secret" in made.SerializeToString(), made.id, count) == (False, "e9", 1)
    assert Redaction().apply(unknown) == (unknown, 0)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "1 to 256 characters"),
        ("x" * 300, "1 to 256 characters"),
        ("a\nb", "can be printed"),
        ("data..x", "a step is empty"),
        ("data." + ".".join("x" * 20), "more than 16 steps"),
        ("run_id", "can't be taken out"),
        ("seq", "can't be taken out"),
        ("password", "begin with data"),
        ("thread.x", "begin with data"),
        ("data", "data.* is all"),
        ("agent_response", "agent_response.* is all"),
    ],
)
def test_what_is_no_path(path: str, told: str) -> None:
    with pytest.raises(RedactionError) as caught:
        Redaction(["data.fine", path])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (b'rules = ["data.args.password", "**.token"]', ("data.args.password", "**.token")),
        (b' ["data.args.password"]', ("data.args.password",)),
        (b"rules = []", ()),
        (b'["data.x", "data.x"]', ("data.x",)),
    ],
)
def test_files(text: bytes, paths: tuple[str, ...]) -> None:
    assert parse_redaction(text).paths == paths


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "expected rules ="),
        (b"rule = []", "it has rule"),
        (b"rules = 5", "a list of paths"),
        (b"rules = [5]", "a list of paths"),
        (b"[5", "no JSON list"),
        (b"rules = [", "no TOML"),
        (b"\xff", "no UTF-8"),
        (b'rules = ["id", "nothing"]', "'nothing': begin with"),
        (b"[ " + b"[" * 60_000, "no JSON list"),
        (b" " * (REDACTION_FILE_BYTES_MAX + 1), "larger than 64 KiB"),
        (json.dumps([f"data.x{n}" for n in range(REDACTION_RULES_MAX + 1)]).encode(), "at most 256"),
    ],
)
def test_files_that_can_not_be_used(text: bytes, told: str) -> None:
    with pytest.raises(RedactionError) as caught:
        parse_redaction(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "key", "found"),
    [
        ("*", "", True),
        ("a*b", "AxxB", True),
        ("a*a", "a", False),
        ("*b*", "abc", True),
        ("a*b*c", "acb", False),
        ("x", "X", True),
        ("*ab*b", "ab", False),
    ],
)
def test_steps(pattern: str, key: str, found: bool) -> None:
    assert matches(pattern, key) is found


KEYS = st.sampled_from(["a", "b", "password", "Secret", "0", "x.y"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
STEPS = st.sampled_from(["a", "b", "password", "*", "**", "s*t", "0", "1"])
FIRST = st.sampled_from(["data", "**", "custom", "*"])
PATHS = st.lists(
    st.builds(lambda first, rest: ".".join([first, *rest]), FIRST, st.lists(STEPS, min_size=1, max_size=4)), min_size=1, max_size=4
)


def leads(steps: list[str], place: list[str]) -> bool:
    """Whether a path leads to a place: the definition, without any economy."""
    if not steps or not place:
        return not steps and not place
    if steps[0] == "**":
        return len(steps) == 1 or leads(steps[1:], place) or leads(steps, place[1:])
    return matches(steps[0], place[0]) and leads(steps[1:], place[1:])


def places(value: Any, at: list[str]) -> list[tuple[list[str], Any]]:
    found = [(at, value)]
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(inner, [*at, str(key)])
    return found


def without(value: Any, at: list[str], paths: list[list[str]]) -> Any:
    if at and any(leads_any(path, at) for path in paths):
        return MARK
    if isinstance(value, dict):
        return {key: without(inner, [*at, key], paths) for key, inner in value.items()}
    if isinstance(value, list):
        return [without(inner, [*at, str(number)], paths) for number, inner in enumerate(value)]
    return value


def leads_any(path: list[str], at: list[str]) -> bool:
    return leads(path if path[0] == "**" else path[1:], at)


@given(VALUES.filter(lambda value: value is not None), PATHS)
def test_as_the_definition_says_and_again_changes_nothing(value: Any, paths: list[str]) -> None:
    given_ = event("custom", name="n", data=value)
    made, _ = Redaction(paths).apply(given_)
    expected = without({"name": "n", "data": value}, [], [path.split(".") for path in paths])
    assert data_of(made) == expected
    assert Redaction(paths).apply(made) == (made, 0)


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=60), PATHS)
def test_every_event_is_taken(kind: str, junk: bytes, paths: list[str]) -> None:
    given_ = Event(id="e")
    getattr(given_, kind).SetInParent()
    for field in KINDS[kind]:
        if field.proto.endswith("_json"):
            setattr(getattr(given_, kind), field.proto, junk)
    made = Redaction(paths).apply(given_).event
    assert made.WhichOneof("kind") == kind
