"""What a user's runs ask, as far as this edge has seen it: so that an answer which nobody can use is refused while its sender is there.

Theory. What passes on its way to the user's devices tells which questions there are (`input_requested`), how they may be answered, and
when they are settled: by `input_resolved`, by the run's end, by a next attempt. An edge comes to know events live and from history, in any
order; so what is noted bears its place in the log (a batch's seq, and the event's own within it), and the later place counts.

Rules: what is not known here is not refused here: another edge may have shown it. The agent judges by the same rules
(`runcast.wire.asking`).
Invariants: at most `limits.REQUESTS_KNOWN_MAX` are remembered, closed ones included; noting the same again changes nothing.

Pure: imports no asyncio, clock, random, logging.
"""

from collections import OrderedDict

from runcast.v1.event_pb2 import Event, InputRequested
from runcast.wire import limits
from runcast.wire.asking import read_answer
from runcast.wire.errors import RuncastError
from runcast.wire.lifecycle import ends_run

_Place = tuple[int, int]


class _Request:
    """One question: how it may be answered, and the places in the log where it was asked and settled last."""

    __slots__ = ("asked", "closed", "input_type", "options")

    def __init__(self) -> None:
        self.asked: _Place = (0, 0)
        self.closed: _Place = (0, 0)
        self.input_type = 0
        self.options: tuple[str, ...] | None = None

    @property
    def open(self) -> bool:
        return self.asked > self.closed


class OpenRequests:
    """What one user was asked."""

    __slots__ = ("_requests",)

    def __init__(self) -> None:
        self._requests: OrderedDict[tuple[str, str], _Request] = OrderedDict()

    def note(self, event: Event, seq: int) -> None:
        """Take notice of an event whose batch lies at `seq` of the log."""
        kind = event.WhichOneof("kind")
        place = (seq, event.seq)
        if kind == "input_requested":
            request = self._request(event.run_id, event.input_requested.request_id)
            if place > request.asked:
                request.asked = place
                request.input_type = event.input_requested.type
                request.options = _options(event.input_requested)
        elif kind == "input_resolved":
            request = self._request(event.run_id, event.input_resolved.request_id)
            request.closed = max(request.closed, place)
        elif self._requests and (kind == "agent_started" or ends_run(event)):
            for (run_id, _), request in self._requests.items():
                if run_id == event.run_id:
                    request.closed = max(request.closed, place)

    def check(self, run_id: str, request_id: str, value_json: bytes) -> None:
        """Say whether an answer can be of use.

        Raises:
            RuncastError: `request_closed`: the run does not ask that any more; `send_invalid`: it does not fit the question.
        """
        request = self._requests.get((run_id, request_id))
        if request is None:
            return
        if not request.open:
            raise RuncastError("the run does not ask this any more; drop the question", code="request_closed")
        read_answer(request.input_type, request.options, value_json)

    def _request(self, run_id: str, request_id: str) -> _Request:
        request = self._requests.setdefault((run_id, request_id), _Request())
        self._requests.move_to_end((run_id, request_id))
        if len(self._requests) > limits.REQUESTS_KNOWN_MAX:
            self._requests.popitem(last=False)
        return request


def _options(asked: InputRequested) -> tuple[str, ...] | None:
    options = tuple(asked.options)
    return options if sum(map(len, options)) <= limits.REQUEST_OPTIONS_BYTES_MAX // 4 else None  # a character takes up to four bytes
