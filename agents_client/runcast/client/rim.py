"""Where gRPC and asyncio's time-outs are met: channels with their options, and errors mapped into our tree, once.

Rules: every attempt has its own channel with its own connection (shared subchannels would lead back to the router that is draining);
statuses that say "not you" are final, all others are tried again; a status whose details begin with a code of our table means that code.
gRPC raises CancelledError for a stream that was dropped under a reader. Whether the task itself was cancelled is told by a *rise* of
`Task.cancelling()`, never by its value: a task may carry cancellations that it has long met (until Python 3.13 every TaskGroup whose child
fails while the group waits leaves one on its task).

Never imports the outbox or anything of a run.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, cast

import grpc
import grpc.aio

from runcast.client.tls import Tls
from runcast.wire import limits, limits_client
from runcast.wire.codes import CODES
from runcast.wire.errors import RefusedError, RuncastError, UnavailableError

Request = TypeVar("Request")
Response = TypeVar("Response")

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # routers are near; a proxy from the environment is for other things
    ("grpc.max_send_message_length", limits.GRPC_MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", limits.GRPC_MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", int(limits_client.KEEPALIVE_INTERVAL_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(limits_client.KEEPALIVE_TIMEOUT_S * 1000)),
    (
        "grpc.http2.ping_timeout_ms",
        int(limits_client.KEEPALIVE_TIMEOUT_S * 1000),
    ),  # without it gRPC waits a minute, whatever keepalive says
    ("grpc.http2.max_pings_without_data", 0),
)
_CUT = "Internal error from Core"
"""gRPC's details of a stream that ended while it was written to: its own status is lost then."""
_NOT_YOU = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})


@asynccontextmanager
async def open_channel(
    target: str, within_s: float = limits_client.CONNECT_TIMEOUT_S, tls: Tls | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """A connected channel to a router; closed, with all its calls, at the end. With `tls`, its files are read now.

    Raises:
        UnavailableError: no connection within `within_s` seconds, or not a secure one, or a file can't be read.
    """
    channel = _make_channel(target, tls)
    try:
        try:
            async with time_limit(within_s):
                state = channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise UnavailableError(
                            f"no router can be reached at {target}; start one there, or correct the address"
                            + (", or the certificates" if tls else "; one that speaks TLS wants `tls=`")
                        )
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        except TimeoutError as exc:
            raise UnavailableError(f"no connection to {target} within {within_s:g} s") from exc
        yield channel
    finally:
        await channel.close()


def _make_channel(target: str, tls: Tls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    try:
        ca, cert, key = tls.read()
    except OSError as exc:
        raise UnavailableError(f"{exc.filename} can't be read ({exc.strerror}), so there is no TLS to {target}") from exc
    name = (("grpc.ssl_target_name_override", tls.name),) if tls.name else ()
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca, key, cert), options=(*_OPTIONS, *name))


async def read(call: "grpc.aio.StreamStreamCall[Any, Response]", target: str, until: float | None = None) -> Response | None:
    """The next response; None when the router ended the stream well.

    Args:
        call: a bidirectional stream.
        target: its router, for the message.
        until: loop time at which to give up, and the stream with it.

    Raises:
        RefusedError: the router answered with a code, or does not let us in.
        UnavailableError: the router is gone, or took too long.
    """
    async with _map_errors(target), time_limit_at(until):
        response = await call.read()
    return None if response is grpc.aio.EOF else cast("Response", response)


async def write(call: "grpc.aio.StreamStreamCall[Request, Any]", request: Request, target: str) -> None:
    """Write a request; raises as `read`, and UnavailableError when the router takes no bytes for `limits_client.ROUTER_QUIET_S`."""
    async with _map_errors(target):
        try:
            async with time_limit(limits_client.ROUTER_QUIET_S):
                await call.write(request)
        except asyncio.InvalidStateError as exc:  # the stream ended before: its status says why
            raise _map_status(await call.code(), await call.details(), target) from exc


async def ask(call: "grpc.aio.UnaryUnaryCall[Any, Response]") -> Response:
    """The answer to a single request; raises as `read`."""
    async with _map_errors("the router"):
        return await call


async def end_writing(call: "grpc.aio.StreamStreamCall[Any, Any]", target: str) -> None:
    """Tell the router that nothing more comes; raises as `read`."""
    async with _map_errors(target):
        await call.done_writing()


@asynccontextmanager
async def _map_errors(target: str) -> AsyncIterator[None]:
    """Turn what gRPC and time-outs raise into our errors; a cancellation of the current task stays one."""
    met = await _meet_cancellation()
    try:
        yield
    except grpc.aio.AioRpcError as exc:
        raise _map_status(exc.code(), exc.details(), target) from exc
    except (TimeoutError, asyncio.InvalidStateError, grpc.aio.BaseError) as exc:
        raise UnavailableError(f"the stream to {target} broke: {str(exc) or 'no answer in time'}") from exc
    except asyncio.CancelledError as exc:
        if _cancellations() > met:
            raise
        raise UnavailableError(f"the stream to {target} was dropped") from exc


def time_limit(limit_s: float) -> AbstractAsyncContextManager[None]:
    """A time-out for a block, `limit_s` seconds from now; see `time_limit_at`."""
    return time_limit_at(asyncio.get_running_loop().time() + limit_s)


@asynccontextmanager
async def time_limit_at(until: float | None) -> AsyncIterator[None]:
    """`asyncio.timeout_at`, right also in a task that was cancelled before: Python 3.11.0 to 3.11.3 give that one a CancelledError.

    Args:
        until: loop time, seconds; None for no limit.

    Raises:
        TimeoutError: the block was not over by then, and was cancelled.
    """
    met = _cancellations()
    scope = asyncio.timeout_at(until)
    try:
        async with scope:
            yield
    except asyncio.CancelledError as exc:
        if scope.expired() and _cancellations() <= met:
            raise TimeoutError from exc
        raise


def _cancellations() -> int:
    """How many the current task carries, met or not."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


async def _meet_cancellation() -> int:
    """Let a cancellation that the current task has still to meet be raised here; return how many it has met."""
    if _cancellations():
        await asyncio.sleep(0)
    return _cancellations()


def _map_status(status: grpc.StatusCode, text: str | None, target: str) -> RuncastError:
    details = text or "no details"
    if status is grpc.StatusCode.INTERNAL and details == _CUT:
        return UnavailableError(f"{target} ended the stream before it could be written to; the next try tells why")
    name, colon, message = details.partition(": ")
    known = bool(colon) and name in CODES
    if status in _NOT_YOU:
        return RefusedError(
            f"{target} does not let this agent in: {message if known else details}", code=name if known else "unauthenticated"
        )
    if known:
        return RefusedError(f"{target} answered: {message}", code=name)
    return UnavailableError(f"{target} ended the stream: {status.name}: {details}")
