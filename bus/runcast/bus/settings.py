"""One frozen settings record per service, read from the environment, validated at start, printed once.

A record is a `msgspec.Struct` whose fields are named as in the environment, less the prefix `RUNCAST_`: `nats_url` is
`RUNCAST_NATS_URL`. All problems are reported together, each saying what to set.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from runcast.bus.identity.authfile import AuthFile, AuthFileError, read_authfile
from runcast.bus.nats_credentials import CredentialsError, read_jwt, sign
from runcast.bus.policy.policyfile import PolicyFileError, read_policyfile
from runcast.bus.sealing.keysfile import KeysFileError, read_keysfile
from runcast.bus.tls import CertificateError, client_context, server_context

PREFIX = "RUNCAST_"

_SCHEMES: Final = re.compile(r"(?=\b[a-z]+://)")
_BIND: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]]+):([0-9]{1,5})", re.ASCII)


class SettingsError(Exception):
    """The environment does not describe a service that can start. `str(error)` lists every problem, a line each."""


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service needs.

    Attributes:
        nats_url: NATS servers, comma-separated URLs.
        bind: `host:port` to listen on; port 0 takes any free one.
        id: names this process in logs and statistics.
        auth: how peers prove who they are: "dev" believes them and is allowed on loopback only; "" refuses to start; services know more.
        auth_file: path of the auth file, for every mode but "dev".
        policy_file: path of the policy file; "" for the built-in tiers: "unlimited" in development mode, else "standard".
        tls_cert: file of the port's certificate, PEM; "" for no TLS.
        tls_key: file of its private key.
        tls_ca: file of the authorities whose certificates let somebody in; "" asks nobody for one.
        nats_ca: file of the authorities that NATS's certificate is believed by; "" for those of the operating system.
        nats_cert: file of our own certificate for NATS.
        nats_key: file of its private key.
        nats_creds: NATS credentials file.
        keys_file: path of the keys file: what is stored of which tenant is sealed; "" for plain text.
        log: form of the log lines on stderr.
        log_level: the least severe level that is written.
    """

    nats_url: str = "nats://127.0.0.1:4222"
    bind: str = "127.0.0.1:0"
    id: str = ""
    auth: Literal["dev", ""] = ""
    auth_file: str = ""
    policy_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    nats_ca: str = ""
    nats_cert: str = ""
    nats_key: str = ""
    nats_creds: str = ""
    keys_file: str = ""
    log: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def inbox_prefix(self) -> str:
        """Of the subjects that answers from NATS come on; a service that has its own is not heard by the others."""
        return "_INBOX"

    @property
    def host(self) -> str:
        """The host part of `bind`."""
        return host_of(self.bind)

    @property
    def port(self) -> int:
        """The port part of `bind`."""
        return port_of(self.bind)

    def problems(self) -> list[str]:
        """What can't work, a line each, saying what to set. Services add their own."""
        return [
            *bind_problems("RUNCAST_BIND", self.bind, self.auth),
            *_auth_problems(self),
            *_policy_problems(self),
            *_nats_problems(self),
            *_tls_problems(self),
            *_keys_problems(self),
        ]

    def auth_file_problems(self, file: AuthFile) -> list[str]:  # noqa: ARG002 # for services
        """What the auth file does not say and this service needs."""
        return []

    @property
    def nats_servers(self) -> list[str]:
        """`nats_url`, split."""
        return [url.strip() for url in self.nats_url.split(",") if url.strip()]


S = TypeVar("S", bound=ServiceSettings)


def load_settings(kind: type[S], role: str, environ: Mapping[str, str] = os.environ) -> S:
    """Read `kind` from `environ`.

    Raises:
        SettingsError: one line for each problem.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name = PREFIX + field.name.upper()
        if name in environ:
            try:
                values[field.name] = msgspec.convert(environ[name], field.type, strict=False)
            except msgspec.ValidationError as exc:
                choices = ", ".join(get_args(field.type)).rstrip(", ") if get_origin(field.type) is Literal else ""
                problems.append(f"{name}={environ[name]!r}: " + (f"use one of {choices}" if choices else str(exc)))
    settings = kind(**values)
    if not settings.id:
        settings = msgspec.structs.replace(settings, id=f"{role}-{socket.gethostname()}-{os.getpid()}")
    problems += settings.problems()
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def masked_urls(text: str) -> str:
    """Comma-separated URLs without their users, passwords and tokens, for showing. A password with a comma in it is hidden, too."""
    return "".join(_masked_list(part) for part in _SCHEMES.split(text))


def _masked_list(text: str) -> str:
    urls = text.split(",")
    last = max((number for number, url in enumerate(urls) if "@" in url), default=-1)
    if all("@" in url for url in urls[: last + 1]):
        return ",".join(_masked_url(url) for url in urls)
    return _masked_url(text)


def _masked_url(url: str) -> str:
    rest, at, host = url.rpartition("@")
    scheme, slashes, _ = rest.partition("://")
    return f"{scheme}://***@{host}" if slashes else f"***@{host}" if at else url


def bind_problems(name: str, bind: str, auth: str) -> list[str]:
    """What is wrong with an address to listen on.

    Args:
        name: of the setting.
        bind: its value.
        auth: the mode.
    """
    match = _BIND.fullmatch(bind)
    if match is None or int(match[1]) > 65535:
        return [f"{name}={bind!r}: expected HOST:PORT, such as 127.0.0.1:7400 or [::1]:7400"]
    if auth == "dev" and not is_loopback(host_of(bind)):
        return [
            f"RUNCAST_AUTH=dev believes everybody, so it listens on loopback only, not on {host_of(bind)};"
            f" set {name} to an address of 127.0.0.1, or configure real authentication"
        ]
    return []


def host_of(bind: str) -> str:
    """The host of `host:port`."""
    return bind.rpartition(":")[0].strip("[]")


def port_of(bind: str) -> int:
    """The port of `host:port`."""
    return int(bind.rpartition(":")[2])


def _auth_problems(settings: ServiceSettings) -> list[str]:
    if not settings.auth:
        kind = next(field.type for field in msgspec.structs.fields(type(settings)) if field.name == "auth")
        modes = [mode for mode in get_args(kind) if mode not in ("", "dev")]
        real = f"set RUNCAST_AUTH={' or '.join(modes)} and RUNCAST_AUTH_FILE; " if modes else ""
        return [
            f"no authentication is configured, so nothing is served; {real}for development on this machine set RUNCAST_AUTH=dev"
            " (anybody who can reach the port is believed to be whoever they say)"
        ]
    if settings.auth == "dev":
        return []
    if not settings.auth_file:
        return [f"RUNCAST_AUTH={settings.auth} needs RUNCAST_AUTH_FILE, the path of a file that says whom to believe; see SECURITY.md"]
    try:
        return settings.auth_file_problems(read_authfile(Path(settings.auth_file)))
    except AuthFileError as exc:
        return str(exc).splitlines()


def _policy_problems(settings: ServiceSettings) -> list[str]:
    if not settings.policy_file:
        return []
    try:
        read_policyfile(Path(settings.policy_file))
    except PolicyFileError as exc:
        return [f"RUNCAST_POLICY_FILE: {problem}" for problem in str(exc).splitlines()]
    return []


def _nats_problems(settings: ServiceSettings) -> list[str]:
    if not settings.nats_servers:
        return ["RUNCAST_NATS_URL is empty; set it to nats://HOST:4222"]
    wrong = [url for url in settings.nats_servers if not _is_nats_url(url)]
    whole = "@" in settings.nats_url  # then what is no URL may be a part of a password
    shown = [masked_urls(settings.nats_url if whole else url) for url in wrong]
    return [f"RUNCAST_NATS_URL: {url!r} is not a NATS server's URL; expected nats://HOST:4222" for url in dict.fromkeys(shown)]


def _tls_problems(settings: ServiceSettings) -> list[str]:
    problems = []
    for own, name in (((settings.tls_cert, settings.tls_key), "RUNCAST_TLS"), ((settings.nats_cert, settings.nats_key), "RUNCAST_NATS")):
        if bool(own[0]) != bool(own[1]):
            problems.append(f"{name}_CERT and {name}_KEY belong together; set both, or none")
    if settings.tls_ca and not settings.tls_cert:
        problems.append("RUNCAST_TLS_CA asks who connects for a certificate, which needs TLS; set RUNCAST_TLS_CERT and RUNCAST_TLS_KEY")
    secure = settings.nats_ca or settings.nats_cert
    if secure and not all(urlsplit(url).scheme in ("tls", "wss") for url in settings.nats_servers if _is_nats_url(url)):
        problems.append("RUNCAST_NATS_CA and RUNCAST_NATS_CERT are for TLS; write RUNCAST_NATS_URL with tls://HOST:4222")
    if problems:
        return problems
    checks: list[Callable[[], object]] = []
    if settings.tls_cert:
        checks.append(lambda: server_context(settings.tls_cert, settings.tls_key, settings.tls_ca))
    if secure:
        checks.append(lambda: client_context(settings.nats_cert, settings.nats_key, settings.nats_ca))
    if settings.nats_creds:
        checks += [lambda: read_jwt(settings.nats_creds), lambda: sign(settings.nats_creds, b"")]
    for check in checks:
        try:
            check()
        except (CertificateError, CredentialsError) as exc:
            problems.append(str(exc))
    return problems


def _keys_problems(settings: ServiceSettings) -> list[str]:
    try:
        if settings.keys_file:
            read_keysfile(Path(settings.keys_file))
    except KeysFileError as exc:
        return str(exc).splitlines()
    return []


def _is_nats_url(url: str) -> bool:
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        return parts.scheme in ("nats", "tls", "ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Only what the kernel itself takes as loopback: any other name may be resolved to anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
