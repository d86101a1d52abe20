"""The line: which runs may send now, and what of theirs is unanswered (PROTOCOL.md, "Agents: gRPC").

Rules.
1. Runs take turns: a run that was served goes to the end of the line. Batches of a lost stream go first, in the same order.
2. The router's window bounds what is unanswered on the stream; an empty window always lets one batch pass.
3. A refusal with `retry` sends the same batch again, later; a pause that the router did not ask for ends with the stream. If the one
   and only sending of a batch was refused for certain, its horizon starts anew: nothing of it is anywhere.
4. A run that has only soft events to send rests until `coalesce_s` after its last soft sending, so that what comes meanwhile goes along;
   but no event rests for longer than `REST_SHARE` of that. The first goes at once, and so does all that waits when anything else
   comes.
5. A batch unanswered for longer than the *resend horizon* is not sent again: the log may no longer recognise the repeat.

Invariants: a run stands in line once at most, and not while its batch is unanswered, or while it is held for its parent's start
(`runcast.client.starts`); what is unanswered stays within the window.

Pure: `now` (seconds, monotonic) is an argument. Never imports asyncio, a clock, randomness, logging or grpc.
"""

import heapq
import math
from collections import OrderedDict, deque
from typing import Final

from runcast.client.run_queue import Flight, RunQueue
from runcast.wire import limits, limits_client

MESSAGE_BYTES_MAX = limits.GRPC_MESSAGE_BYTES_MAX // 2
"""What `take` puts together for one gRPC message, bytes."""

REST_SHARE: Final = 0.6
"""No event rests for longer than this share of `coalesce_s`: a piece that comes right after a sending would wait for nearly all of it.
Above half, so that two pieces of a usual model still go together."""


class Line:
    """Runs that have something to send, and the stream that they send on.

    Attributes:
        coalesce_s: how long soft events may rest, seconds; 0 for not at all.
        connected: a stream is open.
        horizon_s: how long a batch may be sent again, seconds from its first sending.
        stirred: since the last `take`, there is something to send, or a time to wait for, that was not there.
    """

    def __init__(self, coalesce_s: float) -> None:
        self._runs: deque[RunQueue] = deque()
        self._later: list[tuple[float, int, RunQueue, Flight]] = []
        self._resting: list[tuple[float, int, RunQueue]] = []
        self._ties = 0
        self._sent: OrderedDict[tuple[str, int], RunQueue] = OrderedDict()  # on this stream, by last_sent
        self._sent_bytes = 0
        self._unsure: OrderedDict[tuple[str, int], RunQueue] = OrderedDict()  # by first_sent
        self._heard = 0.0
        self._window = (0, 0)
        self.coalesce_s = coalesce_s
        self.connected = False
        self.horizon_s = limits.RESEND_HORIZON_S
        self.stirred = False

    @property
    def unanswered(self) -> tuple[int, int]:
        """Batches and bytes unanswered on the open stream."""
        return len(self._sent), self._sent_bytes

    # --- the stream ---

    def open(self) -> None:
        """A stream is open; its window is still to come."""
        self.close()
        self.connected = True

    def close(self) -> None:
        """The stream is gone: all that is unanswered will be sent again, first of all, in the same order."""
        self.connected = False
        for run in reversed(self._sent.values()):
            if run.flight is not None:
                run.flight.sent = False
                run.listed = True
                self._runs.appendleft(run)
        self._sent.clear()
        self._sent_bytes = 0
        asked = [entry for entry in self._later if entry[3].advised]
        for _, _, run, flight in self._later:
            if not flight.advised and run.flight is flight and not flight.sent:
                self._enter(run)
        self._later = asked
        heapq.heapify(self._later)

    def hear(self, now: float) -> None:
        """The router said something."""
        self._heard = now

    def widen(self, batches: int, size: int) -> None:
        """The router gave another window: batches and bytes."""
        self._window = (batches, size)

    # --- runs ---

    def join(self, now: float, run: RunQueue) -> None:
        """A run has something to send, and nothing unanswered; if it is soft it may have to rest, if it is held it joins later."""
        if run.listed or run.held:
            return
        due = min(run.rests_until, run.waiting[0].since + REST_SHARE * self.coalesce_s)
        if run.urgent or now >= due:
            self._enter(run)
        elif not run.resting:
            run.resting = self.stirred = True
            self._ties += 1
            heapq.heappush(self._resting, (due, self._ties, run))

    def rouse(self) -> None:
        """Nobody rests any more, now and later."""
        self.coalesce_s = 0.0
        self._end_rests(math.inf)

    def take_up(self, run: RunQueue) -> None:
        """A run that another process left: its batch may have been sent. Oldest batches first."""
        if run.flight is not None:
            self._unsure[run.name] = run
        if not run.idle and not run.held:
            self._enter(run)

    def put_off(self, now: float, run: RunQueue, flight: Flight, pause_s: float, *, certain: bool) -> None:
        """The router did not take a batch for now.

        Args:
            now: monotonic seconds.
            run: whose batch.
            flight: it.
            pause_s: how long the router asked to wait, seconds; 0 when it did not.
            certain: it is nowhere: its horizon starts anew.
        """
        self._unsend(run, flight)
        if certain:
            flight.sendings = 0
            self._unsure.pop(run.name, None)
        flight.advised = pause_s > 0
        self._ties += 1
        heapq.heappush(self._later, (now + max(pause_s, limits.PUBLISH_RETRY_AFTER_S), self._ties, run, flight))

    def land(self, run: RunQueue, flight: Flight) -> None:
        """The run's batch needs no further answer."""
        self._unsend(run, flight)
        self._unsure.pop(run.name, None)
        run.flight = None

    # --- time ---

    def expired(self, now: float) -> RunQueue | None:
        """A run whose batch is past the horizon; `land` it, and ask again."""
        run = next(iter(self._unsure.values()), None)
        if run is None or (run.flight is not None and now - run.flight.first_sent < self.horizon_s):
            return None
        return run

    def end_pauses(self, now: float) -> None:
        """Who waited long enough is in line again."""
        self._end_rests(now)
        while self._later and self._later[0][0] <= now:
            _, _, run, flight = heapq.heappop(self._later)
            if run.flight is flight and not flight.sent:
                self._enter(run)

    def overdue(self, now: float) -> bool:
        """Whether the router kept silent, or a batch unanswered, for too long: open the stream elsewhere."""
        return self.connected and bool(self._sent) and now >= self._answer_deadline()

    def deadline(self) -> float | None:
        """When time matters next, monotonic seconds; None when it does not."""
        times: list[float] = []
        if self._unsure:
            first = next(iter(self._unsure.values())).flight
            times.append(first.first_sent + self.horizon_s if first is not None else 0.0)
        if self._later:
            times.append(self._later[0][0])
        if self._resting:
            times.append(self._resting[0][0])
        if self.connected and self._sent:
            times.append(self._answer_deadline())
        return min(times, default=None)

    # --- what goes out ---

    def take(self, now: float) -> list[tuple[RunQueue, Flight]]:
        """What goes out now, for one gRPC message; empty when nothing may. The batches count as sent."""
        taken: list[tuple[RunQueue, Flight]] = []
        self.stirred = False
        room = MESSAGE_BYTES_MAX
        while self.connected and self._runs and len(self._sent) < self._window[0]:
            run = self._runs[0]
            if run.idle:  # it failed while it stood in line
                self._leave()
                continue
            window_room = self._window[1] - self._sent_bytes if self._sent else limits.BATCH_BYTES_MAX
            flight = run.next_flight(min(room, window_room))
            if flight is None:
                break
            self._leave()
            self._send(run, flight, now)
            taken.append((run, flight))
            room -= flight.size
        return taken

    # --- inside ---

    def _enter(self, run: RunQueue) -> None:
        if not run.listed:
            run.listed = self.stirred = True
            self._runs.append(run)

    def _end_rests(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            _, _, run = heapq.heappop(self._resting)
            run.resting = False
            if run.waiting and run.flight is None:  # else it was served meanwhile
                self.join(now, run)

    def _leave(self) -> None:
        self._runs.popleft().listed = False

    def _send(self, run: RunQueue, flight: Flight, now: float) -> None:
        if flight.sendings == 0:
            flight.first_sent = now
            self._unsure[run.name] = run
            if flight.soft:
                run.rests_until = now + self.coalesce_s
        flight.sendings += 1
        flight.last_sent = now
        flight.sent = True
        self._sent[run.name] = run
        self._sent_bytes += flight.size

    def _unsend(self, run: RunQueue, flight: Flight) -> None:
        """Take a batch out of the stream's window."""
        if flight.sent:
            flight.sent = False
            del self._sent[run.name]
            self._sent_bytes -= flight.size

    def _answer_deadline(self) -> float:
        oldest = next(iter(self._sent.values())).flight
        if oldest is None:
            return self._heard
        return min(max(oldest.last_sent, self._heard) + limits_client.ROUTER_QUIET_S, oldest.last_sent + limits_client.ACK_TIMEOUT_S)
