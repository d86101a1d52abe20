import asyncio
import socket
from pathlib import Path

import pytest

from runcast.testkit import Cluster, Device
from runcast.testkit.node import NatsServerMissingError, find_nats_server
from runcast.testkit.ports import HOST, PortTakenError, is_free
from runcast.wire.errors import RefusedError


async def test_nats_alone_starts_restarts_on_its_port_and_leaves_nothing() -> None:
    async with Cluster(routers=0, edges=0) as cluster:
        nats = cluster.nats
        assert nats is not None
        assert cluster.nats_url == f"nats://127.0.0.1:{nats.port}"
        first, port = nats.pid, nats.port
        await nats.restart()
        assert (nats.port, nats.running) == (port, True)
        assert nats.pid != first
        directory = cluster.directory
        assert directory.exists()
    assert not nats.running
    assert is_free(port)
    assert not directory.exists()


async def test_data_that_was_given_stays(tmp_path: Path) -> None:
    async with Cluster(routers=0, edges=0, data=tmp_path / "data"):
        pass
    assert (tmp_path / "data" / "jetstream").exists()


@pytest.mark.parametrize("which", ["nats_port", "router_port", "edge_port"])
async def test_a_taken_port_is_named(which: str) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=str(port)):
            await Cluster(**{which: port}).start()  # type: ignore[arg-type]


def test_a_missing_nats_server_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NatsServerMissingError, match=r"runcast\[local\]"):
        find_nats_server()


def test_tokens() -> None:
    assert Cluster().token("alice") == "dev.default.alice"
    assert Cluster().token("a b", "t.x") == "dev.t_2Ex.a_20b"


async def test_three_servers_form_a_cluster_that_outlives_its_leader(user: str) -> None:
    async with Cluster(routers=1, edges=1, nats_servers=3, proxied=True, shards=1) as cluster:
        assert [node.name for node in cluster.nats_servers] == ["nats-0", "nats-1", "nats-2"]
        assert set(cluster.proxies) == {
            *((node, f"nats-{n}") for node in ("router-0", "edge-0") for n in range(3)),
            *((f"nats-{one}", f"nats-{other}") for one in range(3) for other in range(3) if one != other),
            ("device", "edge-0"),
            ("agent", "router-0"),
        }
        pairs = [("nats-0", "nats-1"), ("nats-0", "nats-2"), ("nats-1", "nats-2")]
        routes = [proxy for (who, to), proxy in cluster.proxies.items() if who.startswith("nats")]
        assert all(any(cluster.proxies[line].connections for line in ((one, other), (other, one))) for one, other in pairs), routes
        leader = await cluster.stream_leader("RUNCAST_EV_0")
        assert leader in cluster.nats_servers
        async with Device(cluster.ws_urls(), cluster.token(user), reconnect=True) as device:
            await device.send_message("demo", "t-1", "before")
            await leader.kill()
            for _ in range(100):  # refused while the edge has no server, "try again"
                try:
                    await device.send_message("demo", "t-1", "after", id="after")
                    break
                except RefusedError as exc:
                    if not exc.code.retry:
                        raise
                    await asyncio.sleep(0.2)
            await device.wait_count(2)
            assert [event.user_message.text for event in device.events] == ["before", "after"]
        assert await cluster.stream_leader("NOTHING") is None
