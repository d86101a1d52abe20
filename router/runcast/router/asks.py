"""What a producer asks or tells besides its batches, read (PROTOCOL.md, "Agents: gRPC").

Rules: what can't be read ends the stream, since there is no answer that says so.

Pure: imports no asyncio, clock, random, logging, grpc, nats.
"""

from runcast.router.attempt import AttemptKey
from runcast.router.effects import Await, BatchKey, RequestKey, RunKey
from runcast.v1.event_pb2 import User
from runcast.v1.ingest_pb2 import AnswerAsk, OpenRun, ReceiptAsk, RunAbandon
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey, check_id
from runcast.wire.position import parse_position


def read_user(user: User) -> UserKey:
    """Whose stream is meant.

    Raises:
        RuncastError: `id_invalid`.
    """
    return UserKey(check_id(user.tenant, "tenant id"), check_id(user.id, "user id"))


def read_receipt_ask(ask: ReceiptAsk) -> Await:
    """Read a question for a receipt.

    Raises:
        RuncastError: `id_invalid` or `position_malformed`.
    """
    key = BatchKey(RunKey(read_user(ask.user), check_id(ask.run_id, "run id")), ask.attempt, ask.number)
    return Await(key, parse_position(ask.position), ask.deadline_ms, ask.elapsed_ms)


def read_question(question: AnswerAsk) -> RequestKey:
    """Read which answer of a user is waited for.

    Raises:
        RuncastError: `id_invalid`.
    """
    run = RunKey(read_user(question.user), check_id(question.run_id, "run id"))
    return RequestKey(run, check_id(question.request_id, "request_id"))


def read_attempt(told: RunAbandon | OpenRun) -> AttemptKey:
    """Read which attempt is meant.

    Raises:
        RuncastError: `id_invalid` or `batch_invalid`.
    """
    user = read_user(told.user)
    if told.attempt < 1:
        raise RuncastError("attempt is 0; count the tries of a run from 1", code="batch_invalid")
    return RunKey(user, check_id(told.run_id, "run id")), told.attempt
