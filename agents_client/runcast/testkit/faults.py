"""Which faults a trial injects, and when: a pure function of the seed.

Rules: the kinds asked for come in turn, in an order that the seed shuffles anew each round, so that a trial of some length has them
all. Faults of different kinds overlap. Faults of nats-servers do not, and leave `NATS_REST_S` between them: a cluster of three survives
one loss at a time, and what was restarted must have caught up before the next goes. All are healed before the load ends.

Never imports asyncio or the clock.
"""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

KINDS: Final = ("edge", "router", "nats", "partition", "slow", "agent", "stall")
"""What can be asked for:

edge, router, agent: SIGKILL, and a new start after a while. nats: the same, of a stream's leader or any server. partition: a line
half-open or cut for a while, or one from NATS to an edge that loses what is live. slow: a line delayed or throttled. stall: SIGSTOP,
then SIGCONT.
"""
FIRST_S: Final = 1.5
"""Load without faults before the first."""
LAST_S: Final = 1.0
"""Load without faults after the last is healed."""
REST_S: Final = 2.0
"""Between two faults of one node or line: it has been started again by then."""
NATS_REST_S: Final = 6.0
"""Between the end of one nats-server's fault and the next one's beginning."""


class Fault(NamedTuple):
    """One fault.

    Attributes:
        at_s: when, seconds from the beginning of the load.
        lasts_s: until it is healed.
        kind: one of `KINDS`.
        target: a node ("edge-1", "agent-0", "leader" for the server that leads a stream then), or a line ("edge-1>nats", "device>edge-0").
        what: kill, stop, half_open, cut, drop_live, delay, throttle.
    """

    at_s: float
    lasts_s: float
    kind: str
    target: str
    what: str


def schedule(seed: int, duration_s: float, kinds: Sequence[str], *, edges: int, routers: int, nats: int, agents: int) -> tuple[Fault, ...]:
    """The faults of a trial, by time.

    Args:
        seed: any.
        duration_s: of the load.
        kinds: of `KINDS`; none for no faults.
        edges: how many there are.
        routers: how many there are.
        nats: how many nats-servers.
        agents: how many agent processes.

    Returns:
        Faults whose ends are `LAST_S` before the end of the load at the latest.

    Raises:
        ValueError: a kind that there is not; the message lists those that there are.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"there is no fault {', '.join(unknown)}; there are {', '.join(KINDS)}")
    rng = random.Random(seed)  # noqa: S311 # a schedule, not a secret
    nodes = {"edge": edges, "router": routers, "agent": agents}
    faults: list[Fault] = []
    at = FIRST_S
    free_at: dict[str, float] = {}
    coming: list[str] = []
    while kinds and at < duration_s - LAST_S:
        if not coming:
            coming = rng.sample(list(kinds), len(kinds))
        kind = coming.pop()
        lasts = rng.uniform(0.3, 3.0)
        target, what = _choose(rng, kind, nodes, nats)
        is_nats = target == "leader" or target.startswith("nats")
        victim = "nats" if is_nats else target
        begin = max(at, free_at.get(victim, 0.0))
        if begin + lasts < duration_s - LAST_S:
            free_at[victim] = begin + lasts + (NATS_REST_S if is_nats else REST_S)
            faults.append(Fault(round(begin, 3), round(lasts, 3), kind, target, what))
        at += rng.uniform(0.5, 2.5)
    return tuple(sorted(faults))


def _choose(rng: random.Random, kind: str, nodes: dict[str, int], nats: int) -> tuple[str, str]:
    """A target and what happens to it."""
    if kind in nodes:
        return f"{kind}-{rng.randrange(nodes[kind])}", "kill"
    if kind == "nats":
        return ("leader" if rng.random() < 0.6 else f"nats-{rng.randrange(nats)}"), "kill"
    if kind == "stall":
        role = rng.choice(["edge", "router", "agent", "nats"])
        return f"{role}-{rng.randrange(nats if role == 'nats' else nodes[role])}", "stop"
    role = rng.choice(["edge", "router"])
    node = f"{role}-{rng.randrange(nodes[role])}"
    outside = f"{'device' if role == 'edge' else 'agent'}>{node}"
    line = rng.choice([f"{node}>nats", outside])
    if kind == "slow":
        return line, rng.choice(["delay", "throttle"])
    return (line, rng.choice(["half_open", "cut", "drop_live"])) if line.startswith("edge") else (line, rng.choice(["half_open", "cut"]))
