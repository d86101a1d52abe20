"""What the settings of a service leave open, as its environment names them. Pure: the environment is an argument.

The names are `runcast.bus.settings`'. What a service refuses to start with is not told again here.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from runcast.cli.security.findings import Finding

PREFIX: Final = "RUNCAST_"
_HEADED: Final = ("__Host-", "__Secure-")


def review(environ: Mapping[str, str], *, root: bool) -> list[Finding]:
    """Look at the settings of one service.

    Args:
        environ: its environment.
        root: it runs as root.
    """
    if not environ.get("RUNCAST_AUTH"):
        found = "RUNCAST_AUTH is not set, so no service is configured here: settings and files were not looked at"
        return [
            Finding("settings", "unknown", "settings", "environment", found, "run this where a service runs, or name its --env-file"),
            *_nats(environ),
        ]
    return [
        *_authentication(environ),
        *_ports(environ),
        *_pages(environ),
        *_bounds(environ),
        *_nats(environ),
        *_stored(environ),
        *_process(environ, root=root),
    ]


def is_loopback(host: str) -> bool:
    """Whether only this machine gets there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def nats_servers(environ: Mapping[str, str]) -> list[str]:
    """The URLs of RUNCAST_NATS_URL, each with its scheme."""
    urls = environ.get("RUNCAST_NATS_URL", "nats://127.0.0.1:4222").split(",")
    return [url.strip() if "://" in url else f"nats://{url.strip()}" for url in urls if url.strip()]


def _authentication(environ: Mapping[str, str]) -> list[Finding]:
    where, mode = "RUNCAST_AUTH", environ["RUNCAST_AUTH"]
    if mode == "dev":
        advice = "for more than development: jwt or http for an edge, token or mtls for a router or an admin service (SECURITY.md)"
        return [Finding("dev_mode", "high", "authentication", where, "dev: everybody is believed to be whoever they say", advice)]
    return [Finding("dev_mode", "ok", "authentication", where, f"{mode}: who connects has to prove who it is")]


def _ports(environ: Mapping[str, str]) -> list[Finding]:
    binds = {"RUNCAST_BIND": environ.get("RUNCAST_BIND", "127.0.0.1:0")}
    if environ.get("RUNCAST_HTTP_BIND"):  # an admin service's pages
        binds["RUNCAST_HTTP_BIND"] = environ["RUNCAST_HTTP_BIND"]
    return [_port(name, bind, tls=bool(environ.get("RUNCAST_TLS_CERT"))) for name, bind in binds.items()]


def _port(name: str, bind: str, *, tls: bool) -> Finding:
    what, where = "TLS of the port", f"{name}={bind}"
    if tls:
        return Finding("port_plain", "ok", what, where, "TLS")
    if is_loopback(bind.rpartition(":")[0]):
        return Finding("port_plain", "ok", what, where, "none, on loopback")
    advice = "set RUNCAST_TLS_CERT and RUNCAST_TLS_KEY, or see that nobody gets past what does TLS in front (a NetworkPolicy, a mesh)"
    return Finding("port_plain", "medium", what, where, "none: tokens, keys and streams come to this port in plain text", advice)


def _pages(environ: Mapping[str, str]) -> list[Finding]:
    found = []
    if "*" in [origin.strip() for origin in environ.get("RUNCAST_ORIGINS", "").split(",")]:
        advice = "list the origins of your pages"
        found.append(Finding("origins_any", "medium", "origins", "RUNCAST_ORIGINS", "*: pages of any site may connect", advice))
    cookie = environ.get("RUNCAST_COOKIE", "")
    if cookie and not cookie.startswith(_HEADED):
        advice = "name it __Host-..., so that browsers refuse it without Secure, or from another host"
        found.append(Finding("cookie_name", "low", "cookie", "RUNCAST_COOKIE", f"{cookie} can be set by neighbouring hosts", advice))
    return found


def _bounds(environ: Mapping[str, str]) -> list[Finding]:
    off = [name for name in ("RUNCAST_CONNECTS_PER_S", "RUNCAST_STRANGERS_PER_ADDRESS") if environ.get(name) == "0"]
    said = "0: one address may take all that there is for those who have not proved who they are"
    return [
        Finding("bounds_off", "medium", "bounds by address", name, said, "leave it out, unless a proxy in front bounds it") for name in off
    ]


def _nats(environ: Mapping[str, str]) -> list[Finding]:
    found = []
    known = bool(environ.get("RUNCAST_NATS_CREDS") or environ.get("RUNCAST_NATS_CERT"))
    for url in nats_servers(environ):
        parts = urlsplit(url)
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        if parts.scheme in ("tls", "wss"):
            found.append(Finding("nats_plain", "ok", "TLS to NATS", where, "TLS"))
        elif is_loopback(parts.hostname or ""):
            found.append(Finding("nats_plain", "ok", "TLS to NATS", where, "none, on loopback"))
        else:
            advice = "write tls:// in RUNCAST_NATS_URL, with RUNCAST_NATS_CA"
            found.append(
                Finding("nats_plain", "high", "TLS to NATS", where, "none: all streams and NATS's password are seen on the way", advice)
            )
        if not (known or parts.username):
            advice = "include deploy/nats/permissions.conf in nats-server's configuration, and put user and password into RUNCAST_NATS_URL"
            said = "we don't say who we are to NATS; so it can't tell us from others"
            found.append(Finding("nats_nobody", "high", "credentials for NATS", where, said, advice))
    return found


def _stored(environ: Mapping[str, str]) -> list[Finding]:
    found = []
    if not environ.get("RUNCAST_KEYS_FILE"):
        said = "none: what is stored is in plain text on the NATS servers' disks"
        advice = "set RUNCAST_KEYS_FILE, where tenants want their own keys; or encrypt the disks"
        found.append(Finding("keys_none", "medium", "keys at rest", "RUNCAST_KEYS_FILE", said, advice))
    if not environ.get("RUNCAST_POLICY_FILE"):
        said = "none: the built-in limits hold for every tenant alike"
        found.append(
            Finding("policy_none", "low", "policy", "RUNCAST_POLICY_FILE", said, "set it where tenants are to have limits of their own")
        )
    return found


def _process(environ: Mapping[str, str], *, root: bool) -> list[Finding]:
    found = []
    if root:
        advice = "run it as a user of its own, as the images do (10001), with a read-only file system and no capabilities"
        found.append(Finding("root", "medium", "user", "process", "root: a flaw in it would be a flaw of the whole machine", advice))
    if environ.get("RUNCAST_LOG_LEVEL") == "debug":
        found.append(Finding("log_debug", "low", "log", "RUNCAST_LOG_LEVEL", "debug tells more than operators need", "use info"))
    return found
