"""The Durable Streams protocol's own client packages read a user's stream: npm's from Node, PyPI's from Python."""

import asyncio
import json
from typing import Any

import durable_streams
import pytest
from packages import HERE, find_package
from test_node import find_node

from runcast.testkit import Cluster

BOUND_S = 30.0


async def tell(cluster: Cluster, user: str, *texts: str) -> list[list[str]]:
    """A run; returns what readers are to find of it: ids and kinds."""
    async with cluster.connect() as rc, rc.run(user=user) as run:
        for text in texts:
            await run.custom("told", text)
            await run.flush()
    kinds = ["agent_started", *["custom"] * len(texts), "agent_completed"]
    return [[f"{run.id}.1.{seq}", kind] for seq, kind in enumerate(kinds, 1)]


async def test_the_package_of_npm_reads_a_stream(runcast_cluster: Cluster, user: str) -> None:
    find_package("@durable-streams/client/package.json")
    first = await tell(runcast_cluster, user, "one", "two")
    url = f"{runcast_cluster.edges[0].http_url}/v1/stream"
    node = await asyncio.create_subprocess_exec(
        find_node(), str(HERE / "durable_reader.mjs"), url, runcast_cluster.token(user), stdout=asyncio.subprocess.PIPE
    )
    assert node.stdout is not None

    async def read() -> dict[str, Any]:
        assert node.stdout is not None
        line = await asyncio.wait_for(node.stdout.readline(), BOUND_S)
        found: dict[str, Any] = json.loads(line)
        return found

    try:
        caught_up = await read()
        assert (caught_up["is"], caught_up["events"], caught_up["upToDate"]) == ("catch-up", first, True)
        assert await read() == {
            "is": "head",
            "exists": True,
            "offset": caught_up["offset"],
            "contentType": "application/json",
        }
        assert {(await read())["live"] for _ in range(2)} == {"long-poll", "sse"}
        second = await tell(runcast_cluster, user, "three")
        found = [await read() for _ in range(2)]
        assert [(each["is"], each["events"]) for each in found] == [("long-poll", second), ("sse", second)]
        assert found[0]["offset"] == found[1]["offset"] > caught_up["offset"]
        assert [(await read())["status"] for _ in range(2)] == [410, 400]
        assert await node.wait() == 0
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()


async def test_the_package_of_pypi_reads_a_stream(runcast_cluster: Cluster, user: str) -> None:
    first = await tell(runcast_cluster, user, "one", "two")
    url, headers = f"{runcast_cluster.edges[0].http_url}/v1/stream", {"Authorization": f"Bearer {runcast_cluster.token(user)}"}
    async with durable_streams.astream(url, headers=headers, live=False) as caught_up:
        assert [[event["id"], event["kind"]] for event in await caught_up.read_json()] == first
        assert caught_up.up_to_date
        offset = caught_up.offset

    async def follow(live: Any, ready: asyncio.Event) -> list[list[str]]:
        found: list[list[str]] = []
        async with durable_streams.astream(url, headers=headers, offset=offset, live=live, timeout=BOUND_S) as reading:
            ready.set()
            async for event in reading.iter_json():
                found.append([event["id"], event["kind"]])
                if event["kind"] == "agent_completed":
                    break
        return found

    modes: list[Any] = ["sse", "auto"]
    readies = [asyncio.Event() for _ in modes]
    reading = [asyncio.ensure_future(follow(live, ready)) for live, ready in zip(modes, readies, strict=True)]
    for ready in readies:
        await asyncio.wait_for(ready.wait(), BOUND_S)
    second = await tell(runcast_cluster, user, "three")
    assert await asyncio.wait_for(asyncio.gather(*reading), BOUND_S) == [second, second]
    with pytest.raises(durable_streams.RetentionGoneError):
        async with durable_streams.astream(url, headers=headers, offset="zzzzzzzz-0000000000000001", live=False):
            pass
