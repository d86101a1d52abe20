"""Browsers that connect and say nothing, or never read: others get everything, and the edge lets go of them."""

import random

import aiohttp
import pytest

from runcast.client import Runcast
from runcast.testkit.mutes import MUTES, stay_mute


@pytest.mark.parametrize("what", ["no_hello", "no_reading"])
async def test_silent_browsers_cost_others_nothing(runcast_cluster, device, user, what):
    quick = await device(device="quick")
    async with Runcast(",".join(runcast_cluster.router_addresses()), agent="test") as rc, aiohttp.ClientSession() as http:
        async with rc.run(user=user, thread="t") as run:
            for number in range(200):
                await run.custom("long", {"text": "x" * 1000, "n": number})
            url, token = runcast_cluster.ws_urls()[0], runcast_cluster.token(user)
            assert await stay_mute(url, [token], what, 0.5, http, random.Random(1)) == MUTES
            await run.custom("last")
        await quick.wait_kind("agent_completed")
    assert [event.seq for event in quick.events if event.run_id == run.id] == list(range(1, 204))
