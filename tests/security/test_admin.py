"""Operators at a real admin process: who is not known does not get in, and who may look may not act."""

import grpc.aio
import pytest

from runcast.v1.admin_pb2 import GetPresenceRequest, GetStatusRequest, ListAuditRequest
from runcast.v1.admin_pb2_grpc import AdminServiceStub
from runcast.v1.event_pb2 import User
from tests.security.office import AGENT, OPERATOR, VIEWER, Mutual, Office, admin, bearer, code_of, key

pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("office")]


async def test_only_operators_get_in_and_roles_count(office: Office) -> None:
    with office.log() as said:
        await only_operators_get_in(office)
    refused = [line for line in said if "refused" in line]
    assert len(refused) <= 2  # no token; no such key: once each, however often they came
    log = office.cluster.admins[0].log_path.read_text()
    assert "it sent no token, or several" in log
    assert "its API key is none of the auth file" in log
    for made in (VIEWER, OPERATOR, AGENT):
        assert made.text[-40:] not in log
        assert made.kept[-40:] not in log


async def only_operators_get_in(office: Office) -> None:
    async with admin(office.cluster) as stub:
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


async def test_nothing_administrative_is_served_by_routers(office: Office) -> None:
    async with grpc.aio.insecure_channel(office.cluster.routers[0].address) as channel:
        for made in (AGENT, OPERATOR):
            assert await code_of(AdminServiceStub(channel).GetStatus(GetStatusRequest(), metadata=bearer(made.text))) == "UNIMPLEMENTED"


async def test_certificates_say_who_it_is(mutual: Mutual) -> None:
    codes = []
    for cert, key_ in (mutual.ops, mutual.analyst, mutual.stranger):
        credentials = grpc.ssl_channel_credentials(mutual.authority.path.read_bytes(), key_.read_bytes(), cert.read_bytes())
        async with grpc.aio.secure_channel(mutual.cluster.admins[0].address, credentials) as channel:
            try:
                await AdminServiceStub(channel).GetStatus(GetStatusRequest())
            except grpc.aio.AioRpcError as exc:
                codes.append(dict(exc.trailing_metadata() or ()).get("runcast-code"))
            else:
                codes.append("ok")
    assert codes == ["ok", "unauthenticated", "unauthenticated"]
