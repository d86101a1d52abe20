"""What an agent may do: for which tenants, under which names, with which kinds of events, from which inbox groups. Pure.

Theory. Who an agent is and what it may do are two questions: the first is answered once, by a key, a token or a certificate; the second at
every batch, from the auth file in force, so what was withdrawn ends at once. A scope is a list of exact names; "*" alone stands for all.

Rules: what is not granted is refused; no pattern but "*". A refusal tells an agent which kind of thing it may not, never what exists.
Imports no asyncio, clock, random, logging, grpc, nats.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from runcast.v1.event_pb2 import Batch
from runcast.wire.errors import RuncastError

ANY: Final = "*"


class Scopes(NamedTuple):
    """Exact names, or "*" among them for all.

    Attributes:
        tenants: whose users it may reach.
        agents: names that it may go by.
        kinds: of events that it may emit.
        groups: inbox groups that it may receive for.
    """

    tenants: frozenset[str]
    agents: frozenset[str]
    kinds: frozenset[str]
    groups: frozenset[str]

    def may_reach(self, tenant: str) -> bool:
        """Whether it may reach users of `tenant`."""
        return _holds(self.tenants, tenant)

    def check_tenant(self, tenant: str) -> None:
        """Raises RuncastError: `permission_denied`: it may not reach users of `tenant`."""
        if not self.may_reach(tenant):
            raise denied("tenant")

    def check_agent(self, agent: str) -> None:
        """Raises RuncastError: `permission_denied`: it may not go by this name."""
        if not _holds(self.agents, agent):
            raise denied("agent name")

    def check_group(self, group: str) -> None:
        """Raises RuncastError: `permission_denied`: it may not receive for this group."""
        if not _holds(self.groups, group):
            raise denied("inbox group")

    def check_batch(self, batch: Batch) -> None:
        """See whether a batch is within the scopes; its events are looked at only where something is not granted whole.

        Raises:
            RuncastError: `permission_denied`.
        """
        self.check_tenant(batch.user.tenant)
        if ANY not in self.agents:
            for name in {event.agent for event in batch.events}:
                self.check_agent(name)
        if ANY not in self.kinds and not all((event.WhichOneof("kind") or "") in self.kinds for event in batch.events):
            raise denied("kind of event")


EVERYTHING: Final = Scopes(frozenset({ANY}), frozenset({ANY}), frozenset({ANY}), frozenset({ANY}))
"""Development mode."""


def denied(what: str) -> RuncastError:
    """The error for something that is not granted; it names no value."""
    return RuncastError(f"this agent is not granted that {what}; ask who runs this Runcast", code="permission_denied")


def _holds(granted: Collection[str], name: str) -> bool:
    return ANY in granted or name in granted
