"""Those that wait for what becomes of events: a future each, answered when the outbox, the receipts or the questions have concluded.

Rules: every future is answered once, unless who waits for it was cancelled; of a run that failed, all that waits for something not stored
is told of the failure; when the publisher dies, everybody is.

Never imports grpc, nats, aiohttp or msgspec.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from runcast.client.answers import AnswerBook
from runcast.client.errors import RunKey
from runcast.client.receipts import ReceiptBook
from runcast.client.run_queue import Failed, Stored
from runcast.wire.errors import RuncastError

_log = logging.getLogger("runcast.client")


class Tickets:
    """The futures of one publisher.

    Args:
        book: receipts that are awaited; their tickets are futures.
        asked: answers that are awaited; the same.
    """

    def __init__(self, book: ReceiptBook, asked: AnswerBook) -> None:
        self._book = book
        self._asked = asked
        self._storing: dict[RunKey, list[tuple[int, asyncio.Future[str]]]] = {}

    @staticmethod
    def make() -> "asyncio.Future[Any]":
        """One for `book` or `asked`."""
        return asyncio.get_running_loop().create_future()

    def until_stored(self, key: RunKey, seq: int) -> "asyncio.Future[str]":
        """The position of what is stored of a run when `seq` is."""
        answer: asyncio.Future[str] = self.make()
        self._storing.setdefault(key, []).append((seq, answer))
        return answer

    def settle(self, now: float, results: Iterable[Stored | Failed]) -> None:
        """Tell those that wait what the outbox concluded at `now` (monotonic seconds)."""
        for result in results:
            if isinstance(result, Stored):
                self._book.stored(result.key, result.number, result.last_seq, result.position, now, carried=result.awaited)
                self._tell_stored(result)
            else:
                _log.warning("%s", result.error)
                if result.orphans:
                    _log.warning("%d runs below run %s go out without its start, which failed", result.orphans, result.key.run_id)
                self._book.failed(result.key, result.error)
                self._asked.failed(result.key, result.error)
                for _, answer in self._storing.pop(result.key, ()):
                    _fail(answer, result.error)
        self.settle_books()

    def settle_books(self) -> None:
        """Tell those that wait what the books concluded."""
        for ticket, result in (*self._book.take_results(), *self._asked.take_results()):
            assert isinstance(ticket, asyncio.Future)  # noqa: S101 # all tickets are made here
            if isinstance(result, RuncastError):
                _fail(ticket, result)
            elif not ticket.done():
                ticket.set_result(result)

    def fail_all(self, now: float, failure: RuncastError) -> None:
        """Nothing will be heard any more."""
        self._book.close(now, failure)
        self._asked.close(failure)
        self.settle_books()
        for waiting in self._storing.values():
            for _, answer in waiting:
                _fail(answer, failure)
        self._storing.clear()

    def _tell_stored(self, result: Stored) -> None:
        waiting = self._storing.pop(result.key, None)
        if waiting is None:
            return
        later = []
        for seq, answer in waiting:
            if seq > result.last_seq:
                later.append((seq, answer))
            elif not answer.done():
                answer.set_result(result.position)
        if later:
            self._storing[result.key] = later


def _fail(answer: "asyncio.Future[Any]", error: RuncastError) -> None:
    if not answer.done():  # else whoever waits was cancelled
        answer.set_exception(error)
