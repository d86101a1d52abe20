"""What a device was told of runs, in words, for tests of the adapters; and a guard that lets nothing but loopback be reached meanwhile."""

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runcast.client import Runcast
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.v1.event_pb2 import SEVERITY_FATAL, TOOL_STATUS_CANCELLED, TOOL_STATUS_ERROR, TOOL_STATUS_OK, Event
from runcast.wire.lifecycle import ends_run

STATUS = {TOOL_STATUS_OK: "ok", TOOL_STATUS_ERROR: "error", TOOL_STATUS_CANCELLED: "cancelled"}
_guards: list[list[str]] = []


def connect(cluster: Cluster, agent: str = "assistant") -> Runcast:
    return Runcast(",".join(cluster.router_addresses()), agent=agent)


async def until_end(watcher: Device, run_id: str) -> list[str]:
    """A run in words, when its end has come."""
    await watcher.wait_for(lambda event: event.run_id == run_id and ends_run(event), timeout=20)
    events = [event for event in watcher.events if event.run_id == run_id]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return in_words(events)


def children(watcher: Device, run_id: str) -> list[str]:
    """The runs that a run started, oldest first."""
    return [event.run_id for event in watcher.events if event.HasField("agent_started") and event.parent_run_id == run_id]


def in_words(events: list[Event]) -> list[str]:
    """One line an event; what is said in pieces in one line, and what is thought too, for devices may get it merged."""
    lines: list[str] = []
    said: dict[str, int] = {}
    for event in events:
        kind = event.WhichOneof("kind") or "?"
        data: Any = getattr(event, kind)
        if kind == "agent_response":
            at = said.get(data.message_id)
            if at is None:
                at = said[data.message_id] = len(lines)
                lines.append("says ")
            lines[at] = (lines[at] if data.mode == 2 else "says ") + data.text + ("." if data.final else "")
        else:
            lines.append(_in_words(event.agent, kind, data))
    return lines


def _in_words(agent: str, kind: str, data: Any) -> str:
    match kind:
        case "agent_started":
            return f"{agent} starts {data.title}".strip()
        case "agent_thinking":
            return f"thinks {data.text}"
        case "tool_executing":
            return f"calls {data.tool} {data.args_json.decode()}".strip()
        case "tool_completed":
            return f"{data.tool} {STATUS[data.status]} {data.result_json.decode()}{data.error}".strip()
        case "agent_completed":
            return f"completes {data.result_json.decode()}".strip()
        case "agent_error":
            return ("fails " if data.severity == SEVERITY_FATAL else "errs ") + data.category
        case "run_cancelled":
            return f"is stopped: {data.reason}"
        case "custom":
            return f"{data.name} {data.data_json.decode()}"
    return kind


@contextmanager
def offline() -> Iterator[None]:
    """Whatever of this process asks for a name, or for an address beyond this machine, meanwhile, is an error at the end."""
    met: list[str] = []
    _guards.append(met)
    try:
        yield
    finally:
        _guards.remove(met)
    assert not met, f"frameworks went to the network: {met}"


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if not _guards or event not in {"socket.connect", "socket.getaddrinfo"}:
        return
    address = args[1] if event == "socket.connect" else args[:2]
    host = address[0] if isinstance(address, tuple) else "localhost"  # a path, of a unix socket
    try:
        near = host in {None, "localhost"} or ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if not near:
        for met in _guards:
            met.append(f"{event} {host}")
        raise ConnectionRefusedError(f"{host} is beyond this machine")


sys.addaudithook(_watch)
