"""ReadStream: what is stored of a user, for who may look; it is written down that they did."""

import asyncio
import time
from typing import Any

from runcast.admin.calls import Calls
from runcast.admin.reading import Wish
from runcast.v1.admin_pb2 import ReadStreamRequest, ReadStreamResponse, RecordedBatch, StreamEnd, StreamHead, StreamPage
from runcast.wire import VERSION, limits
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey, check_id
from runcast.wire.limits_replay import READ_WRITE_S
from runcast.wire.position import Position
from runcast.wire.recorded import RecordedBatch as Recorded

_PAGE_BYTES = limits.GRPC_MESSAGE_BYTES_MAX // 4


class ReadCalls(Calls):
    """Role: view, and written to the audit log."""

    # A coroutine that writes, which gRPC takes, too: so the end is in the audit log before the call ends.
    async def ReadStream(  # type: ignore[override] # noqa: N802 # gRPC's
        self, request: ReadStreamRequest, context: Any
    ) -> None:
        """Tell what is kept of a user's stream."""
        target = f"user {request.user.tenant}/{request.user.id}" + (f", run {request.run_id}" if request.run_id else "")
        began_ms = time.time_ns() // 1_000_000
        async with (
            self._desk.looking(context, "ReadStream", target=target, reason=request.reason),
            self._node.reading(_wish(request)) as reading,
        ):
            head = StreamHead(version=VERSION, read_ms=began_ms, tip=reading.tip, incomplete=reading.incomplete)
            head.redacted.extend(reading.redaction.paths)
            await _write(context, ReadStreamResponse(head=head))
            async for batches in reading.pages():
                for page in _pages(batches):
                    await _write(context, ReadStreamResponse(page=page))
            end = StreamEnd(batches=reading.batches, events=reading.events, redacted=reading.redacted)
            await _write(context, ReadStreamResponse(end=end))


def _wish(request: ReadStreamRequest) -> Wish:
    user = UserKey(check_id(request.user.tenant, "tenant id"), check_id(request.user.id, "user id"))
    if request.run_id:
        check_id(request.run_id, "run id")
    return Wish(user, request.run_id, request.after, request.upto, request.from_ms, request.to_ms)


async def _write(context: Any, response: ReadStreamResponse) -> None:
    try:
        async with asyncio.timeout(READ_WRITE_S):
            await context.write(response)
    except TimeoutError as exc:
        raise UnavailableError(f"nothing was taken for {READ_WRITE_S:.0f} s; read it in one go, and play it afterwards") from exc


def _pages(batches: list[Recorded]) -> list[StreamPage]:
    """As messages that gRPC takes: a page of the log may be a little more than one of them, once it is opened."""
    pages = [StreamPage()]
    size = 0
    for each in batches:
        made = RecordedBatch(
            pos=str(Position(each.epoch, each.seq)), stored_ms=each.stored_ms, events=each.events, unreadable=each.unreadable
        )
        size += made.ByteSize()
        if size > _PAGE_BYTES and pages[-1].batches:
            pages.append(StreamPage())
            size = made.ByteSize()
        pages[-1].batches.append(made)
    return pages
