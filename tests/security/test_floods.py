"""A short `python -m runcast.testkit.floods`: an edge under attack, its users beside it, and the same users on another edge.

What else the machine is busy with delays both edges alike, so it is their ratio that counts; and an edge under attack uses more of the
processors, so on a busy machine it waits for them longer. The bounds leave room for that; without the defence they are passed many times.
"""

import pytest

from runcast.testkit.floods import Floods

RATIO_MAX = 8.0
NOISE_MS = 40.0
GROWTH_MIB_MAX = 48.0


@pytest.mark.timeout(90)
async def test_floods_cost_others_nothing(record_property):
    async with Floods() as floods:
        await floods.measure("", 0.5)
        for attack in ("connects", "pings", "pieces"):
            cost = await floods.measure(attack, 1.5)
            record_property(attack, repr(cost))
            assert cost.lost == 0
            assert cost.counts, "there was an attack"
            assert (cost.beside.p99 + NOISE_MS) / (cost.apart.p99 + NOISE_MS) < RATIO_MAX, cost
            assert cost.rss_mib[1] - cost.rss_mib[0] < GROWTH_MIB_MAX, cost
