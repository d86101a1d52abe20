"""Operators at a real admin process: who is not known does not get in, and who may look may not act."""

import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from runcast.bus.identity.apikeys import MadeKey, make_key
from runcast.testkit import Cluster
from runcast.testkit.plugin import ClusterFactory
from runcast.v1.admin_pb2 import GetPresenceRequest, GetStatusRequest, ListAuditRequest
from runcast.v1.admin_pb2_grpc import AdminServiceStub
from runcast.v1.event_pb2 import User
from tests.certificates import Authority

pytestmark = pytest.mark.timeout(90)


def key(name: str) -> MadeKey:
    return make_key(name, os.urandom(32))


VIEWER, OPERATOR, AGENT = key("viewer"), key("operator"), key("agent")


def write(path: Path, *tables: tuple[str, dict[str, Any]]) -> Path:
    lines = [line for name, table in tables for line in (f"[[{name}]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()))]
    file, new = path / "auth.toml", path / "auth.new"
    new.write_text("\n".join(lines))
    new.replace(file)
    return file


def people(path: Path) -> Path:
    return write(
        path,
        ("agents", {"name": "analyst", "tenants": ["*"], "keys": [AGENT.kept]}),
        ("admins", {"name": "auditor", "keys": [VIEWER.kept]}),
        ("admins", {"name": "ops", "keys": [OPERATOR.kept], "roles": ["view", "operate"]}),
    )


async def start(factory: ClusterFactory, file: Path) -> Cluster:
    return await factory(routers=1, edges=0, admins=1, environ={"RUNCAST_AUTH": "token", "RUNCAST_AUTH_FILE": str(file)})


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@contextlib.asynccontextmanager
async def admin(cluster: Cluster) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(cluster.admins[0].address) as channel:
        yield AdminServiceStub(channel)


async def code_of(call: Any) -> str:
    """The code of the table with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return str(dict(caught.value.trailing_metadata() or ()).get("runcast-code", caught.value.code().name))


async def test_only_operators_get_in_and_roles_count(tmp_path: Path, runcast_cluster_factory: ClusterFactory) -> None:
    cluster = await start(runcast_cluster_factory, people(tmp_path))
    async with admin(cluster) as stub:
        for metadata in (
            (),
            bearer(key("viewer").text),
            bearer(AGENT.text),
            bearer(VIEWER.kept),
            bearer(VIEWER.text) * 2,
            bearer("eyJ.e30."),
        ):
            for _ in range(2):
                assert await code_of(stub.GetStatus(GetStatusRequest(), metadata=metadata)) == "unauthenticated"
                assert await code_of(stub.GetPresence(GetPresenceRequest(), metadata=metadata)) == "unauthenticated"
        status = await stub.GetStatus(GetStatusRequest(), metadata=bearer(VIEWER.text))
        assert {each.name: each.state for each in status.dependencies}.items() >= {"nats": "ok", "storage": "ok", "auth file": "ok"}.items()
        presence = await stub.GetPresence(GetPresenceRequest(user=User(tenant="t", id="u")), metadata=bearer(OPERATOR.text))
        assert not presence.edges
        listed = await stub.ListAudit(ListAuditRequest(count=3), metadata=bearer(VIEWER.text))
        assert [(each.by, each.outcome) for each in listed.entries] == [("", "unauthenticated")] * 3
        assert all(each.action in ("GetStatus", "GetPresence") and each.address.startswith("ipv4:127.0.0.1") for each in listed.entries)
    log = cluster.admins[0].log_path.read_text()
    refused = [line for line in log.splitlines() if "refused" in line]
    assert len(refused) == 2  # no token; no such key: once each, however often they came
    for made in (VIEWER, OPERATOR, AGENT):
        assert made.text[-40:] not in log
        assert made.kept[-40:] not in log


async def test_nothing_administrative_is_served_by_routers(tmp_path: Path, runcast_cluster_factory: ClusterFactory) -> None:
    cluster = await start(runcast_cluster_factory, people(tmp_path))
    async with grpc.aio.insecure_channel(cluster.routers[0].address) as channel:
        for made in (AGENT, OPERATOR):
            assert await code_of(AdminServiceStub(channel).GetStatus(GetStatusRequest(), metadata=bearer(made.text))) == "UNIMPLEMENTED"


async def test_certificates_say_who_it_is(tmp_path: Path, runcast_cluster_factory: ClusterFactory) -> None:
    authority = Authority(tmp_path)
    ours, stranger = authority.sign("ops", uris=("spiffe://test/ops",)), authority.sign("stranger")
    entry = {"name": "ops", "certificates": ["spiffe://test/ops"]}
    environ = {"RUNCAST_AUTH": "mtls", "RUNCAST_AUTH_FILE": str(write(tmp_path, ("admins", entry)))}
    cluster = await runcast_cluster_factory(routers=1, edges=0, admins=1, tls=authority.cluster(mutual=True, nats=False), environ=environ)
    codes = []
    for cert, key_ in (ours, stranger):
        credentials = grpc.ssl_channel_credentials(authority.path.read_bytes(), key_.read_bytes(), cert.read_bytes())
        async with grpc.aio.secure_channel(cluster.admins[0].address, credentials) as channel:
            try:
                await AdminServiceStub(channel).GetStatus(GetStatusRequest())
            except grpc.aio.AioRpcError as exc:
                codes.append(dict(exc.trailing_metadata() or ()).get("runcast-code"))
            else:
                codes.append("ok")
    assert codes == ["ok", "unauthenticated"]
