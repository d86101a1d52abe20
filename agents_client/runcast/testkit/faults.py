"""Which faults a trial injects, and when: a pure function of the seed.

Rules: the kinds asked for come in turn, in an order that the seed shuffles anew each round, so that a trial of some length has them all;
the ways of each kind (`ways`) come in turn too, and the seed says with which of them it begins, so that some seeds have them all. Faults of
different kinds overlap. Faults of nats-servers do not, and leave `NATS_REST_S` between them: a cluster of three survives one loss at a
time, and what was restarted must have caught up before the next goes. Never are all edges, all routers or all agents killed or frozen at
once. While a process is drained nothing else is done, and the first drain comes before anything is broken, so that what users notice of it
can be judged. All are healed before the load ends.

Never imports asyncio or the clock.
"""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from runcast.testkit.calm import DRAIN

KINDS: Final = ("edge", "router", "nats", "partition", "slow", "agent", "stall", "silent", DRAIN)
"""What can be asked for:

edge, router, agent: SIGKILL, and a new start after a while. nats: the same, of a stream's leader or any server. partition: a line
half-open or cut for a while (of a cluster of nats-servers also one server's lines to all others), or one from NATS to an edge that loses
what is live. slow: a line delayed or throttled. stall: SIGSTOP,
then SIGCONT, of an edge, router, agent or nats-server. silent: browsers that connect and say nothing, or never read. drain: SIGTERM of an
edge or router, and a new start.
"""
FIRST_S: Final = 1.5
"""Load without faults before the first."""
LAST_S: Final = 1.0
"""Load without faults after the last is healed."""
REST_S: Final = 4.0
"""Between two faults of one node or line: it has been started again by then, on a loaded machine too."""
NATS_REST_S: Final = 10.0
"""Between the end of one nats-server's fault and the next one's beginning: an election takes up to 9 s."""
DRAIN_LASTS_S: Final = 3.0
"""Kept free for a drain and the new start. One that takes longer is judged as far as nothing else was broken meanwhile."""
DRAIN_REST_S: Final = 2.0
"""Between the end of the last fault and a drain: what was killed is being started again."""

WAYS_A_MINUTE: Final = 3
"""The next seed begins so many ways later: as many of a kind as a minute has, about."""


class Fault(NamedTuple):
    """One fault.

    Attributes:
        at_s: when, seconds from the beginning of the load.
        lasts_s: until it is healed.
        kind: one of `KINDS`.
        target: a node ("edge-1", "agent-0", "leader" for the server that leads a stream then), or a line ("edge-1>nats", "device>edge-0",
            "browsers>edge-0" for where silent browsers connect).
        what: kill, stop, half_open, cut, drop_live, delay, throttle, no_hello, no_reading, term.
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
    nodes = {"edge": edges, "router": routers, "agent": agents, "nats": nats}
    kinds = [kind for kind in kinds if ways(kind, nodes)]
    faults: list[Fault] = []
    at = FIRST_S
    free_at: dict[str, float] = {}
    coming: list[str] = []
    turns = dict.fromkeys(kinds, WAYS_A_MINUTE * seed)
    while kinds and at < duration_s - LAST_S:
        if not coming:
            coming = rng.sample(list(kinds), len(kinds))
            if not faults and DRAIN in coming:
                coming.sort(key=lambda kind: kind == DRAIN)
        kind = coming.pop()
        possible = ways(kind, nodes)
        way = possible[turns[kind] % len(possible)]
        target, what = _place(rng, *way, nodes)
        lasts = rng.uniform(0.3, 3.0)
        victim = "nats" if target == "leader" or target.startswith("nats") else target
        begin = max(at, free_at.get(victim, 0.0))
        if kind == DRAIN:
            lasts = DRAIN_LASTS_S
            begin = max([at, *(fault.at_s + fault.lasts_s + DRAIN_REST_S for fault in faults)]) if faults else at
        if begin + lasts < duration_s - LAST_S and not _would_be_last(target, nodes, free_at, begin):
            free_at[victim] = begin + lasts + (NATS_REST_S if victim == "nats" else REST_S)
            faults.append(Fault(round(begin, 3), round(lasts, 3), kind, target, what))
            at = begin + lasts if kind == DRAIN else at
            turns[kind] += 1
        at += rng.uniform(0.5, 2.5)
    return tuple(sorted(faults))


def ways(kind: str, nodes: dict[str, int]) -> list[tuple[str, str]]:
    """The ways in which a kind of fault comes: where (a role, or a line between roles), and what.

    Args:
        kind: of `KINDS`.
        nodes: how many there are of each role.
    """
    lines = ["edge>nats", "router>nats", "device>edge", "agent>router"]
    if nodes["nats"] > 1 and kind == "partition":
        lines.append("nats>nats")
    match kind:
        case "nats":
            return [("leader", "kill"), ("nats", "kill"), ("leader", "kill")]
        case "stall":
            return [(where, "stop") for where in ("edge", "router", "agent", "nats", "leader")]
        case "partition":
            return [*((line, what) for line in lines for what in ("half_open", "cut")), ("edge>nats", "drop_live")]
        case "slow":
            return [(line, what) for line in lines for what in ("delay", "throttle")]
        case "silent":
            return [("browsers>edge", "no_hello"), ("browsers>edge", "no_reading")]
        case "drain":
            return [(f"{role}-{n}", "term") for role in ("edge", "router") for n in range(nodes[role]) if nodes[role] > 1]
    return [(kind, "kill")]


def _place(rng: random.Random, where: str, what: str, nodes: dict[str, int]) -> tuple[str, str]:
    """Choose nodes for roles; NATS at the far end of a line stays "nats": all of its servers."""
    who, _, to = where.partition(">")
    if to:
        one, other = (f"{who}-{rng.randrange(nodes[who])}", to) if to == "nats" else (who, f"{to}-{rng.randrange(nodes[to])}")
        return f"{one}>{other}", what
    return (f"{who}-{rng.randrange(nodes[who])}" if who in nodes else who), what


def _would_be_last(target: str, nodes: dict[str, int], free_at: dict[str, float], begin: float) -> bool:
    """Whether a node is the only one of its role that is not killed, frozen or just started."""
    role = target.partition("-")[0]
    if ">" in target or role == "nats" or role not in nodes:
        return False
    others = [f"{role}-{n}" for n in range(nodes[role]) if f"{role}-{n}" != target]
    return bool(others) and all(free_at.get(other, 0.0) > begin for other in others)
