"""What is open at the doors: edges, routers, the admin service, and NATS's monitoring, as somebody meets them who has no credentials.

Harmless: nothing is asked with credentials, and nothing is asked that is stored.
"""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import grpc
from cryptography import x509

from runcast.cli.addresses import http_url, websocket_url
from runcast.cli.security.addresses import own_addresses
from runcast.cli.security.environment import is_loopback
from runcast.cli.security.findings import Finding, Severity
from runcast.v1 import admin_pb2, admin_pb2_grpc, ingest_pb2, ingest_pb2_grpc
from runcast.v1.event_pb2 import User
from runcast.wire.codes import CODES

TIMEOUT_S: Final = 3.0
"""For each question."""
CERTIFICATE_SOON_DAYS: Final = 14
"""A certificate that is good for less should have been renewed already."""
REFUSAL_S: Final = 1.0
"""An edge sends a foreign page away before it has said anything; whom it lets in it gives ten seconds."""
PAGES_PORT: Final = 7481
"""Of the operators' pages, unless told otherwise."""
NATS_PORT: Final = 4222
MONITOR_PORT: Final = 8222
"""Where nats-server tells about itself, where it does."""
_FOREIGN: Final = "https://doctor.invalid"
_REFUSED: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


async def review_edge(address: str, tls: ssl.SSLContext | None) -> list[Finding]:
    """Look at an edge as a stranger."""
    base, url = http_url(address, tls=tls is not None), websocket_url(address, tls=tls is not None)
    if not await _answers(base):
        return [Finding("edge", "unknown", "edge", base, "nothing answers, so not looked at", "start it, or give its address by --edge")]
    found = [await _line("edge", base, "devices' tokens and streams", tls, "http/1.1")]
    if found[0].id == "certificate" and found[0].severity == "high":
        return found
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http:
        found.append(await _asked("edge_dev", "authentication", base, lambda: _development(http, base, tls)))
        found.append(await _asked("edge_origins", "origins", base, lambda: _foreign_page(http, url, base, tls)))
    return found


async def review_router(address: str, line: "Line") -> list[Finding]:
    """Look at a router as a stranger."""
    base = f"{'https' if line.tls else 'http'}://{address}"
    if not await _answers(base):
        return [
            Finding("router", "unknown", "router", base, "nothing answers, so not looked at", "start it, or give its address by --router")
        ]
    found = [await _line("router", base, "agents' keys and what they tell users", line.context, "h2")]
    async with line.channel(address) as channel:
        found.append(await _asked("router_open", "authentication", base, lambda: _agents(channel, base)))
        found.append(await _asked("router_admin", "administration", base, lambda: _no_administration(channel, base)))
    return found


async def review_admin(address: str, line: "Line") -> list[Finding]:
    """Look at an admin service as a stranger, and who can reach it."""
    base = f"{'https' if line.tls else 'http'}://{address}"
    if not await _answers(base):
        return [
            Finding("admin", "unknown", "admin", base, "nothing answers, so not looked at", "give its address by --admin, if there is one")
        ]
    pages = f"{address.rpartition(':')[0]}:{PAGES_PORT}"
    found = [await _reach("admin_reach", "reach of the admin service", address, secure=line.tls)]
    if await _answers(f"http://{pages}"):
        found.append(await _reach("admin_reach", "reach of the operators' pages", pages, secure=line.tls))
    async with line.channel(address) as channel:
        found.append(await _asked("admin_open", "authentication", base, lambda: _operators(channel, base)))
    return found


async def review_nats(nats_urls: list[str]) -> list[Finding]:
    """Who can reach NATS, and whether it tells about connections and subjects to whoever asks."""
    found = []
    for parts in map(urlsplit, nats_urls):
        address = f"{parts.hostname}:{parts.port or NATS_PORT}"
        if is_loopback(parts.hostname or "") and await _answers(f"http://{address}"):
            found.append(await _reach("nats_reach", "reach of NATS", address, secure=parts.scheme in ("tls", "wss")))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http:
        for host in dict.fromkeys(urlsplit(url).hostname or "" for url in nats_urls):
            base = f"http://{f'[{host}]' if ':' in host else host}:{MONITOR_PORT}"
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with http.get(f"{base}/varz") as answer:
                    if answer.status == 200:
                        said = "answers whoever asks: who is connected, to what they listen"
                        found.append(Finding("nats_monitoring", "low", "NATS's monitoring", base, said, "let only probes reach it"))
    return found


class Line:
    """How gRPC services are reached."""

    def __init__(self, credentials: grpc.ChannelCredentials | None, context: ssl.SSLContext | None) -> None:
        self._credentials = credentials
        self.context = context

    @property
    def tls(self) -> bool:
        """Whether over TLS."""
        return self._credentials is not None

    def channel(self, address: str) -> grpc.aio.Channel:
        """To an address."""
        return grpc.aio.secure_channel(address, self._credentials) if self._credentials else grpc.aio.insecure_channel(address)


async def _asked(id_: str, what: str, where: str, ask: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        async with asyncio.timeout(2 * TIMEOUT_S):
            return await ask()
    except (aiohttp.ClientError, OSError, TimeoutError, grpc.aio.AioRpcError) as exc:
        why = exc.details() if isinstance(exc, grpc.aio.AioRpcError) else str(exc) or "no answer in time"
        return Finding(id_, "unknown", what, where, f"not looked at: {str(why)[:160]}")


async def _answers(url: str) -> bool:
    parts = urlsplit(url)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        writer.close()
        return True
    return False


async def _line(what: str, base: str, exposed: str, tls: ssl.SSLContext | None, protocol: str) -> Finding:
    """Whether the line has TLS, and a certificate that is believed and good for a while."""
    parts = urlsplit(base)
    host = parts.hostname or ""
    if parts.scheme == "http":
        if is_loopback(host):
            return Finding("line_plain", "ok", f"TLS to the {what}", base, "none, on loopback")
        advice = "give it a certificate (RUNCAST_TLS_CERT, RUNCAST_TLS_KEY), or put TLS in front of it"
        return Finding("line_plain", "high", f"TLS to the {what}", base, f"none: {exposed} are seen on the way", advice)
    context = tls or ssl.create_default_context()
    context.set_alpn_protocols([protocol])
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, parts.port or 443, ssl=context)
    except (OSError, TimeoutError) as exc:
        why = getattr(exc, "verify_message", "") or getattr(exc, "reason", "") or str(exc) or "no answer in time"
        return Finding("certificate", "high", f"certificate of the {what}", base, f"not believed: {why}", "renew it, or give --tls-ca")
    shown = writer.get_extra_info("ssl_object")
    certificate, version = x509.load_der_x509_certificate(shown.getpeercert(binary_form=True)), shown.version()
    writer.close()
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    if left.total_seconds() > CERTIFICATE_SOON_DAYS * 86400:
        return Finding("certificate", "ok", f"certificate of the {what}", base, f"believed, good for {left.days} days; {version}")
    said = f"believed, but good for {left.days} days and {left.seconds // 3600} hours only"
    return Finding(
        "certificate", "low", f"certificate of the {what}", base, said, "see that it is renewed by itself; it is read when it changes"
    )


async def _development(http: aiohttp.ClientSession, base: str, tls: ssl.SSLContext | None) -> Finding:
    """Development mode alone serves statistics, and a page, to anybody."""
    async with http.get(f"{base}/statsz", ssl=tls or True) as answer:
        open_ = answer.status == 200
    if not open_:
        return Finding("edge_dev", "ok", "authentication", base, "no development mode")
    severity: Severity = "high" if is_loopback(urlsplit(base).hostname or "") else "critical"
    return Finding("edge_dev", severity, "authentication", base, "development mode: everybody is believed", "set RUNCAST_AUTH=jwt or http")


async def _foreign_page(http: aiohttp.ClientSession, url: str, base: str, tls: ssl.SSLContext | None) -> Finding:
    """How a page of another site fares, which brings no token."""
    async with http.ws_connect(url, protocols=("runcast.v1.json",), headers={"Origin": _FOREIGN}, ssl=tls or True) as ws:
        code = None
        with contextlib.suppress(TimeoutError):  # it waits for hello, as it does for those whom it lets in
            async with asyncio.timeout(REFUSAL_S):
                while (message := await ws.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                code = message.data  # of the close frame: aiohttp's own `close_code` forgets it over TLS
    if code == CODES["origin_refused"].close:
        return Finding("edge_origins", "ok", "origins", base, "a page of another site is sent away")
    advice = "list the origins of your pages in RUNCAST_ORIGINS"
    return Finding(
        "edge_origins",
        "medium",
        "origins",
        base,
        "a page of any site may connect, and is only asked for a token",
        advice,
    )


async def _agents(channel: grpc.aio.Channel, base: str) -> Finding:
    request = ingest_pb2.IsOnlineRequest(user=User(tenant="default", id="doctor"))
    try:
        await ingest_pb2_grpc.IngestServiceStub(channel).IsOnline(request, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as exc:
        if exc.code() in _REFUSED:
            return Finding("router_open", "ok", "authentication", base, "who has no key or token is refused")
        raise
    said, advice = "who says nothing is let in: development mode", "set RUNCAST_AUTH=token or mtls"
    severity: Severity = "high" if is_loopback(urlsplit(base).hostname or "") else "critical"
    return Finding("router_open", severity, "authentication", base, said, advice)


async def _no_administration(channel: grpc.aio.Channel, base: str) -> Finding:
    try:
        await admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest(), timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as exc:
        if exc.code() is grpc.StatusCode.UNIMPLEMENTED:
            return Finding("router_admin", "ok", "administration", base, "not served where agents connect")
        if exc.code() not in _REFUSED:
            raise
    advice = "give --router a router's address; should this be one, it is of another version"
    return Finding("router_admin", "medium", "administration", base, "served where agents connect", advice)


async def _operators(channel: grpc.aio.Channel, base: str) -> Finding:
    try:
        await admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest(), timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as exc:
        if exc.code() in _REFUSED:
            return Finding("admin_open", "ok", "authentication", base, "who is no operator is refused")
        raise
    severity: Severity = "high" if is_loopback(urlsplit(base).hostname or "") else "critical"
    said = "who says nothing may look, and act: development mode"
    return Finding("admin_open", severity, "authentication", base, said, "set RUNCAST_AUTH=token or mtls for it")


async def _reach(id_: str, what: str, address: str, *, secure: bool) -> Finding:
    """Whether others than this machine get to a port of this machine."""
    host, _, port = address.rpartition(":")
    away = [address] if not is_loopback(host) else []
    away += [f"{f'[{other}]' if ':' in other else other}:{port}" for other in (own_addresses() if not away else [])]
    reached = [each for each in away if await _answers(f"http://{each}")]
    if not reached:
        return Finding(id_, "ok", what, address, "from this machine alone")
    said = f"from other machines, too ({', '.join(reached[:3])})"
    if secure:
        return Finding(id_, "low", what, address, f"{said}, over TLS", "let those networks alone reach it that need to")
    advice = "bind it to loopback (RUNCAST_BIND; nats-server: --addr), or give it a certificate"
    return Finding(id_, "high", what, address, f"{said}, and without TLS", advice)
