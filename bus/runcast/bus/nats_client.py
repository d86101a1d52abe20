"""The NATS client that Runcast uses: nats-py's, which does not give in over TLS and credentials.

Rules:
- Where `tls://` is written, nothing is said to a server that offers no TLS. (nats-py itself goes by what the server offers: somebody
  between could have it send a password in the clear.)
- Certificates and credentials are read for every connection, so a new one is used at the next reconnect, and none is dropped for it.
- A user and a password in the addresses are for servers, too, that the servers tell of.
"""

import base64
import ssl
from typing import Any
from urllib.parse import unquote, urlsplit

import nats.errors
from nats.aio.client import Client

from runcast.bus.nats_credentials import CredentialsError, read_jwt, sign
from runcast.bus.settings import ServiceSettings
from runcast.bus.tls import CertificateError, client_context


class NatsClient(Client):
    """A connection to NATS as `settings` describe it."""

    def __init__(self, settings: ServiceSettings) -> None:
        super().__init__()
        self._settings = settings

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """For the connection that is being opened; asked for by nats-py.

        Raises:
            nats.errors.Error: the files can't be used.
        """
        settings = self._settings
        try:
            return client_context(settings.nats_cert, settings.nats_key, settings.nats_ca)
        except CertificateError as exc:
            raise nats.errors.Error(str(exc)) from exc

    def credentials(self) -> dict[str, Any]:
        """What `connect` is given to prove who we are."""
        if path := self._settings.nats_creds:
            return {"user_jwt_cb": lambda: _read(path), "signature_cb": lambda nonce: _sign(path, nonce)}
        found = {_credentials_in(url) for url in self._settings.nats_servers} - {("", "")}
        if len(found) != 1:
            return {}
        user, password = found.pop()
        return {"user": user, "password": password} if password else {}

    def _connect_command(self) -> bytes:
        server = self._current_server
        if server is not None and server.uri.scheme == "tls" and not self._server_info.get("tls_required"):
            raise nats.errors.Error(f"nats: {server.uri.hostname} offers no TLS, and its address says tls://; nothing is said to it")
        return super()._connect_command()


def _credentials_in(url: str) -> tuple[str, str]:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    return unquote(parts.username or ""), unquote(parts.password or "")


def _read(path: str) -> bytes:
    try:
        return read_jwt(path)
    except CredentialsError as exc:
        raise nats.errors.Error(str(exc)) from exc


def _sign(path: str, nonce: str) -> bytes:
    try:
        return base64.b64encode(sign(path, nonce.encode()))
    except CredentialsError as exc:
        raise nats.errors.Error(str(exc)) from exc
