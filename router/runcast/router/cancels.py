"""Cancels: from the bucket where edges keep them to the stream that has the run open.

A user may cancel a run before its first event, or while it moves from one router to another; so a cancel is a key with a TTL beside
the run, not a message to somebody. A router hears of new keys by one subscription, and looks up the key of every run that opens on one
of its streams. Lookups go out together: while one request is under way further runs gather for the next. After the connection to NATS was
lost, all open runs are looked up again.

Between the two there is no hole: a run is registered before its key is looked up, and a cancel that came just before is remembered here,
in case the replica that answers the lookup lags behind. A cancel that can't be opened is one all the same: its key says whose and which run
it stops, and only the reason is lost.
"""

import asyncio
import random
import time
from collections import OrderedDict
from typing import Protocol

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.direct import DirectReader
from runcast.bus.sealing.seals import UnreadableError
from runcast.router.effects import RunKey
from runcast.v1.event_pb2 import User
from runcast.v1.inbox_pb2 import CancelRequest
from runcast.wire import limits, limits_client, subjects
from runcast.wire.errors import IdInvalidError, UnavailableError
from runcast.wire.ids import UserKey


class Cancellable(Protocol):
    """A stream on which runs are open."""

    def cancel(self, run: RunKey, reason: str) -> None:
        """The user wants `run` to stop."""


class CancelWatch:
    """Knows which run is open on which stream, and tells the streams of cancels.

    Args:
        bus: the connection.
        log: told about cancels that can't be read.
    """

    def __init__(self, bus: Bus, log: BoundLogger) -> None:
        self._bus = bus
        self._log = log
        self._reader = DirectReader(bus)
        self._shards = 0
        self._streams: dict[RunKey, set[Cancellable]] = {}
        self._unseen: OrderedDict[RunKey, None] = OrderedDict()
        self._recent: OrderedDict[RunKey, CancelRequest] = OrderedDict()
        self._wake = asyncio.Event()

    async def open(self) -> None:
        """Subscribe. Call once, when the connection is open."""
        await self._reader.open()
        await self._bus.nc.subscribe(subjects.run_cancels(), cb=self._on_cancel)

    def look_again(self, shards: int) -> None:
        """Storage is there, with so many shards: look up all open runs."""
        self._shards = shards
        self._unseen.update(dict.fromkeys(self._streams))
        self._wake.set()

    def add(self, run: RunKey, stream: Cancellable) -> None:
        """A run opened on a stream."""
        self._streams.setdefault(run, set()).add(stream)
        request = self._recent.get(run)
        if request is not None and time.time() - request.time_unix_ms / 1000 < limits.CANCEL_AGE_S:
            stream.cancel(run, request.reason)
        else:
            self._unseen[run] = None
            self._wake.set()

    def remove(self, run: RunKey, stream: Cancellable) -> None:
        """A run is not open on that stream any more."""
        streams = self._streams.get(run)
        if streams is not None:
            streams.discard(stream)
            if not streams:
                del self._streams[run]
                self._unseen.pop(run, None)

    def forget(self, user: UserKey) -> None:
        """The user is erased: what they wished to stop is not known any more."""
        for run in [run for run in self._recent if run.user == user]:
            del self._recent[run]

    async def run(self) -> None:
        """Look up what opens; never returns."""
        wait_s = limits_client.BACKOFF_FIRST_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unseen and self._shards:
                runs = [self._unseen.popitem(last=False)[0] for _ in range(min(len(self._unseen), limits.VERIFY_SUBJECTS_MAX))]
                try:
                    await self._look_up(runs)
                    wait_s = limits_client.BACKOFF_FIRST_S
                except UnavailableError:
                    self._unseen.update(dict.fromkeys(run for run in runs if run in self._streams))
                    await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311 # jitter, not a secret
                    wait_s = min(2 * wait_s, limits_client.BACKOFF_MAX_S)

    async def _look_up(self, runs: list[RunKey]) -> None:
        keys = [subjects.cancel_key(run.user, subjects.shard_of(run.user, self._shards), run.run_id) for run in runs]
        wanted = [subjects.kv_subject(subjects.RUNS_BUCKET, key) for key in keys]
        for message in await self._reader.latest(f"KV_{subjects.RUNS_BUCKET}", wanted):
            self._pass_on(message.subject, message.data)

    async def _on_cancel(self, msg: Msg) -> None:
        request = self._pass_on(msg.subject, msg.data)
        if request is not None:
            run = _run_of(request)
            self._recent[run] = request
            self._recent.move_to_end(run)
            if len(self._recent) > limits.CANCELS_RECENT_MAX:
                self._recent.popitem(last=False)

    def _pass_on(self, subject: str, data: bytes) -> CancelRequest | None:
        if not data:  # the key was deleted
            return None
        try:
            request = self._read(subject, data)
        except (DecodeError, IdInvalidError) as exc:
            self._log.error("cancel_unreadable", error=str(exc))
            return None
        run = _run_of(request)
        for stream in list(self._streams.get(run, ())):
            stream.cancel(run, request.reason)
        return request

    def _read(self, subject: str, data: bytes) -> CancelRequest:
        """What a key says.

        Raises:
            DecodeError: it is no cancel.
            IdInvalidError: the key is not one of ours.
        """
        place = subjects.parse_user_key(subject)
        try:
            return CancelRequest.FromString(self._bus.seals.open(place.user, subject, data))
        except UnreadableError:  # the log and health say so
            user = User(tenant=place.user.tenant, id=place.user.user)
            return CancelRequest(user=user, run_id=place.run_id, time_unix_ms=int(time.time() * 1000))


def _run_of(request: CancelRequest) -> RunKey:
    return RunKey(UserKey(request.user.tenant, request.user.id), request.run_id)
