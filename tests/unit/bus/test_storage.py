"""Storing: what each answer means, by the exceptions that nats-py really raises, and by a real server."""

import asyncio

import nats.errors
import nats.js.errors
import pytest
import structlog

from runcast.bus.connection import Bus
from runcast.bus.deployment import provision
from runcast.bus.storage import Stored, storage_error, store
from runcast.testkit import Cluster
from runcast.wire import limits, subjects
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey

ALICE = UserKey("default", "alice")


def api(kind: type[nats.js.errors.APIError], code: int, err_code: int) -> nats.js.errors.APIError:
    return kind(code=code, err_code=err_code, description="as the server says")


@pytest.mark.parametrize(
    ("exc", "code", "retry", "definite"),
    [
        (nats.js.errors.NoStreamResponseError(), "unavailable", True, True),
        (nats.errors.NoRespondersError(), "unavailable", True, True),
        (api(nats.js.errors.ServiceUnavailableError, 503, 10008), "unavailable", True, True),
        (api(nats.js.errors.ServiceUnavailableError, 503, 10077), "storage_full", True, True),
        (api(nats.js.errors.ServiceUnavailableError, 503, 10023), "storage_full", True, True),
        (api(nats.js.errors.ServerError, 500, 10047), "storage_full", True, True),
        (api(nats.js.errors.BadRequestError, 400, 10122), "storage_full", True, True),
        (api(nats.js.errors.BadRequestError, 400, 10054), "batch_too_large", False, True),
        (api(nats.js.errors.BadRequestError, 400, 10071), "internal", True, False),
        (api(nats.js.errors.ServerError, 500, 10000), "internal", True, False),
        (nats.errors.MaxPayloadError(), "batch_too_large", False, True),
        (nats.errors.TimeoutError(), "indeterminate", True, False),
        (nats.errors.FlushTimeoutError(), "indeterminate", True, False),
        (nats.errors.DrainTimeoutError(), "indeterminate", True, False),
        (TimeoutError(), "indeterminate", True, False),
        (nats.js.errors.FetchTimeoutError(), "indeterminate", True, False),
        (nats.errors.ConnectionClosedError(), "unavailable", True, True),
        (nats.errors.ConnectionDrainingError(), "unavailable", True, True),
        (nats.errors.OutboundBufferLimitError(), "unavailable", True, True),
        (nats.errors.StaleConnectionError(), "indeterminate", True, False),
        (nats.errors.UnexpectedEOF(), "indeterminate", True, False),
        (nats.errors.ProtocolError(), "indeterminate", True, False),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'err_code', '')}" if isinstance(value, Exception) else str(value),
)
def test_foreign_exceptions_are_mapped(exc: Exception, code: str, *, retry: bool, definite: bool) -> None:
    mapped = storage_error(exc)
    assert isinstance(mapped, RuncastError)
    assert (mapped.code.name, mapped.code.retry, mapped.code.definite) == (code, retry, definite)
    assert isinstance(mapped, UnavailableError) == (code in ("unavailable", "indeterminate"))
    assert mapped.message


@pytest.mark.parametrize("exc", [ValueError("x"), RuncastError("x"), KeyError("x")])
def test_anything_else_is_left_as_it_is(exc: Exception) -> None:
    assert storage_error(exc) is exc


async def test_stored_once_and_found_again(bus: Bus, log: structlog.stdlib.BoundLogger) -> None:
    await provision(bus, shards=1, replicas=1, log=log)
    subject = subjects.event_subject(ALICE, 0)
    assert await store(bus, subject, b"a", msg_id="1") == Stored(1, duplicate=False)
    assert await store(bus, subject, b"b", msg_id="2") == Stored(2, duplicate=False)
    assert await store(bus, subject, b"a", msg_id="1") == Stored(1, duplicate=True)
    assert await store(bus, subject, b"a") == Stored(3, duplicate=False)


async def test_refusals_of_a_real_server(bus: Bus, log: structlog.stdlib.BoundLogger) -> None:
    with pytest.raises(UnavailableError) as unavailable:
        await store(bus, subjects.event_subject(ALICE, 0), b"a")
    assert unavailable.value.code.name == "unavailable"
    assert unavailable.value.retry_after_s > 0

    await provision(bus, shards=1, replicas=1, log=log)
    with pytest.raises(RuncastError) as large:
        await store(bus, subjects.event_subject(ALICE, 0), b"x" * (limits.MIB + 1))
    assert (large.value.code.name, large.value.code.definite) == ("batch_too_large", True)

    await bus.js.add_stream(name="SMALL", subjects=["small"], max_msg_size=10)
    with pytest.raises(RuncastError) as larger:
        await store(bus, "small", b"x" * 1000)
    assert larger.value.code.name == "batch_too_large"


async def test_the_inbox_is_bounded_per_user_and_group(bus: Bus, log: structlog.stdlib.BoundLogger) -> None:
    await provision(bus, shards=1, replicas=1, log=log)
    subject = subjects.inbox_subject("g", ALICE, 0)
    for number in range(limits.INBOX_PER_USER_MAX):
        await store(bus, subject, b"m", msg_id=str(number))
    with pytest.raises(RuncastError) as full:
        await store(bus, subject, b"m", msg_id="one more")
    assert (full.value.code.name, full.value.code.retry, full.value.code.definite) == ("storage_full", True, True)
    assert (await store(bus, subject, b"m", msg_id="7")).duplicate, "a resend of what is there is no news"
    await store(bus, subjects.inbox_subject("other", ALICE, 0), b"m")
    await store(bus, subjects.inbox_subject("g", UserKey("default", "bob"), 0), b"m")


async def test_silence_is_indeterminate_and_absence_is_not(bus: Bus, nats: Cluster, log: structlog.stdlib.BoundLogger) -> None:
    assert nats.nats is not None
    await provision(bus, shards=1, replicas=1, log=log)
    subject = subjects.event_subject(ALICE, 0)
    await nats.nats.pause()
    with pytest.raises(UnavailableError) as silent:
        await store(bus, subject, b"a", msg_id="1", timeout_s=0.2)
    assert silent.value.code.name == "indeterminate"
    nats.nats.resume()
    assert (await store(bus, subject, b"a", msg_id="1")).duplicate, "it had been stored: that is why it was not called failed"

    gone = asyncio.Event()
    bus.disconnected.append(gone.set)
    await nats.nats.stop()
    await gone.wait()
    with pytest.raises(UnavailableError) as absent:
        await store(bus, subject, b"a", msg_id="2", timeout_s=0.2)
    assert (absent.value.code.name, absent.value.code.definite) == ("unavailable", True)
