"""Which operator is calling: a caller becomes an `Admin` of the auth file, or the call ends.

Rules: a caller that is not accepted is told that, and nothing more; why is for the log. In token mode an API key of `[[admins]]` counts,
and nothing else: no agent's key, no user's token. In mtls mode the client certificate counts.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from runcast.bus.identity.admins import EVERYBODY, Admin, Admins
from runcast.bus.identity.callers import Caller
from runcast.bus.identity.jwt import TokenRefusedError
from runcast.bus.identity.trust import Trust

Mode = Literal["dev", "token", "mtls"]


class Operator(NamedTuple):
    """Who acts.

    Attributes:
        admin: as the auth file has them.
        address: where the call came from.
    """

    admin: Admin
    address: str

    @property
    def name(self) -> str:
        """Of the credentials."""
        return self.admin.name


class Doorman:
    """Knows the operators.

    Args:
        mode: what counts; "dev" believes everybody (settings see to it that the ports are on loopback).
        trust: the auth file in force; None in development mode.

    Attributes:
        mode: as given.
    """

    def __init__(self, mode: Mode, trust: Trust | None) -> None:
        if mode != "dev" and trust is None:
            raise ValueError(f"mode {mode} needs an auth file")
        self.mode = mode
        self._trust = trust

    def report(self) -> dict[str, Any] | None:
        """How the auth file is doing; see `Trust.report`. None in development mode."""
        return self._trust.report() if self._trust is not None else None

    def know(self, caller: Caller) -> Operator:
        """Say who is calling.

        Raises:
            TokenRefusedError: nobody; its reason is for the log.
        """
        if self.mode == "dev":
            return Operator(EVERYBODY, caller.host)
        key = caller.bearer() if self.mode == "token" else ""
        return Operator(self._found(self.finder(key, caller.certificate_names)), caller.host)

    def finder(self, key: str, certificate_names: list[str]) -> Callable[[], Admin | None]:
        """Whose credentials these are, to be asked again at any time of the auth file that is then in force.

        Args:
            key: an API key; counts in token mode.
            certificate_names: of the connection's certificate; count in mtls mode.

        Raises:
            TokenRefusedError: they are nobody's.
        """
        if self.mode == "dev":
            return lambda: EVERYBODY
        find = self._by_certificate(certificate_names) if self.mode == "mtls" else self._by_key(key)
        self._found(find)
        return find

    def _by_key(self, text: str) -> Callable[[], Admin | None]:
        key_id, admin = self._admins.by_key(text)
        digest = self._admins.keys[key_id][0] if admin is not None else ""

        def find() -> Admin | None:  # keeps nothing by which somebody could get in
            kept, owner = self._admins.keys.get(key_id, ("", None))
            return owner if digest and kept == digest else None

        return find

    def _by_certificate(self, names: list[str]) -> Callable[[], Admin | None]:
        return lambda: self._admins.by_certificate(names)

    def _found(self, find: Callable[[], Admin | None]) -> Admin:
        admin = find()
        if admin is None:
            what = "its certificate is nobody's among the admins, or of several"
            raise TokenRefusedError(what if self.mode == "mtls" else "its API key is none of the auth file's admins'")
        return admin

    @property
    def _admins(self) -> Admins:
        if self._trust is None:
            raise ValueError("development mode has no auth file")
        return self._trust.file.admins
