"""The agents of an auth file: how each proves who it is, and what it may do. Pure.

    [[agents]]
    name = "analyst"                                  # for logs and revocation
    keys = ["k7f3:9f86d0..."]                         # API keys as `runcast` keeps them; several while they rotate
    issuer = "login"                                  # or: tokens of this issuer (peers = "agents") whose user claim says `name`
    certificates = ["spiffe://example.com/analyst"]   # or (RUNCAST_AUTH=mtls): names in its client certificate
    tenants = ["acme"]                                # whose users it may reach; ["*"] for all
    agents = ["analyst"]                              # names that it may go by; all, unless said
    kinds = ["*"]                                     # of events that it may emit; all, unless said
    groups = ["support"]                              # inbox groups that it may receive for; none, unless said

Rules: a name, a key's id and a certificate's name belong to one agent; a scope is exact names, or "*".
Imports no asyncio, clock, random, logging, grpc, nats.
"""

from collections.abc import Collection, Iterable
from typing import Annotated, NamedTuple

import msgspec

from runcast.bus.identity.apikeys import find_owner, read_kept
from runcast.bus.identity.scopes import ANY, Scopes
from runcast.v1.event_pb2 import Event
from runcast.wire import limits

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.ID_BYTES_MAX)]
_KINDS = frozenset(field.name for field in Event.DESCRIPTOR.oneofs_by_name["kind"].fields)


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent, or a group of processes that share one identity; attributes as in the module's example."""

    name: _Name
    tenants: Annotated[tuple[_Name, ...], msgspec.Meta(min_length=1)]
    agents: tuple[_Name, ...] = (ANY,)
    kinds: tuple[str, ...] = (ANY,)
    groups: tuple[_Name, ...] = ()
    keys: tuple[str, ...] = ()
    issuer: str = ""
    certificates: tuple[_Name, ...] = ()

    @property
    def scopes(self) -> Scopes:
        """What it may do."""
        return Scopes(frozenset(self.tenants), frozenset(self.agents), frozenset(self.kinds), frozenset(self.groups))


class Agents(NamedTuple):
    """All of a file.

    Attributes:
        names: by name.
        keys: digest and agent, by the key's id.
        certificates: by a name that a certificate may hold.
    """

    names: dict[str, Agent]
    keys: dict[str, tuple[str, Agent]]
    certificates: dict[str, Agent]

    def by_key(self, text: str) -> tuple[str, Agent | None]:
        """See `find_owner`."""
        return find_owner(text, self.keys)

    def by_certificate(self, names: Collection[str]) -> Agent | None:
        """Whose certificate holds these names; None when it is nobody's, or of several."""
        found = {agent.name: agent for name in names if (agent := self.certificates.get(name)) is not None}
        return next(iter(found.values())) if len(found) == 1 else None

    def by_token(self, issuer: str, subject: str) -> Agent | None:
        """Whose token of an issuer (its name) says `subject`."""
        agent = self.names.get(subject)
        return agent if agent is not None and issuer and agent.issuer == issuer else None


def make_agents(agents: Iterable[Agent], issuers: Collection[str], problems: list[str]) -> Agents:
    """Bring agents in order.

    Args:
        agents: as read.
        issuers: names of the issuers of agents' tokens.
        problems: each problem is added to it.
    """
    found = Agents({}, {}, {})
    for agent in agents:
        where = f"agent {agent.name!r}"
        if found.names.setdefault(agent.name, agent) is not agent:
            problems.append(f"{where} is there twice")
        if not (agent.keys or agent.issuer or agent.certificates):
            problems.append(f"{where}: set keys, issuer or certificates: by nothing else can it say who it is")
        if agent.issuer and agent.issuer not in issuers:
            problems.append(f'{where}: issuer {agent.issuer!r} is not the name of an issuer with peers = "agents"')
        for scope in ("tenants", "agents", "kinds", "groups"):
            listed = getattr(agent, scope)
            if ANY in listed and len(listed) > 1:
                problems.append(f'{where}: {scope}: "*" stands alone')
            problems += [f'{where}: {scope}: {name!r}: use exact names, or "*" alone' for name in listed if ANY in name and name != ANY]
        problems += [f"{where}: kinds: there is no {kind!r}" for kind in agent.kinds if kind not in _KINDS and ANY not in kind]
        for number, text in enumerate(agent.keys, 1):
            kept = read_kept(text)
            if kept is None:
                problems.append(f"{where}: key no. {number} is not ID:SHA256, as keys are kept; never put a key itself here")
            elif kept.id in found.keys:
                problems.append(f"{where}: key {kept.id!r} is there twice")
            else:
                found.keys[kept.id] = (kept.digest, agent)
        for name in agent.certificates:
            if found.certificates.setdefault(name, agent) is not agent:
                problems.append(f"{where}: certificate {name!r} is another agent's")
    return found
