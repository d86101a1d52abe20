"""Whom operators disconnect and revoke, and how that is written: as a key, which also is the revocation's id.

    user.<tenant>.<user>              all devices of a user
    device.<tenant>.<user>.<device>   one device of a user
    token.<token id>                  who holds one token: a JWT's `jti`, the id of an API key
    agent.<name>                      an agent of the auth file

Names appear as tokens (`runcast.wire.ids`), so no name reaches another key. Invariant: `parse_target(target.key) == target`.
"""

from typing import Final, NamedTuple

from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import UserKey, check_id, decode_token, encode_token

_NAMES: Final = {
    "user": ("tenant id", "user id"),
    "device": ("tenant id", "user id", "device id"),
    "token": ("token id",),
    "agent": ("agent",),
}


class Target(NamedTuple):
    """One of the four.

    Attributes:
        kind: user, device, token or agent.
        names: those of the module's table, in order.
    """

    kind: str
    names: tuple[str, ...]

    @property
    def key(self) -> str:
        """It, written."""
        return ".".join((self.kind, *map(encode_token, self.names)))


def make_target(kind: str, *names: str) -> Target:
    """Whom to close out.

    Raises:
        IdInvalidError: a name is no id, or there are too many or too few of them.
    """
    expected = _NAMES.get(kind, ())
    if len(names) != len(expected) or not expected:
        raise IdInvalidError(f"{kind!r} with {len(names)} names is nobody; name a user, a device, a token id or an agent")
    for name, what in zip(names, expected, strict=True):
        check_id(name, what)
    return Target(kind, names)


def parse_target(key: str) -> Target:
    """Read a key.

    Raises:
        IdInvalidError: it is none.
    """
    kind, *tokens = key.split(".")
    return make_target(kind, *map(decode_token, tokens))


def targets_of_device(user: UserKey, device: str, token_id: str) -> tuple[Target, ...]:
    """All by which a device's connection can be meant; `token_id`: "" when its token has none."""
    named = (Target("user", (user.tenant, user.user)), Target("device", (user.tenant, user.user, device)))
    return (*named, Target("token", (token_id,))) if token_id else named


def targets_of_agent(name: str, token_id: str) -> tuple[Target, ...]:
    """All by which an agent's stream can be meant; `token_id`: "" when it has none."""
    named = (Target("agent", (name,)),)
    return (*named, Target("token", (token_id,))) if token_id else named
