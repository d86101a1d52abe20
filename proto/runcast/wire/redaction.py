"""Redaction: values that are taken out of events before somebody who is not their user sees them, by paths of fields. Pure.

A path is steps with dots between. The first says of which events, and of what:

    data.args.password        of every kind: in its data, of `args`, the key `password`
    agent_response.text       of one kind: the field `text` of its data
    **.api_key                of every kind: the key at any depth of its data
    custom.data.*.name        `*` is one step, whichever: a key, or a place of a list
    **.*token*                within a step, `*` is any characters
    thread                    of the event itself: agent, thread, traceparent

Rules
1. Keys are compared without regard to case: what is too much hurts less than what is too little.
2. A text, and whatever lies in an agent's own JSON (args, result, data, ...), becomes `MARK`; what could not be read back with a mark in it
   (a number, a list, a word of a fixed set) is left out.
3. A path that leads to an object or a list takes out all of it.
4. What can't be looked into is taken out whole: JSON that does not parse, or is nested too deep; and, as soon as there is any rule, the
   content of an event of a kind that is not known here.
5. Ids, order and time stay: without them nothing could be replayed. A path that names them is refused.

Invariants: what no path leads to stays as it was, to the byte; redacting again changes nothing.
Texts are not searched: JSON within a text is a text.
"""

import json
import tomllib
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from runcast.v1.event_pb2 import Event
from runcast.wire.errors import FrameInvalidError
from runcast.wire.eventjson import KINDS, Field, event_to_json
from runcast.wire.jsontext import too_deep
from runcast.wire.limits_replay import (
    REDACTION_FILE_BYTES_MAX,
    REDACTION_PATH_CHARS_MAX,
    REDACTION_RULES_MAX,
    REDACTION_STEPS_MAX,
)

MARK: Final = "[redacted]"
"""What stands in the place of what was taken out."""
_MARK_JSON: Final = json.dumps(MARK).encode()
_OWN: Final = ("agent", "thread", "traceparent")
_KEPT: Final = ("id", "kind", "run_id", "attempt", "seq", "time_unix_ms", "parent_run_id", "first_seq")
_ANY: Final = ("data", "*")


class RedactionError(Exception):
    """Rules can't be used. `str(error)` lists every problem, a line each."""


class Rule(NamedTuple):
    """One path.

    Attributes:
        path: as written.
        kind: the kind of event that it is about; "" for all.
        steps: of the event's data; or the one field of the event itself.
        own: it is about that.
    """

    path: str
    kind: str
    steps: tuple[str, ...]
    own: bool = False


class Redacted(NamedTuple):
    """An event, and how many values were taken out of it."""

    event: Event
    taken: int


def parse_rule(path: str) -> Rule:
    """Read a path.

    Raises:
        RedactionError: it is none; the message says why.
    """
    if not path or len(path) > REDACTION_PATH_CHARS_MAX or not path.isprintable():
        raise RedactionError(f"{path[:40]!r}: a path has 1 to {REDACTION_PATH_CHARS_MAX} characters that can be printed")
    first, *rest = steps = path.split(".")
    if "" in steps:
        raise RedactionError(f"{path!r}: a step is empty; write it like data.args.password")
    if len(steps) > REDACTION_STEPS_MAX:
        raise RedactionError(f"{path!r}: it has more than {REDACTION_STEPS_MAX} steps")
    if first in _OWN and not rest:
        return Rule(path, "", (first,), own=True)
    if first == "**":
        return Rule(path, "", tuple(steps))
    if first in _ANY or first in KINDS:
        if not rest:
            raise RedactionError(f"{path!r}: say what of it; {first}.* is all")
        return Rule(path, "" if first in _ANY else first, tuple(rest))
    if first in _KEPT:
        raise RedactionError(f"{path!r}: {first} can't be taken out, for nothing could be told apart without it")
    raise RedactionError(f"{path!r}: begin with data, **, a kind of event, or one of {', '.join(_OWN)}")


class Redaction:
    """Rules that hold together.

    Args:
        paths: as written.

    Attributes:
        paths: the same, each once.

    Raises:
        RedactionError: some are none, or they are too many; all problems.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self.paths = tuple(dict.fromkeys(paths))
        problems = []
        rules = []
        if len(self.paths) > REDACTION_RULES_MAX:
            problems.append(f"there are {len(self.paths)} rules; at most {REDACTION_RULES_MAX} are taken")
        for path in self.paths[:REDACTION_RULES_MAX]:
            try:
                rules.append(parse_rule(path))
            except RedactionError as exc:
                problems.append(str(exc))
        if problems:
            raise RedactionError("\n".join(problems))
        self._own = [rule.steps[0] for rule in rules if rule.own]
        self._any = [rule.steps for rule in rules if not rule.own and not rule.kind]
        self._by_kind: dict[str, list[tuple[str, ...]]] = {}
        for rule in rules:
            if rule.kind:
                self._by_kind.setdefault(rule.kind, []).append(rule.steps)

    def apply(self, event: Event) -> Redacted:
        """Take out of an event what the rules name. The one that was given stays as it is."""
        if not self.paths:
            return Redacted(event, 0)
        made = Event()
        made.CopyFrom(event)
        count = 0
        for name in self._own:
            if getattr(made, name) not in ("", MARK):
                setattr(made, name, MARK)
                count += 1
        kind = event.WhichOneof("kind")
        if kind is None:
            before = made.ByteSize()
            made.DiscardUnknownFields()
            return Redacted(made, count + (made.ByteSize() != before))
        paths = self._any + self._by_kind.get(kind, [])
        message = getattr(made, kind)
        data = event_to_json(event).data if paths else {}
        for field in KINDS[kind]:
            if field.name in data:
                inner = [rest for steps in paths for rest in _after(steps, field.name)]
                count += _take_out(message, field, data[field.name], inner) if inner else 0
        return Redacted(made, count) if count else Redacted(event, 0)


def _take_out(message: Any, field: Field, value: Any, paths: list[tuple[str, ...]]) -> int:
    """Change one field of a kind; how many values it were."""
    if isinstance(value, msgspec.Raw):
        changed, count = _in_json(bytes(value), paths)
        if count:
            setattr(message, field.proto, changed)
        return count
    if isinstance(value, list):  # of texts
        new, count = _walk(value, paths)
        if count:
            message.ClearField(field.proto)
            getattr(message, field.proto).extend(new if isinstance(new, list) else [])
        return count
    if () not in paths or value == MARK:
        return 0
    try:
        setattr(message, field.proto, field.read(MARK))
    except FrameInvalidError:  # no text
        message.ClearField(field.proto)
    return 1


def _in_json(text: bytes, paths: list[tuple[str, ...]]) -> tuple[bytes, int]:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _MARK_JSON, 1
    if too_deep(text, value):
        return _MARK_JSON, 1
    new, count = _walk(value, paths)
    return (msgspec.json.encode(new), count) if count else (text, 0)


def _walk(value: Any, paths: list[tuple[str, ...]]) -> tuple[Any, int]:
    """The value without what `paths` lead to, and how many those were; () leads to the value itself."""
    if () in paths:
        return MARK, int(value != MARK)
    if not isinstance(value, dict | list) or not paths:
        return value, 0
    total = 0
    made: list[tuple[Any, Any]] = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        left = list(dict.fromkeys(rest for steps in paths for rest in _after(steps, str(key))))
        new, count = _walk(inner, left) if left else (inner, 0)
        total += count
        made.append((key, new))
    return dict(made) if isinstance(value, dict) else [new for _, new in made], total


def _after(steps: tuple[str, ...], key: str) -> list[tuple[str, ...]]:
    """What is left of a path once it went into `key`; several where `**` may end here or go on, none where it does not lead there."""
    if not steps:
        return []
    if steps[0] == "**":
        further = _after(steps[1:], key) if len(steps) > 1 else [()]
        return [steps, *further]
    return [steps[1:]] if matches(steps[0], key) else []


def matches(pattern: str, key: str) -> bool:
    """Whether a key is what a step says; `*` is any characters. Without regard to case, in time linear in the key for each `*`."""
    pattern, key = pattern.casefold(), key.casefold()
    if "*" not in pattern:
        return pattern == key
    begin, *middle, end = pattern.split("*")
    if len(key) < len(begin) + len(end) or not key.startswith(begin) or not key.endswith(end):
        return False
    at, last = len(begin), len(key) - len(end)
    for part in middle:
        found = key.find(part, at, last)
        if found < 0:
            return False
        at = found + len(part)
    return True


def parse_redaction(text: bytes) -> Redaction:
    """Read rules from the text of a file: TOML, `rules = ["data.args.password"]`; or JSON, the list alone.

    Raises:
        RedactionError: it can't be used; all its problems.
    """
    if len(text) > REDACTION_FILE_BYTES_MAX:
        raise RedactionError(f"it is larger than {REDACTION_FILE_BYTES_MAX // 1024} KiB")
    try:
        words = text.decode()
    except UnicodeDecodeError as exc:
        raise RedactionError("it is no UTF-8 text") from exc
    if words.lstrip().startswith("[") and not words.lstrip().startswith("[["):
        try:
            rules = json.loads(words)
        except (ValueError, RecursionError) as exc:
            raise RedactionError(f"it is no JSON list: {exc}") from exc
    else:
        try:
            document = tomllib.loads(words)
        except (ValueError, RecursionError) as exc:
            raise RedactionError(f"it is no TOML: {exc}") from exc
        if set(document) != {"rules"}:
            raise RedactionError(f'it has {", ".join(sorted(document)) or "nothing"}; expected rules = ["data.args.password"]')
        rules = document["rules"]
    if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
        raise RedactionError("the rules are a list of paths, each a text")
    return Redaction(rules)
