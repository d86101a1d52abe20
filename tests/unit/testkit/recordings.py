"""Recordings made by hand, event by event, for the tests of what judges them."""

from typing import Any

from runcast.testkit.device_session import Received
from runcast.testkit.recording import Recording
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event

BEGAN_S = 1_700_000_000.0
OK, ERROR = pb.TOOL_STATUS_OK, pb.TOOL_STATUS_ERROR


class Reel:
    """Events in the order in which a device gets them; each 0.1 s after the one before, unless told otherwise."""

    def __init__(self, user: str = "alice", *, whole: bool = True) -> None:
        self.user = user
        self.whole = whole
        self.now = BEGAN_S
        self.breaks: list[str] = []
        self._received: list[Received] = []
        self._seqs: dict[tuple[str, int], int] = {}

    def add(self, kind: str, run: str = "r", *, attempt: int = 1, after: float = 0.1, seq: int = 0, first: int = 0, **fields: Any) -> Event:
        self.now += after
        event = Event(time_unix_ms=round(1000 * self.now) - 5)
        if kind == "user_message":
            event.id = fields.pop("id", "m1")
        else:
            number = seq or self._seqs.get((run, attempt), 0) + 1
            self._seqs[run, attempt] = number
            event.id, event.run_id, event.attempt, event.seq = f"{run}.{attempt}.{number}", run, attempt, number
            event.agent, event.first_seq = "agent", first
        message = getattr(event, kind)
        message.SetInParent()
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)
        self._received.append(Received(event, f"aaaaaaaa-{len(self._received) + 1:016d}", self.now))
        return event

    def recording(self, *, later: float = 0.0) -> Recording:
        return Recording(self.user, "d1", list(self._received), "t", self.whole, BEGAN_S, self.now + later, chain_breaks=tuple(self.breaks))


def begin(reel: Reel, run: str = "r", **more: Any) -> None:
    reel.add("agent_started", run, title="Sales per region", **more)


def tool(reel: Reel, run: str = "r", call: str = "c1", name: str = "sql", **more: Any) -> None:
    reel.add("tool_executing", run, tool_call_id=call, tool=name, args_json=b'{"q":1}', purpose="to sum", **more)
    reel.add("tool_completed", run, tool_call_id=call, tool=name, status=OK, result_json=b'{"rows":3}', **more)


def say(reel: Reel, run: str = "r", text: str = "The north sold most.", message: str = "m1") -> None:
    reel.add("agent_response", run, message_id=message, text=text, mode=pb.TEXT_MODE_DELTA)
    reel.add("agent_response", run, message_id=message, final=True, mode=pb.TEXT_MODE_DELTA)


def good() -> Reel:
    """A run as it should be: 8 events."""
    reel = Reel()
    reel.add("user_message", text="Which region?", id="m1")
    begin(reel, reply_to="m1")
    reel.add("agent_thinking", text="Reading the sales table", progress=0.1)
    tool(reel)
    say(reel)
    reel.add("agent_completed", summary="done")
    return reel
