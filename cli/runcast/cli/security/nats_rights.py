"""What NATS lets us do that our role need not, and whether it lets in who does not say who they are.

Harmless: requests that would change something name a stream that does not exist, and are sent without a place for the answer; what is
listened to is nobody's. NATS says at once what it refuses, before it answers the ping that follows.
"""

import asyncio
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import nats.errors
from nats.aio.client import Client

from runcast.bus.connection import SERVER_VERSION_MIN
from runcast.bus.nats_client import NatsClient
from runcast.bus.settings import ServiceSettings
from runcast.cli.security.environment import is_loopback
from runcast.cli.security.findings import Finding, Severity

TIMEOUT_S: Final = 3.0
"""For connecting, and for each try."""
STRANGERS_TRIES: Final = 5
"""Connections without a name, until NATS is heard to refuse one: its word may be lost when it closes at once."""
NATS_TESTED: Final = (2, 15)
"""The minor version that the suite runs against; nats-server's makers mend the newest two."""
ROLES: Final = ("router", "edge", "admin")
_NOWHERE: Final = "RUNCAST_DOCTOR_no_such_stream"


class Try(NamedTuple):
    """Something to try.

    Attributes:
        subject: what is published to, or subscribed to.
        listen: subscribed to.
        may: what it comes to, in words.
        roles: whose work needs it.
    """

    subject: str
    listen: bool
    may: str
    roles: tuple[str, ...] = ()


TRIES: Final = (
    Try(f"$JS.API.STREAM.DELETE.{_NOWHERE}", False, "delete streams"),
    Try(f"$JS.API.STREAM.UPDATE.{_NOWHERE}", False, "change streams"),
    Try(f"$JS.API.STREAM.PURGE.{_NOWHERE}", False, "empty streams", ("admin",)),
    Try(f"$JS.API.STREAM.CREATE.{_NOWHERE}", False, "create streams", ("router",)),
    Try(f"$JS.API.CONSUMER.CREATE.{_NOWHERE}", False, "read streams by consumers"),
    Try("live.doctor.doctor.doctor", True, "hear what users are told", ("edge",)),
    Try("in.doctor.doctor.doctor.doctor", True, "hear what users send"),
    Try("_INBOX.doctor", True, "hear answers to others"),
    Try("_INBOX_ROUTER.doctor", True, "hear answers to routers", ("router",)),
    Try("_INBOX_EDGE.doctor", True, "hear answers to edges", ("edge",)),
)


async def review(settings: ServiceSettings, role: str) -> list[Finding]:
    """Look at NATS.

    Args:
        settings: how to connect.
        role: router, edge or admin, whose rights ours should be; "" to go by the user's name.
    """
    shown = ", ".join(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" for parts in map(urlsplit, _urls(settings)))
    users = {urlsplit(url).username or "" for url in _urls(settings)}
    role = role or next((user for user in users if user in ROLES), "")
    found = [await _strangers(settings, shown)] if users - {""} or settings.nats_creds or settings.nats_cert else []
    try:
        client, refused = await _connect(settings)
    except (nats.errors.Error, OSError, TimeoutError) as exc:
        said = f"can't be reached, so not looked at: {_first_line(exc)}"
        return [*found, Finding("nats_rights", "unknown", "rights at NATS", shown, said, "start it, or correct RUNCAST_NATS_URL")]
    try:
        found.append(_version(client, shown))
        found.append(await _rights(client, refused, shown, role))
    finally:
        await client.close()
    return found


async def _strangers(settings: ServiceSettings, shown: str) -> Finding:
    """Whether NATS lets in who says nothing."""
    bare = ServiceSettings(nats_url=",".join(_without_user(url) for url in _urls(settings)), nats_ca=settings.nats_ca)
    advice = "include deploy/nats/permissions.conf in nats-server's configuration"
    for tries_left in reversed(range(STRANGERS_TRIES)):
        try:
            client, _ = await _connect(bare)
            break
        except (nats.errors.Error, OSError, TimeoutError) as exc:
            if "authorization" in str(exc).lower():
                return Finding("nats_strangers", "ok", "strangers at NATS", shown, "refused")
            if not tries_left or "reset" not in str(exc).lower():  # a reset may overtake NATS's own word
                return Finding("nats_strangers", "unknown", "strangers at NATS", shown, f"not looked at: {_first_line(exc)}")
    await client.close()
    near = all(is_loopback(urlsplit(url).hostname or "") for url in _urls(settings))
    severity: Severity = "high" if near else "critical"
    return Finding("nats_strangers", severity, "strangers at NATS", shown, "let in: whoever reaches it has all streams", advice)


async def _rights(client: Client, refused: list[str], shown: str, role: str) -> Finding:
    may = []
    for each in TRIES:
        if role in each.roles:
            continue
        if each.listen:
            subscription = await client.subscribe(each.subject)
            await _settled(client)
            await subscription.unsubscribe()
        else:
            await client.publish(each.subject, b"")
            await _settled(client)
        if not any(f'"{each.subject.lower()}"' in text for text in refused):
            may.append(each)
    who = f"the {role} may" if role else "we may"
    if not may:
        return Finding("nats_rights", "ok", "rights at NATS", shown, f"{len(TRIES)} things that nobody needs to do are refused")
    if not role and len(may) < len(TRIES):
        return Finding(
            "nats_rights", "low", "rights at NATS", shown, f"{who} {', '.join(each.may for each in may)}", "name our role by --role"
        )
    said = f"{who} {', '.join(each.may for each in may)}, and need not"
    return Finding(
        "nats_rights", "high", "rights at NATS", shown, said, "include deploy/nats/permissions.conf in nats-server's configuration"
    )


async def _settled(client: Client) -> None:
    """Wait until NATS has refused what it refuses. nats-py writes a ping before what waits to be sent: the second one comes behind it."""
    for _ in range(2):
        await client.flush(TIMEOUT_S)  # type: ignore[arg-type] # any number of seconds will do


def _version(client: Client, shown: str) -> Finding:
    v = client.connected_server_version
    version, least = f"{v.major}.{v.minor}.{v.patch}", ".".join(map(str, SERVER_VERSION_MIN))
    if (v.major, v.minor) < SERVER_VERSION_MIN:
        return Finding("nats_old", "high", "nats-server", shown, f"{version}: Runcast needs {least}", "use a newer one")
    if (v.major, v.minor) < NATS_TESTED:
        newest = ".".join(map(str, NATS_TESTED))
        return Finding(
            "nats_old", "medium", "nats-server", shown, f"{version}: older than {newest}, and soon not mended", "use a newer one"
        )
    return Finding("nats_old", "ok", "nats-server", shown, version)


async def _connect(settings: ServiceSettings) -> tuple[NatsClient, list[str]]:
    """A connection, and what it is refused."""
    refused: list[str] = []

    async def note(exc: Exception) -> None:
        refused.append(str(exc).lower())

    client = NatsClient(settings)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await client.connect(
                servers=settings.nats_servers,
                name="runcast doctor",
                allow_reconnect=False,
                max_reconnect_attempts=1,  # 0 would be for ever
                reconnect_time_wait=0.1,  # type: ignore[arg-type] # any number of seconds will do
                connect_timeout=1,
                error_cb=note,
                **client.credentials(),
            )
    except BaseException as exc:
        await client.close()
        if refused and not isinstance(exc, asyncio.CancelledError):
            # nats-py says "no servers" in the end; what it was told says more, and a refusal more than that the connection broke.
            raise nats.errors.Error(next((said for said in refused if "authorization" in said), refused[-1])) from exc
        raise
    return client, refused


def _urls(settings: ServiceSettings) -> list[str]:
    return [url if "://" in url else f"nats://{url}" for url in settings.nats_servers]


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _first_line(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0][:200]
