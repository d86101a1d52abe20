"""What an outbox tells of its runs as it goes, for a store that outlives the process.

Theory. All that an outbox holds can be made again from this: which runs are open, what each was given, which of it became which batch, and
what is stored. Everything is told in the moment in which the outbox takes it in, from synchronous code.

Rules
1. An event may still change while it waits (`changed`); when its batch is built it does not any more.
2. `built` comes before the batch can be sent; `commit` comes after it and before anything is sent: what was told until then must outlive
   the process.
3. A run is told of until `forgotten`: after that nothing of it is needed.
4. A journal that has no room says so in `has_room`: the outbox is full then.

Never imports asyncio, a clock, randomness, logging or grpc.
"""

from typing import Protocol

from runcast.client.errors import RunKey
from runcast.v1.event_pb2 import Batch, Event


class Journal(Protocol):
    """Told by `Outbox`, and asked to `commit` by what carries it. An exception goes to whoever called, and ends a publisher."""

    def has_room(self, size: int, *, closing: bool) -> bool:
        """Whether `size` bytes of events may be added; `closing` ones may use a reserve."""

    def opened(self, key: RunKey) -> None:
        """A run's attempt begins."""

    def appended(self, key: RunKey, event: Event) -> None:
        """An event waits; it has its seq. The event is the outbox's: copy or serialize it now."""

    def changed(self, key: RunKey, event: Event) -> None:
        """The newest event that waits, the one with this seq, has this content now."""

    def built(self, key: RunKey, batch: Batch) -> None:
        """The oldest waiting events became a batch, which never changes."""

    def stored(self, key: RunKey, number: int, last_seq: int) -> None:
        """The batch is in the log."""

    def failed(self, key: RunKey) -> None:
        """The run failed: what is not stored of it will not be sent; closing events may follow, after the last stored seq and number."""

    def forgotten(self, key: RunKey) -> None:
        """The run's owner adds no more, and nothing of it waits or is unanswered."""

    def commit(self) -> None:
        """Something is about to be sent."""
