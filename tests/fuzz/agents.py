"""Fuzz targets: what agents say to a router."""

import contextlib
import re

from google.protobuf.message import DecodeError

from runcast.bus.identity.scopes import Scopes
from runcast.router.effects import Acked, BatchKey, Cancelled, Effect, End, Refused, RunKey, Store
from runcast.router.inbox import _read_hello
from runcast.router.ingest import ProducerStream
from runcast.router.worker import _DELIVERY_ID
from runcast.v1.event_pb2 import Batch, Custom, Event, InputRequested, ToolExecuting, User
from runcast.v1.inbox_pb2 import DISPOSITION_ACK, InboxAck, InboxMessage, KeptAnswer, ReceiveRequest, WorkerHello
from runcast.v1.ingest_pb2 import AnswerAsk, OpenRun, ProducerHello, PublishRequest, PublishResponse, ReceiptAsk, RunAbandon
from runcast.wire import limits
from runcast.wire.codes import CODES
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey, check_id
from tests.fuzz.reading import Reader, piece

_SCOPES = Scopes(frozenset({"acme"}), frozenset({"a", "b"}), frozenset({"*"}), frozenset({"desk"}))


def publish(data: bytes) -> None:
    """Requests of a Publish stream, through its machine; storage answers in any order, or not."""
    reader = Reader(data)
    stream = ProducerStream(window_batches=8, window_bytes=64 * limits.KIB, runs_max=4, ended_max=4, answers_max=4, scopes=lambda: _SCOPES)
    under_way: list[BatchKey] = []
    ended = False
    while reader.left:
        step = reader.byte() % 8
        if step < 4:
            try:
                stream.receive(PublishRequest.FromString(reader.piece()), float(step))
            except DecodeError:
                stream.end(RuncastError("no request", code="batch_invalid"))
        elif step == 4 and under_way:
            stream.stored(under_way.pop(reader.byte() % len(under_way)), "abcdefgh-0000000000000001", duplicate=False)
        elif step == 5 and under_way:
            error = UnavailableError("away") if reader.byte() % 2 else RuncastError("lost", code="run_lost")
            stream.failed(under_way.pop(reader.byte() % len(under_way)), error)
        elif step == 6:
            for run in stream.open_runs[:1]:
                stream.cancel(run, "enough")
                stream.settled(run, 1)
        elif step == 7 and reader.byte() > 250:
            stream.leave("draining", 100)
        for effect in stream.take_effects():
            assert not (ended and isinstance(effect, Store))
            ended = ended or isinstance(effect, End)
            _carry(effect, under_way)
        assert stream.unanswered == len(under_way) <= 8
        assert 0 <= stream.unanswered_bytes <= 64 * limits.KIB
    stream.close()
    stream.take_effects()


def _carry(effect: Effect, under_way: list[BatchKey]) -> None:
    match effect:
        case Store(key):
            assert key.run not in {other.run for other in under_way if other.attempt == key.attempt}
            assert key.run.user.tenant == "acme", "beyond its scopes"
            under_way.append(key)
        case Refused(refusal):
            assert refusal.code in CODES
            PublishResponse(refusals=[refusal]).SerializeToString()
        case Acked(ack):
            PublishResponse(acks=[ack]).SerializeToString()
        case Cancelled(cancel):
            PublishResponse(cancels=[cancel]).SerializeToString()
        case End(error):
            assert error.code.name in CODES


def inbox(data: bytes) -> None:
    """Requests of a Receive stream, and what is read from the inbox and beside runs."""
    try:
        request = ReceiveRequest.FromString(data)
    except DecodeError:
        pass
    else:
        with contextlib.suppress(RuncastError):
            group, worker, most = _read_hello(request)
            assert 1 <= len(group.encode()) <= limits.ID_BYTES_MAX
            assert worker
            assert 1 <= most <= limits.INBOX_IN_FLIGHT_MAX
        for ack in request.acks:
            found = _DELIVERY_ID.fullmatch(ack.delivery_id)
            assert (found is None) == (re.fullmatch(r"[0-9]{1,19}\.[0-9]{1,19}", ack.delivery_id, re.ASCII) is None)
            assert found is None or int(found[1]) < 10**19
    for kind in (InboxMessage, KeptAnswer):
        try:
            message = kind.FromString(data)
            user = UserKey(check_id(message.user.tenant, "tenant id"), check_id(message.user.id, "user id"))
        except (DecodeError, RuncastError):
            continue
        assert RunKey(user, "r").user.token.count(".") == 1


def seeds() -> dict[str, list[bytes]]:
    """Inputs to begin with, by target."""
    user = User(tenant="acme", id="u")
    hello = PublishRequest(hello=ProducerHello(producer="p", agent="a", client_version="1"))
    started = [Event(id="r.1.1", run_id="r", attempt=1, seq=1, agent="a", agent_started={})]
    work = [
        Event(
            id="r.1.2", run_id="r", attempt=1, seq=2, agent="a", tool_executing=ToolExecuting(tool_call_id="t", tool="x", args_json=b"{}")
        ),
        Event(id="r.1.3", run_id="r", attempt=1, seq=3, agent="a", custom=Custom(name="c", data_json=b"[1]")),
        Event(id="r.1.4", run_id="r", attempt=1, seq=4, agent="a", input_requested=InputRequested(request_id="q", prompt="?")),
    ]
    end = [Event(id="r.1.5", run_id="r", attempt=1, seq=5, agent="a", agent_completed={})]
    batches = [
        Batch(user=user, producer="p", run_id="r", attempt=1, number=number, events=events)
        for number, events in enumerate((started, work, end), 1)
    ]
    asks = [
        PublishRequest(receipt_asks=[ReceiptAsk(user=user, run_id="r", attempt=1, number=1, position="abcdefgh-0000000000000001")]),
        PublishRequest(answer_asks=[AnswerAsk(user=user, run_id="r", request_id="q")]),
        PublishRequest(abandons=[RunAbandon(user=user, run_id="r", attempt=1)]),
        PublishRequest(open_runs=[OpenRun(user=user, run_id="s", attempt=1)]),
    ]
    begin = b"\0" + piece(hello.SerializeToString())
    said = [b"\0" + piece(PublishRequest(batches=[batch]).SerializeToString()) for batch in batches]
    asked = [b"\0" + piece(ask.SerializeToString()) for ask in asks]
    receive = ReceiveRequest(hello=WorkerHello(group="desk", worker="w", in_flight_max=9))
    message = InboxMessage(id="m", user=user, group="desk")
    message.text.text = "hello"
    return {
        "publish": [
            begin, begin + b"\4\0".join(said) + b"\4\0", begin + b"".join(asked), begin + said[0] + b"\5\0\6\7\xff",
            begin + b"\0" + piece(PublishRequest(batches=batches).SerializeToString()) + b"\4\0\5\1\0",
        ],
        "inbox": [
            receive.SerializeToString(), message.SerializeToString(),
            ReceiveRequest(acks=[InboxAck(delivery_id="12.1", disposition=DISPOSITION_ACK)]).SerializeToString(),
            KeptAnswer(user=user, run_id="r", request_id="q", value_json=b"1", device="d", id="i").SerializeToString(),
        ],
    }  # fmt: skip
