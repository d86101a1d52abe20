"""Addresses as people write them, and development tokens."""

from urllib.parse import SplitResult, urlsplit, urlunsplit

from runcast.cli.failures import NOT_BEGUN, CommandError
from runcast.wire.ids import check_id, encode_token

DEFAULT_ROUTER = "127.0.0.1:7400"
DEFAULT_ADMIN = "127.0.0.1:7402"
DEFAULT_EDGE = "127.0.0.1:7480"


def websocket_url(written: str, *, tls: bool = False) -> str:
    """`ws://host:port/v1/ws` from that, `http://host:port/`, or `host:port`; with `s` from those that have it, or that leave it to `tls`.

    Raises:
        CommandError: it is no address.
    """
    parts = _split(written, "wss" if tls else "ws")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss"):
        raise no_address(written, "ws://127.0.0.1:7480")
    path = parts.path if parts.path not in ("", "/") else "/v1/ws"
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def http_url(written: str, *, tls: bool = False) -> str:
    """`http://host:port` of an edge, from any form of its address; with `s` as `websocket_url` has it."""
    parts = _split(written, "https" if tls else "http")
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{parts.netloc}"


def development_token(user: str, tenant: str) -> str:
    """The token that a development edge or router takes for this user.

    Raises:
        IdInvalidError: not ids.
    """
    return f"dev.{encode_token(check_id(tenant, '--tenant'))}.{encode_token(check_id(user, '--user'))}"


def _split(written: str, scheme: str) -> SplitResult:
    try:
        parts = urlsplit(written if "://" in written else f"{scheme}://{written}")
        if not parts.hostname or (parts.port is None and ":" in parts.netloc.rpartition("]")[2]):
            raise no_address(written, f"{scheme}://127.0.0.1:7480")
    except ValueError as exc:
        raise no_address(written, f"{scheme}://127.0.0.1:7480") from exc
    return parts


def no_address(written: str, example: str) -> CommandError:
    """The failure for what is no address."""
    return CommandError("address_invalid", f"{written!r} is not an address; write it like {example}", status=NOT_BEGUN)
