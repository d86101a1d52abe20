import asyncio
import threading

import pytest

from runcast.testkit.home import Homed, HomeThread, at_home, at_home_now


class Thing(Homed):
    @at_home
    async def where(self) -> int:
        return threading.get_ident()

    @at_home
    async def fail(self) -> None:
        raise KeyError("away")

    @at_home
    async def wait(self, cancelled: threading.Event) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @at_home_now
    def where_now(self) -> int:
        return threading.get_ident()

    @at_home_now
    def fail_now(self) -> None:
        raise KeyError("away")


async def test_methods_run_where_the_object_lives() -> None:
    thread = HomeThread()
    thing = Thing()
    assert thing.where_now() == threading.get_ident(), "it lives nowhere yet"
    there = thread.run(thing.where)
    assert there != threading.get_ident()
    assert (await thing.where(), thing.where_now()) == (there, there)
    with pytest.raises(KeyError, match="away"):
        await thing.fail()
    with pytest.raises(KeyError, match="away"):
        thing.fail_now()
    thread.stop()
    thread.stop()
    assert await thing.where() == threading.get_ident(), "its loop is gone, so it moved here"


async def test_a_call_that_is_cancelled_here_is_cancelled_there() -> None:
    thread = HomeThread()
    thing, cancelled = Thing(), threading.Event()
    thread.run(thing.where)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await thing.wait(cancelled)
    assert await asyncio.to_thread(cancelled.wait, 5)
    thread.stop()
