"""The operators of an auth file: how each proves who it is, and what it may do at the admin service. Pure.

    [[admins]]
    name = "ops"                                      # for logs and the audit log
    keys = ["k7f3:9f86d0..."]                         # API keys as `runcast key --role` makes them; several while they rotate
    certificates = ["spiffe://example.com/ops"]       # or (RUNCAST_AUTH=mtls): names in its client certificate
    roles = ["view", "operate"]                       # view: may look; operate: may also act. Without this line: view

Rules: a name, a key's id and a certificate's name belong to one entry, also among agents: nobody is both by one key. Who may act may look.
Imports no asyncio, clock, random, logging, grpc, nats.
"""

from collections.abc import Collection, Iterable
from typing import Annotated, Literal, NamedTuple

import msgspec

from runcast.bus.identity.agents import Agents
from runcast.bus.identity.apikeys import find_owner, read_kept
from runcast.wire import limits
from runcast.wire.errors import RuncastError

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.ID_BYTES_MAX)]
Role = Literal["view", "operate"]


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """An operator, or a program of theirs; attributes as in the module's example."""

    name: _Name
    keys: tuple[str, ...] = ()
    certificates: tuple[_Name, ...] = ()
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)] = ("view",)

    def check(self, role: Role) -> None:
        """Raises RuncastError: `permission_denied`: it does not have the role."""
        if role not in self.roles:
            raise RuncastError(f"this needs the role {role!r}; ask who runs this Runcast", code="permission_denied")


EVERYBODY = Admin(name="dev", roles=("view", "operate"))
"""Development mode."""


class Admins(NamedTuple):
    """All of a file.

    Attributes:
        names: by name.
        keys: digest and admin, by the key's id.
        certificates: by a name that a certificate may hold.
    """

    names: dict[str, Admin]
    keys: dict[str, tuple[str, Admin]]
    certificates: dict[str, Admin]

    def by_key(self, text: str) -> tuple[str, Admin | None]:
        """See `find_owner`."""
        return find_owner(text, self.keys)

    def by_certificate(self, names: Collection[str]) -> Admin | None:
        """Whose certificate holds these names; None when it is nobody's, or of several."""
        found = {admin.name: admin for name in names if (admin := self.certificates.get(name)) is not None}
        return next(iter(found.values())) if len(found) == 1 else None


def make_admins(admins: Iterable[Admin], agents: Agents, problems: list[str]) -> Admins:
    """Bring admins in order.

    Args:
        admins: as read.
        agents: of the same file.
        problems: each problem is added to it.
    """
    found = Admins({}, {}, {})
    for admin in admins:
        where = f"admin {admin.name!r}"
        if found.names.setdefault(admin.name, admin) is not admin:
            problems.append(f"{where} is there twice")
        if not (admin.keys or admin.certificates):
            problems.append(f"{where}: set keys or certificates: by nothing else can it say who it is")
        if "view" not in admin.roles:
            problems.append(f'{where}: roles: who may act may look; set roles = ["view", "operate"]')
        for number, text in enumerate(admin.keys, 1):
            kept = read_kept(text)
            if kept is None:
                problems.append(f"{where}: key no. {number} is not ID:SHA256, as keys are kept; never put a key itself here")
            elif kept.id in found.keys or kept.id in agents.keys:
                problems.append(f"{where}: key {kept.id!r} is there twice")
            else:
                found.keys[kept.id] = (kept.digest, admin)
        problems += [
            f"{where}: certificate {name!r} is another one's"
            for name in admin.certificates
            if found.certificates.setdefault(name, admin) is not admin or name in agents.certificates
        ]
    return found
