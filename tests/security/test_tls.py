"""TLS on every line: nothing goes in plain text, nobody without the right certificate gets in, and new certificates need no restart."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from cryptography import x509

from runcast.client import Runcast, Tls, UnavailableError
from runcast.testkit import Cluster, UserDevice
from runcast.testkit.plugin import ClusterFactory
from runcast.wire.frames import Welcome
from tests.certificates import Authority

pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("tls")]


class Secured(NamedTuple):
    """A router and an edge with certificates that an authority has signed."""

    cluster: Cluster
    authority: Authority


@pytest.fixture(scope="module")
def secured(start_shared: Callable[..., Cluster], tmp_path_factory: pytest.TempPathFactory) -> Secured:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    return Secured(start_shared(routers=1, edges=1, tls=authority.cluster()), authority)


async def say(cluster: Cluster, device: UserDevice, text: str, agent: Runcast) -> None:
    async with agent.run(user=device.user) as run:
        await run.respond(text)
    await device.wait_for(lambda event: event.agent_response.text == text)


async def served(url: str, context: ssl.SSLContext) -> int:
    """The serial number of the certificate that a port shows."""
    parts = url.rpartition("://")[2].partition("/")[0].rpartition(":")
    _, writer = await asyncio.open_connection(parts[0], int(parts[2]), ssl=context)
    secure = writer.get_extra_info("ssl_object")
    der = secure.getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def test_an_event_goes_all_the_way_over_tls(secured: Secured, user: str) -> None:
    await goes_all_the_way(secured.cluster, user)


async def goes_all_the_way(cluster: Cluster, user: str) -> None:
    assert cluster.nats_url.startswith("tls://")
    async with cluster.connect() as agent, UserDevice(cluster, user) as device:
        await say(cluster, device, "over tls", agent)
        assert await agent.is_online(user)


async def test_with_mutual_tls_nobody_gets_in_without_a_certificate(
    tmp_path: Path, runcast_cluster_factory: ClusterFactory, user: str
) -> None:
    authority = Authority(tmp_path)
    cluster = await runcast_cluster_factory(routers=1, edges=1, tls=authority.cluster(mutual=True))
    await goes_all_the_way(cluster, user)
    # Without a certificate, or with one of another authority, nobody gets in.
    stranger = Authority.in_directory(tmp_path / "other", "other").sign("stranger")
    for own in ({}, {"cert": stranger[0], "key": stranger[1]}):
        async with Runcast(cluster.router_addresses()[0], agent="a", tls=Tls(ca=authority.path, **own)) as agent:
            with pytest.raises(UnavailableError):
                await agent.ready(1.0)
        context = ssl.create_default_context(cafile=str(authority.path))
        if own:
            context.load_cert_chain(*stranger)
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientError):
                async with http.get(f"{cluster.edges[0].http_url}/healthz", ssl=context):
                    pass


async def test_plain_text_and_wrong_authorities_do_not_get_in(tmp_path: Path, secured: Secured) -> None:
    cluster, authority = secured
    address, edge = cluster.router_addresses()[0], cluster.edges[0]
    other = Authority.in_directory(tmp_path / "other", "other")
    for tls in (False, True, Tls(ca=other.path), Tls(ca=authority.path, name="elsewhere.example")):
        async with Runcast(address, agent="a", tls=tls) as agent:
            with pytest.raises(UnavailableError):
                await agent.ready(1.0)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            async with http.get(f"http://{edge.address}/healthz"):
                pass
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            async with http.get(f"{edge.http_url}/healthz", ssl=ssl.create_default_context(cafile=str(other.path))):
                pass
        old = ssl.create_default_context(cafile=str(authority.path))
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(aiohttp.ClientError):
            async with http.get(f"{edge.http_url}/healthz", ssl=old):
                pass


async def test_certificates_change_while_connections_stay(secured: Secured, user: str) -> None:
    cluster, authority = secured
    tls = cluster.tls
    assert tls is not None
    ports = [cluster.router_addresses()[0], cluster.edges[0].address]
    context = tls.context()
    h2 = tls.context()
    h2.set_alpn_protocols(["h2"])
    contexts = dict(zip(ports, (h2, context), strict=True))
    async with cluster.connect() as agent, UserDevice(cluster, user) as device:
        await say(cluster, device, "before", agent)
        before = {port: await served(port, contexts[port]) for port in ports}
        tls.key.write_text("no key")  # wrong: the old one stays
        async with asyncio.timeout(20):
            while not all("certificate_not_reloaded" in node.log_path.read_text() for node in (cluster.routers[0], cluster.edges[0])):  # noqa: ASYNC110 # a file of another process
                await asyncio.sleep(0.1)
        assert {port: await served(port, contexts[port]) for port in ports} == before
        authority.sign("node")
        async with asyncio.timeout(20):
            for port in ports:
                while await served(port, contexts[port]) == before[port]:  # noqa: ASYNC110 # another process
                    await asyncio.sleep(0.1)
        await say(cluster, device, "after", agent)
        assert agent.stats().reconnects == 0
        assert sum(isinstance(frame, Welcome) for frame in device.frames) == 1
    async with cluster.connect() as agent:
        await agent.ready(5.0)
