"""When nothing was broken: some promises hold, or can be judged, only then. Pure.

A fault disturbs from when it was put in until some time after it was healed (`aftermath_s`): elections, new starts, backoff and queues that
piled up take theirs.
"""

from collections.abc import Callable, Iterable
from typing import Final

from runcast.testkit.history import Injected

DRAIN: Final = "drain"
"""The kind of fault that is none: a process is asked to end, and started again."""
NATS_AFTERMATH_S: Final = 10.0
"""After a fault of a nats-server: an election takes up to 9 s."""
AFTERMATH_S: Final = 6.0
"""After any other: a hold on a message that a router can't extend any more runs out after 5 s."""


def aftermath_s(fault: Injected) -> float:
    """How long after its healing a fault still disturbs, seconds."""
    return NATS_AFTERMATH_S if fault.target.startswith(("nats", "leader")) else AFTERMATH_S


class Calm:
    """The faults of a history, and the times between them.

    Args:
        faults: all of them, in any order.
    """

    def __init__(self, faults: Iterable[Injected]) -> None:
        self.faults = sorted(faults, key=lambda fault: fault.t)

    def during(self, since: float, upto: float, counts: Callable[[Injected], bool] = lambda _: True) -> bool:
        """Whether nothing was broken from `since` to `upto`, both seconds. `counts` says which faults matter; all do."""
        return not any(fault.t <= upto and fault.healed + aftermath_s(fault) >= since and counts(fault) for fault in self.faults)


def disturbs_agents(fault: Injected) -> bool:
    """Whether a fault may change how agents are heard, or handed messages: not those of edges, nor a process that ends in good order."""
    return fault.kind != DRAIN and "edge" not in fault.target
