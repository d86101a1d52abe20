"""Time-outs in tasks that carry a cancellation, and whose cancellation it was that gRPC raised."""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from runcast.client.rim import open_channel, read, time_limit, write
from runcast.v1.inbox_pb2 import ReceiveRequest, WorkerHello
from runcast.v1.inbox_pb2_grpc import InboxServiceServicer, InboxServiceStub, add_InboxServiceServicer_to_server
from runcast.wire.errors import UnavailableError


class Silent(InboxServiceServicer):
    """Takes what comes and answers nothing."""

    async def Receive(self, request_iterator: object, context: grpc.aio.ServicerContext) -> None:  # type: ignore[override, type-arg]  # noqa: N802
        while await context.read() is not grpc.aio.EOF:
            pass


@pytest.fixture
async def target() -> AsyncIterator[str]:
    server = grpc.aio.server()
    add_InboxServiceServicer_to_server(Silent(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def outlive(history: str) -> asyncio.Task[object]:
    """Let the current task meet a cancellation, if so wanted; it stays counted, as after a failed TaskGroup."""
    task = asyncio.current_task()
    assert task is not None
    if history != "fresh":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        assert task.cancelling() == 1
    return task


HISTORIES = pytest.mark.parametrize("history", ["fresh", "outlived"])


@HISTORIES
async def test_a_time_limit_times_out(history: str) -> None:
    task = await outlive(history)
    before = task.cancelling()
    with pytest.raises(TimeoutError):
        async with time_limit(0.01):
            await asyncio.Event().wait()
    async with time_limit(10):
        await asyncio.sleep(0)
    assert task.cancelling() == before


@HISTORIES
async def test_a_cancellation_within_a_time_limit_is_one(history: str) -> None:
    task = await outlive(history)
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        async with time_limit(10):
            await asyncio.Event().wait()


async def test_a_router_that_stands_still_is_given_up_in_time() -> None:
    async def stand_still(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()  # it is the kernel that takes the connection
        writer.close()

    async with await asyncio.start_server(stand_still, "127.0.0.1", 0) as server:
        address = "{}:{}".format(*server.sockets[0].getsockname())
        began = asyncio.get_running_loop().time()
        with pytest.raises(UnavailableError, match=r"within 0\.3 s"):
            async with open_channel(address, 0.3):
                pass
        assert asyncio.get_running_loop().time() - began < 2.0


@HISTORIES
async def test_a_stream_that_is_dropped_under_its_reader_is_no_cancellation(history: str, target: str) -> None:
    await outlive(history)
    async with open_channel(target) as channel:
        call = InboxServiceStub(channel).Receive()
        await write(call, ReceiveRequest(hello=WorkerHello(group="g")), target)
        asyncio.get_running_loop().call_later(0.05, call.cancel)
        with pytest.raises(UnavailableError, match="was dropped"):
            await read(call, target)


@HISTORIES
@pytest.mark.parametrize("when", ["before", "while it waits"])
async def test_a_cancelled_reader_is_cancelled(history: str, when: str, target: str) -> None:
    task = await outlive(history)
    async with open_channel(target) as channel:
        call = InboxServiceStub(channel).Receive()
        await write(call, ReceiveRequest(hello=WorkerHello(group="g")), target)
        if when == "before":
            task.cancel()
        else:
            asyncio.get_running_loop().call_later(0.05, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await read(call, target)


@HISTORIES
async def test_a_reader_that_waits_too_long_is_told(history: str, target: str) -> None:
    await outlive(history)
    async with open_channel(target) as channel:
        call = InboxServiceStub(channel).Receive()
        await write(call, ReceiveRequest(hello=WorkerHello(group="g")), target)
        with pytest.raises(UnavailableError, match="no answer in time"):
            await read(call, target, asyncio.get_running_loop().time() + 0.05)
