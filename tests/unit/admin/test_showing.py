"""What is shown of a user ends when the user is erased."""

import asyncio

from runcast.admin.node import Node
from runcast.wire.ids import UserKey

USER = UserKey("default", "alice")


async def test_what_is_kept_in_the_very_turn_of_an_erasing_is_dropped(node: Node) -> None:
    kept = []

    def drop(user: UserKey | None) -> None:
        assert user == USER
        kept.clear()

    async def show(ready: asyncio.Event) -> None:
        async with node.showing(USER):
            await ready.wait()
            kept.append("film")

    node.forgetting.append(drop)
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        showing = group.create_task(show(ready))
        await asyncio.sleep(0)
        ready.set()  # it goes on in the turn in which the erasing begins, before it can be cut off
        await node.forget(USER)
    assert showing.exception() is None
    assert kept == []
