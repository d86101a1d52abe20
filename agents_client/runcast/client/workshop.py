"""What all runs of a Runcast share: where they send, what they are told by default, how they write values and tell errors.

Rules: it is made once, by the Runcast; runs and children are made here, so that both are checked alike. The wall clock and randomness are
given to it.

Never imports grpc.
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from runcast.client import events
from runcast.client.arguments import check_text, check_whole
from runcast.client.classify import Classifier
from runcast.client.errors import RunKey
from runcast.client.estimates import Estimates
from runcast.client.payload import encode_json, fit_event
from runcast.client.publisher import Publisher
from runcast.client.run import Run
from runcast.client.tracing import current_traceparent
from runcast.v1.event_pb2 import AgentStarted, Event
from runcast.wire import limits, limits_client
from runcast.wire.ids import UserKey, check_id

Oversize = Literal["refuse", "truncate"]
"""What happens to an event over `limits.EVENT_BYTES_MAX`: EventTooLargeError, or its longest fields are cut and say so."""
OVERSIZE: Final = ("refuse", "truncate")


class RunContext(NamedTuple):
    """What all events of a run have in common.

    Attributes:
        agent: the agent's name.
        thread: the conversation; "" for none.
        parent_run_id: the run that started this one; "" for none.
        traceparent: W3C trace context; "" for that of the span that is current where an event is emitted.
    """

    agent: str
    thread: str
    parent_run_id: str
    traceparent: str


class Workshop:
    """What all runs of a Runcast share.

    Args:
        publisher: sends their events.
        classifier: tells their exceptions.
        clock_ms: milliseconds since the Unix epoch.
        draw_bits: so many random bits.
        oversize: what happens to events that are too large.
    """

    def __init__(
        self,
        publisher: Publisher,
        classifier: Classifier,
        *,
        clock_ms: Callable[[], int],
        draw_bits: Callable[[int], int],
        oversize: Oversize = "refuse",
    ) -> None:
        if oversize not in OVERSIZE:
            raise ValueError(f"oversize is {oversize!r}; use one of {', '.join(OVERSIZE)}")
        self._truncate = oversize == "truncate"
        self._draw_bits = draw_bits
        self.publisher = publisher
        self.classifier = classifier
        self.clock_ms = clock_ms
        self.estimates = Estimates()

    def make_run(
        self,
        owner: UserKey,
        context: RunContext,
        *,
        title: str,
        reply_to: str,
        input: object,  # noqa: A002 # the word of the event's field
        run_id: str,
        attempt: int,
        parent: Run | None = None,
    ) -> Run:
        """A run that has not begun.

        Raises:
            IdInvalidError: an id is empty or too long.
            TypeError, ValueError: `input` can't be written as JSON, `attempt` is below 1, or an argument is of another type.
        """
        if not 1 <= check_whole(attempt, "attempt") < 2**32:
            raise ValueError(f"attempt is {attempt}; count the tries of a run from 1")
        check_id(context.agent, "agent")
        check_id(owner.tenant, "tenant id")
        check_id(owner.user, "user id")
        for value, what in (
            (context.thread, "thread"),
            (reply_to, "reply_to"),
            (context.parent_run_id, "parent run id"),
            (context.traceparent, "traceparent"),
        ):
            if value != "":
                check_id(value, what)
        name = check_id(run_id or events.make_run_id(self.clock_ms(), self._draw_bits(80)), "run id")
        started = AgentStarted(title=check_text(title, "title"), reply_to=reply_to, input_json=encode_json(input))
        return Run(self, RunKey(owner, name, attempt), context, started, parent)

    def dress(self, event: Event, context: RunContext) -> Event:
        """Put on what all events of a run have in common, and cut what is too large, if that was chosen."""
        event.time_unix_ms = self.clock_ms()
        event.agent, event.thread, event.parent_run_id, given = context
        event.traceparent = given or current_traceparent()
        if self._truncate:
            fit_event(event, limits.EVENT_BYTES_MAX - limits_client.EVENT_NAMES_BYTES)
        return event
