"""What is known of the shards: each for itself, and nothing after a loss."""

import asyncio

import pytest

from runcast.bus.deployment import Deployment, Shard
from runcast.bus.shards import Shards
from runcast.wire.errors import UnavailableError

A, B = Shard("aaaaaaaa", 60.0), Shard("bbbbbbbb", 60.0)


def test_one_shard_does_not_wait_for_another() -> None:
    shards = Shards()
    shards.begin(2)
    shards.verified(1, B)
    assert shards.get(1) == B
    assert (shards.some, shards.deployment) == (True, None)
    with pytest.raises(UnavailableError) as caught:
        shards.get(0)
    assert (caught.value.code.retry, caught.value.retry_after_s > 0) == (True, True)
    shards.verified(0, A)
    assert shards.deployment == Deployment((A, B))


def test_after_a_loss_nothing_counts_but_their_number() -> None:
    shards = Shards()
    shards.begin(1)
    shards.verified(0, A)
    shards.lost()
    assert (shards.count, shards.some, shards.deployment) == (1, False, None)
    with pytest.raises(UnavailableError):
        shards.get(0)


async def test_who_waits_is_told() -> None:
    shards = Shards()
    shards.begin(2)
    waiting = [asyncio.create_task(shards.wait(1, 10.0)) for _ in range(3)]
    await asyncio.sleep(0)
    shards.verified(0, A)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    shards.verified(1, B)
    assert await asyncio.gather(*waiting) == [B, B, B]
    assert await shards.wait(1, 0.0) == B
    shards.lost()
    with pytest.raises(UnavailableError):
        await shards.wait(1, 0.01)
