"""Who is connecting: the one place where a device's token becomes a user (SECURITY.md).

Three modes, `RUNCAST_AUTH`: "dev" believes `dev.<tenant token>.<user token>`, on loopback only (`runcast.bus.settings`); "jwt" checks
tokens against the auth file (`runcast.bus.identity`); "http" asks a service of the operator's (`runcast.edge.callout`).
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from structlog.stdlib import BoundLogger

from runcast.bus.identity.claims import Identity, Term
from runcast.bus.identity.trust import Trust
from runcast.edge.callout import CalloutAuthenticator
from runcast.wire.errors import IdInvalidError, RuncastError
from runcast.wire.ids import UserKey, check_id, decode_token

_FOREVER: Final = Term(math.inf, 0.0, "")


class Authenticator(Protocol):
    """Turns a token into a user."""

    async def authenticate(self, token: str, headers: Mapping[str, str]) -> Identity:
        """The user that the token proves, and until when.

        Args:
            token: as the device gave it; "" when it gave none.
            headers: of the handshake.

        Raises:
            RuncastError: `unauthenticated`, `token_expired` or `unavailable`; the message is for the client and says nothing useful to a
                guesser.
        """
        ...

    async def run(self) -> None:
        """Keep up with what changes, until cancelled."""
        ...

    def report(self) -> dict[str, str]:
        """How it is doing, for JSON: `state` and `reason`."""
        ...


class DevAuthenticator:
    """Believes everybody. For development, on loopback."""

    async def authenticate(self, token: str, headers: Mapping[str, str]) -> Identity:  # noqa: ARG002 # the protocol's
        """See `Authenticator`."""
        parts = token.split(".")
        try:
            if len(parts) != 3 or parts[0] != "dev":
                raise IdInvalidError("not a development token")
            tenant, user = decode_token(parts[1]), decode_token(parts[2])
            return Identity(UserKey(check_id(tenant, "tenant"), check_id(user, "user")), _FOREVER, "dev")
        except IdInvalidError as exc:
            raise RuncastError(
                "the token is not valid; in development mode it is dev.TENANT.USER, such as dev.default.alice", code="unauthenticated"
            ) from exc

    async def run(self) -> None:
        """Nothing changes."""

    def report(self) -> dict[str, str]:
        """See `Authenticator`."""
        return {"state": "ok", "reason": ""}


class JwtAuthenticator:
    """Believes tokens of the issuers in the auth file."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    async def authenticate(self, token: str, headers: Mapping[str, str]) -> Identity:  # noqa: ARG002 # the protocol's
        """See `Authenticator`."""
        return (await self._trust.verify(token, "users")).identity

    async def run(self) -> None:
        """See `Authenticator`."""
        await self._trust.run()

    def report(self) -> dict[str, str]:
        """See `Authenticator`."""
        return self._trust.report()


def authenticator(mode: str, auth_file: str, log: BoundLogger) -> Authenticator:
    """The authenticator of a settings' `auth`; a mode that is not known here never got past the settings.

    Raises:
        AuthFileError: the auth file can't be used.
    """
    if mode == "dev":
        return DevAuthenticator()
    kinds: dict[str, Callable[[Trust], Authenticator]] = {"jwt": JwtAuthenticator, "http": CalloutAuthenticator}
    return kinds[mode](Trust(Path(auth_file), log))
