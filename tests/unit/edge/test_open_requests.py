"""What an edge knows of questions: told in any order, it says the same, and never refuses what it does not know."""

import random
from typing import Any

import pytest

from runcast.edge.open_requests import OpenRequests
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.errors import RuncastError


def asked(request: str = "q", seq: int = 2, run: str = "r", attempt: int = 1, **fields: Any) -> Event:
    return Event(run_id=run, attempt=attempt, seq=seq, input_requested=pb.InputRequested(request_id=request, **fields))


def resolved(request: str = "q", seq: int = 3, run: str = "r") -> Event:
    return Event(run_id=run, attempt=1, seq=seq, input_resolved=pb.InputResolved(request_id=request))


def refusal(requests: OpenRequests, request: str = "q", value: bytes = b"true", run: str = "r") -> str:
    try:
        requests.check(run, request, value)
    except RuncastError as exc:
        return exc.code.name
    return ""


def test_what_does_not_fit_the_question_is_refused() -> None:
    requests = OpenRequests()
    requests.note(asked(type=pb.INPUT_TYPE_CHOICE, options=["a", "b"]), 7)
    assert [refusal(requests, value=value) for value in (b'"a"', b'"c"', b"true")] == ["", "send_invalid", "send_invalid"]
    assert refusal(requests, "other") == "", "what is not known is not refused"
    assert refusal(requests, run="other") == ""


@pytest.mark.parametrize(
    "end",
    [
        resolved(),
        Event(run_id="r", attempt=1, seq=3, agent_completed=pb.AgentCompleted()),
        Event(run_id="r", attempt=1, seq=3, run_cancelled=pb.RunCancelled()),
        Event(run_id="r", attempt=1, seq=3, run_lost=pb.RunLost()),
        Event(run_id="r", attempt=1, seq=3, agent_error=pb.AgentError(severity=pb.SEVERITY_FATAL)),
        Event(run_id="r", attempt=2, seq=1, agent_started=pb.AgentStarted()),
    ],
    ids=lambda event: event.WhichOneof("kind"),
)
def test_what_is_settled_is_closed(end: Event) -> None:
    requests = OpenRequests()
    requests.note(asked(run="other"), 5)
    requests.note(asked(), 6)
    requests.note(Event(run_id="r", attempt=1, seq=3, agent_error=pb.AgentError(severity=pb.SEVERITY_DEGRADED)), 6)
    assert refusal(requests) == ""
    requests.note(end, 8)
    assert [refusal(requests), refusal(requests, run="other")] == ["request_closed", ""]
    requests.note(asked(attempt=2), 9)
    assert refusal(requests) == "", "the next attempt asks again"


def test_a_next_attempt_may_begin_and_ask_in_one_batch() -> None:
    requests = OpenRequests()
    requests.note(asked(), 6)
    requests.note(Event(run_id="r", attempt=2, seq=1, agent_started=pb.AgentStarted()), 8)
    requests.note(asked(attempt=2), 8)
    assert refusal(requests) == ""


def test_the_order_in_which_it_is_told_does_not_matter() -> None:
    told = [(asked("a"), 5), (resolved("a"), 6), (asked("b"), 7), (asked("a", attempt=2), 9), (resolved("b"), 9), (asked("b", 5), 9)]
    for seed in range(20):
        requests = OpenRequests()
        for event, seq in random.Random(seed).sample(told * 2, 2 * len(told)):
            requests.note(event, seq)
        assert [refusal(requests, "a"), refusal(requests, "b")] == ["", ""]
        requests.note(resolved("b", 6), 9)
        assert refusal(requests, "b") == "request_closed"


def test_what_is_remembered_is_bounded() -> None:
    requests = OpenRequests()
    for number in range(limits.REQUESTS_KNOWN_MAX + 1):
        requests.note(resolved(str(number)), 5)
    assert [refusal(requests, "0"), refusal(requests, "1")] == ["", "request_closed"]
    huge = [str(number) * 100 for number in range(limits.REQUEST_OPTIONS_BYTES_MAX // 100)]
    requests.note(asked("huge", type=pb.INPUT_TYPE_CHOICE, options=huge), 9)
    assert [refusal(requests, "huge", value) for value in (b'"any"', b"1")] == ["", "send_invalid"]
