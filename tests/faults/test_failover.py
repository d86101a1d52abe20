"""A leader is killed: traffic goes on as soon as the cluster has another one, for those who are there and for those who come."""

import pytest

from runcast.testkit.failover import SHARDS, measure

OURS_S = 2.5
"""What may be added to NATS's own election, on a busy machine; a quarter of a second otherwise."""


@pytest.mark.timeout(180)
async def test_traffic_flows_again_as_soon_as_there_is_another_leader(runcast_cluster_factory):
    cluster = await runcast_cluster_factory(routers=2, edges=2, nats_servers=3, shards=SHARDS)
    (kill,) = await measure(cluster, kills=1, users=8)
    worst = kill.worst()
    assert worst["elected"] > 0, "the killed server led one of them"
    assert worst["stored"] < worst["elected"] + OURS_S, kill
    assert worst["delivered"] < worst["elected"] + OURS_S, kill
    assert worst["opened"] < worst["elected"] + OURS_S, kill
