"""What a batch must be, looked at alone (PROTOCOL.md, "Agents: gRPC"): ids, sizes, numbers, kinds, JSON.

Rules: everything that is wrong is a `RuncastError` whose code and message go to the producer in a refusal. Fields and kinds
that this version does not know are kept. JSON is really decoded here, because edges embed it verbatim into the frames that
browsers parse: what passes is one document of strict JSON in valid UTF-8, not nested deeper than `limits.JSON_DEPTH_MAX`.
That texts are valid UTF-8 is seen to by protobuf's own parser.

Pure: imports no asyncio, clock, random, logging, grpc, nats.
"""

from typing import Final

import msgspec
from google.protobuf.unknown_fields import UnknownFieldSet

from runcast.v1.event_pb2 import Batch, Event
from runcast.wire import limits
from runcast.wire.errors import RuncastError
from runcast.wire.ids import check_id, event_id
from runcast.wire.jsontext import too_deep

JSON_FIELDS: Final[dict[str, str]] = {
    "agent_started": "input_json",
    "tool_executing": "args_json",
    "tool_completed": "result_json",
    "agent_completed": "result_json",
    "user_message": "data_json",
    "input_requested": "default_json",
    "input_resolved": "value_json",
    "custom": "data_json",
}
"""The field that holds JSON, of the kinds that have one (a test compares them with the proto)."""

NOT_FOR_AGENTS: Final[dict[str, str]] = {
    "user_message": "edges write it when a user sends something",
    "run_lost": "routers write it when an agent went away",
}
"""Kinds that an agent can't emit, and who does."""

_KIND_NUMBER_MIN: Final = 33
"""Field numbers of kinds to come (event.proto reserves 33 to 63 for them)."""


def check_batch(batch: Batch, size: int, producer: str) -> None:
    """Check a batch by itself, without knowing its run; whose it is was read before (`runcast.router.asks.read_user`).

    Args:
        batch: as it came.
        size: bytes of its serialized form.
        producer: the id given in the stream's hello.

    Raises:
        RuncastError: `batch_too_large`, `event_too_large`, `id_invalid` or `batch_invalid`.
    """
    count = len(batch.events)
    if count > limits.BATCH_EVENTS_MAX:
        raise RuncastError(f"the batch has {count} events; send at most {limits.BATCH_EVENTS_MAX}", code="batch_too_large")
    if size > limits.EVENT_BYTES_MAX:  # no event can be larger than its batch
        _check_sizes(batch, size)
    check_id(batch.run_id, "run id")
    if batch.producer != producer:
        check_id(batch.producer, "producer id")
        raise _invalid(f"the batch's producer is {batch.producer!r}, but hello said {producer!r}; send it on that producer's stream")
    if batch.attempt < 1:
        raise _invalid("attempt is 0; count the tries of a run from 1")
    if batch.number < 1:
        raise _invalid("number is 0; count the batches of an attempt from 1")
    if not count:
        raise _invalid("the batch has no events; send at least 1")
    first = batch.events[0].seq
    if first < batch.number:
        raise _invalid(f"batch {batch.number} begins with seq {first}; every batch before it had at least one event, from seq 1")
    if batch.number == 1 and first != 1:
        raise _invalid(f"batch 1 begins with seq {first}; an attempt's first event has seq 1")
    agent = thread = parent = ""
    for seq, event in enumerate(batch.events, first):
        _check_place(event, batch, seq)
        if event.agent != agent or not agent:
            agent = check_id(event.agent, "agent")
        if event.thread != thread:
            thread = check_id(event.thread, "thread")
        if event.parent_run_id != parent:
            parent = check_id(event.parent_run_id, "parent run id")
        if event.traceparent:
            check_id(event.traceparent, "traceparent")
        check_kind(event)


def _check_sizes(batch: Batch, size: int) -> None:
    for event in batch.events:
        if (event_size := event.ByteSize()) > limits.EVENT_BYTES_MAX:
            raise RuncastError(
                f"event seq {event.seq} has {event_size} bytes; the most is {limits.EVENT_BYTES_MAX}", code="event_too_large"
            )
    if size > limits.BATCH_BYTES_MAX:
        raise RuncastError(f"the batch has {size} bytes; the most is {limits.BATCH_BYTES_MAX}", code="batch_too_large")


def _check_place(event: Event, batch: Batch, seq: int) -> None:
    if event.seq != seq:
        raise _invalid(f"seq {event.seq} follows {seq - 1}; an attempt's events are numbered without a hole")
    if event.run_id != batch.run_id or event.attempt != batch.attempt:
        raise _invalid(f"event seq {seq} is of another run or attempt than its batch ({_short(event.run_id)} attempt {event.attempt})")
    if event.id != event_id(batch.run_id, batch.attempt, seq):
        raise _invalid(f"event seq {seq} has id {_short(event.id)}; it must be '<run_id>.<attempt>.<seq>'")


def check_kind(event: Event) -> None:
    """Check what depends on an event's kind.

    Raises:
        RuncastError: `batch_invalid`, or `id_invalid` for an id within the kind.
    """
    kind = event.WhichOneof("kind")
    if kind is None:
        unknown = UnknownFieldSet(event)
        if not any(unknown[index].field_number >= _KIND_NUMBER_MIN for index in range(len(unknown))):
            raise _invalid(f"event seq {event.seq} has no kind; set exactly one")
        return
    if kind in NOT_FOR_AGENTS:
        raise _invalid(f"event seq {event.seq} is a {kind}, which agents don't emit: {NOT_FOR_AGENTS[kind]}")
    if kind in JSON_FIELDS:
        name = JSON_FIELDS[kind]
        if text := getattr(getattr(event, kind), name):
            _check_json(text, f"event seq {event.seq}: {kind}.{name}")
    if kind == "tool_executing":
        check_id(event.tool_executing.tool_call_id, "tool_call_id")
        _check_short(event.tool_executing.tool, "tool name")
    elif kind == "tool_completed":
        check_id(event.tool_completed.tool_call_id, "tool_call_id")
    elif kind == "agent_response":
        _check_short(event.agent_response.message_id, "message_id")
    elif kind == "input_requested":
        check_id(event.input_requested.request_id, "request_id")
    elif kind == "input_resolved":
        check_id(event.input_resolved.request_id, "request_id")
    elif kind == "agent_thinking" and event.agent_thinking.HasField("progress") and not 0.0 <= event.agent_thinking.progress <= 1.0:
        raise _invalid(f"event seq {event.seq}: agent_thinking.progress is {event.agent_thinking.progress}; use 0.0 to 1.0")


def _check_short(value: str, what: str) -> None:
    if value:
        check_id(value, what)


def _check_json(text: bytes, where: str) -> None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise _invalid(f"{where} is not JSON ({exc}); send one JSON value, or leave it empty") from exc
    if too_deep(text, value):
        raise _invalid(f"{where} is nested deeper than {limits.JSON_DEPTH_MAX} levels; flatten it")


def _short(text: str) -> str:
    return repr(text if len(text) <= 64 else text[:64] + "...")


def _invalid(message: str) -> RuncastError:
    return RuncastError(message, code="batch_invalid")
