"""`current_run`: deep code finds the run that it works for."""

import asyncio

import pytest

from runcast.client import LifecycleError, Run, Runcast, current_run
from runcast.testkit import Cluster


def connect(cluster: Cluster) -> Runcast:
    return Runcast(",".join(cluster.router_addresses()), agent="analyst")


def test_outside_of_a_run_the_error_says_what_to_do() -> None:
    with pytest.raises(LifecycleError, match=r"async with rc\.run"):
        current_run()
    assert current_run(None) is None
    assert current_run("none") == "none"


async def test_deep_code_finds_the_innermost_run(runcast_cluster: Cluster, user: str) -> None:
    async def deep() -> Run:
        await asyncio.sleep(0)
        return current_run()

    async with connect(runcast_cluster) as rc:
        async with rc.run(user=user) as outer:
            assert await deep() is outer
            async with rc.run(user=user) as inner:
                assert await deep() is inner
                assert await asyncio.to_thread(current_run) is inner
            assert await deep() is outer
        assert current_run(None) is None


async def test_concurrent_agents_have_their_own(runcast_cluster: Cluster, user: str) -> None:
    both = asyncio.Barrier(2)

    async def agent(rc: Runcast) -> None:
        async with rc.run(user=user) as run:
            await both.wait()
            assert current_run() is run

    async with connect(runcast_cluster) as rc, asyncio.TaskGroup() as group:
        group.create_task(agent(rc))
        group.create_task(agent(rc))


async def test_code_that_outlives_its_run_has_none(runcast_cluster: Cluster, user: str) -> None:
    over = asyncio.Event()

    async def straggler() -> None:
        await over.wait()
        assert current_run(None) is None
        with pytest.raises(LifecycleError, match="outlived"):
            current_run()

    async with connect(runcast_cluster) as rc, asyncio.TaskGroup() as group:
        async with rc.run(user=user):
            group.create_task(straggler())
        over.set()


async def test_a_run_may_be_left_in_another_task(runcast_cluster: Cluster, user: str) -> None:
    async with connect(runcast_cluster) as rc:
        run = rc.run(user=user)
        async with asyncio.TaskGroup() as group:
            await group.create_task(run.__aenter__())
            assert current_run(None) is None
            await group.create_task(run.__aexit__(None, None, None))
