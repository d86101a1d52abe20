"""Who is connecting: the one place where a device's token becomes a user.

This version knows the development mode alone: `dev.<tenant token>.<user token>` is believed. It is bound to loopback by the settings
(`runcast.bus.settings`). Real authentication implements `Authenticator` and is chosen in `authenticator`.
"""

from typing import Final, Protocol

from runcast.wire.errors import IdInvalidError, RuncastError
from runcast.wire.ids import UserKey, check_id, decode_token

TOKEN_PREFIX: Final = "runcast.token."  # noqa: S105 # a prefix, not a token
"""A WebSocket subprotocol entry with this prefix carries the token."""


class Authenticator(Protocol):
    """Turns a token into a user."""

    async def authenticate(self, token: str) -> UserKey:
        """The user that the token proves.

        Raises:
            RuncastError: `unauthenticated`; the message is for the client and says nothing useful to a guesser.
        """
        ...


class DevAuthenticator:
    """Believes everybody. For development, on loopback."""

    async def authenticate(self, token: str) -> UserKey:
        """See `Authenticator`."""
        parts = token.split(".")
        try:
            if len(parts) != 3 or parts[0] != "dev":
                raise IdInvalidError("not a development token")
            tenant, user = decode_token(parts[1]), decode_token(parts[2])
            return UserKey(check_id(tenant, "tenant"), check_id(user, "user"))
        except IdInvalidError as exc:
            raise RuncastError(
                "the token is not valid; in development mode it is dev.TENANT.USER, such as dev.default.alice", code="unauthenticated"
            ) from exc


def authenticator(mode: str) -> Authenticator:
    """The authenticator of a settings' `auth`; a mode that is not known here never got past the settings."""
    return {"dev": DevAuthenticator}[mode]()
