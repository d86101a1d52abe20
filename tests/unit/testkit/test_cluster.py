import socket
from pathlib import Path

import pytest

from runcast.testkit import Cluster
from runcast.testkit.cluster import NatsServerMissingError, find_nats_server
from runcast.testkit.ports import HOST, PortTakenError, is_free


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
