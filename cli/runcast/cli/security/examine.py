"""Looks at everything at once, each part within its own time."""

import asyncio
import os
import ssl
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from runcast.bus.identity.authfile import AuthFileError, read_authfile
from runcast.bus.policy.policyfile import PolicyFileError, read_policyfile
from runcast.bus.sealing.keysfile import KeysFileError, read_keysfile
from runcast.bus.settings import ServiceSettings
from runcast.cli.entry import TlsFiles, router_targets
from runcast.cli.failures import NOT_BEGUN, CommandError
from runcast.cli.security import authority, doors, environment, files, nats_rights, stored
from runcast.cli.security.findings import Finding, worst_first


class Places(NamedTuple):
    """Where to look.

    Attributes:
        environ: the settings of the service that is looked at.
        edges: their addresses.
        routers: the same.
        admins: the same.
        role: whose rights at NATS ours should be; "" to go by NATS's user.
        tls: files for the doors.
    """

    environ: Mapping[str, str]
    edges: list[str]
    routers: list[str]
    admins: list[str]
    role: str
    tls: TlsFiles


async def examine(places: Places) -> list[Finding]:
    """What is open, the worst first."""
    environ = places.environ
    found = [*environment.review(environ, root=os.geteuid() == 0), *_files(environ)]
    looks: list[Coroutine[Any, Any, list[Finding]]] = []
    for address in places.routers:
        target, line = _line(address, places.tls)
        looks.append(doors.review_router(target, line))
    for address in places.admins:
        target, line = _line(address, places.tls)
        looks.append(doors.review_admin(target, line))
    looks += [doors.review_edge(address, _context(places.tls)) for address in places.edges]
    looks += [nats_rights.review(nats_settings(environ), places.role), doors.review_nats(environment.nats_servers(environ))]
    for part in await asyncio.gather(*looks):
        found += part
    return worst_first(found)


def read_environ(path: Path) -> dict[str, str]:
    """The variables of a file with NAME=VALUE lines, as `env` prints them and `docker run --env-file` takes them.

    Raises:
        CommandError: it can't be read.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError("usage", f"--env-file {path} can't be read: {exc}", status=NOT_BEGUN) from exc
    pairs = (line.removeprefix("export ").partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def nats_settings(environ: Mapping[str, str]) -> ServiceSettings:
    """How to connect to NATS as the service does."""
    ca, cert, key, creds = (environ.get(f"RUNCAST_NATS_{name}", "") for name in ("CA", "CERT", "KEY", "CREDS"))
    return ServiceSettings(nats_url=",".join(environment.nats_servers(environ)), nats_ca=ca, nats_cert=cert, nats_key=key, nats_creds=creds)


def _files(environ: Mapping[str, str]) -> list[Finding]:
    """Who can read and change the files that the settings name, and those that these name; and what they say."""
    found: list[Finding] = []
    named: list[Path] = []
    if environ.get("RUNCAST_AUTH_FILE"):
        path = Path(environ["RUNCAST_AUTH_FILE"])
        try:
            file = read_authfile(path)
        except AuthFileError as exc:
            found.append(_unusable("auth_file", "auth file", path, exc))
        else:
            named += [each.path for each in file.watched if each.path != path]
            found += authority.review(file, str(path))
    if environ.get("RUNCAST_KEYS_FILE"):
        path = Path(environ["RUNCAST_KEYS_FILE"])
        try:
            keys = read_keysfile(path)
        except KeysFileError as exc:
            found.append(_unusable("keys_file", "keys file", path, exc))
        else:
            named += [each.path for each in keys.watched if each.path != path]
            found += stored.review(keys.keyring, str(path))
    if environ.get("RUNCAST_POLICY_FILE"):
        path = Path(environ["RUNCAST_POLICY_FILE"])
        try:
            read_policyfile(path)
        except PolicyFileError as exc:
            found.append(_unusable("policy_file", "policy file", path, exc))
    return [*files.review(environ, dict.fromkeys(named)), *found]


def _unusable(id_: str, what: str, path: Path, exc: Exception) -> Finding:
    said = f"can't be used, so not looked at: {str(exc).splitlines()[0]}"
    return Finding(id_, "unknown", what, str(path), said, "mend it: nothing starts with it")


def _context(tls: TlsFiles) -> ssl.SSLContext | None:
    return tls.context() if tls.given else None


def _line(address: str, tls: TlsFiles) -> tuple[str, doors.Line]:
    target, secure = router_targets(address, tls)
    if not secure:
        return target, doors.Line(None, None)
    ca, cert, key = tls.agent().read()
    return target, doors.Line(grpc.ssl_channel_credentials(ca, key, cert), _context(tls))
