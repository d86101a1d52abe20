"""Which operator is calling: a caller becomes an `Admin` of the auth file, or the call ends.

Rules: a caller that is not accepted is told that, and nothing more; why is for the log. In token mode an API key of `[[admins]]` counts,
and nothing else: no agent's key, no user's token. In mtls mode the client certificate counts.
"""

from typing import Any, Literal, NamedTuple

from runcast.bus.identity.admins import EVERYBODY, Admin
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
    """

    def __init__(self, mode: Mode, trust: Trust | None) -> None:
        if mode != "dev" and trust is None:
            raise ValueError(f"mode {mode} needs an auth file")
        self._mode = mode
        self._trust = trust

    def report(self) -> dict[str, Any] | None:
        """How the auth file is doing; see `Trust.report`. None in development mode."""
        return self._trust.report() if self._trust is not None else None

    def know(self, caller: Caller) -> Operator:
        """Say who is calling.

        Raises:
            TokenRefusedError: nobody; its reason is for the log.
        """
        if self._mode == "dev":
            return Operator(EVERYBODY, caller.host)
        admin = self.by_certificate(caller.certificate_names) if self._mode == "mtls" else self.by_key(caller.bearer())
        return Operator(admin, caller.host)

    def by_key(self, text: str) -> Admin:
        """Whose key this is.

        Raises:
            TokenRefusedError: nobody's.
        """
        _, admin = self._trust.file.admins.by_key(text) if self._trust is not None else ("", None)
        if admin is None:
            raise TokenRefusedError("its API key is none of the auth file's admins'")
        return admin

    def by_certificate(self, names: list[str]) -> Admin:
        """Whose certificate this is.

        Raises:
            TokenRefusedError: nobody's.
        """
        admin = self._trust.file.admins.by_certificate(names) if self._trust is not None else None
        if admin is None:
            raise TokenRefusedError("its certificate is nobody's among the admins, or of several")
        return admin
