"""What becomes of a message that a worker has held, told to the inbox: done, rejected, put aside, or given back.

Rules: done, rejected and put aside count when the server has confirmed them, and are tried again until then, so often; what can't be
confirmed is delivered again. Giving back is a courtesy: should it fail, the server's own clock does it.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable
from typing import Final

from structlog.stdlib import BoundLogger

from runcast.bus.queue import GroupQueue
from runcast.bus.retention import rest_s
from runcast.router.held import Held
from runcast.router.node import Node
from runcast.v1.inbox_pb2 import DISPOSITION_ACK
from runcast.wire import limits, limits_client
from runcast.wire.errors import UnavailableError

_GIVE_BACK_S: Final = 1.0
"""For giving back what a worker that left held."""


class Settlement:
    """Of one worker's stream.

    Args:
        node: the router's.
        queue: what the messages come from.
        log: told of what could not be settled.
    """

    def __init__(self, node: Node, queue: GroupQueue, log: BoundLogger) -> None:
        self._node = node
        self._queue = queue
        self._log = log

    async def confirm(self, held: Held) -> bool:
        """Carry out what was decided of a message, until the server has confirmed it; False: it never did, or there is nothing left."""
        wait_s = limits_client.BACKOFF_FIRST_S
        for _ in range(limits.INBOX_SETTLE_TRIES_MAX):
            if held.erased:
                return False
            try:
                if held.parked:
                    await self._put_aside(held)
                elif held.disposition == DISPOSITION_ACK:
                    await self._queue.done(held.delivery)
                else:
                    await self._queue.reject(held.delivery)
            except UnavailableError:
                await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311 # jitter, not a secret
                wait_s = min(2 * wait_s, limits_client.BACKOFF_MAX_S)
            else:
                return True
        self._log.warning("message_not_settled", seq=held.delivery.seq)
        return False

    async def _put_aside(self, held: Held) -> None:
        with self._node.erasures.storing(held.user):
            ttl_s = self._node.ttl_s(held.user, self._node.shard_of(held.user))
            if ttl_s and held.delivery.stored_at:  # its retention began when it was sent
                ttl_s = rest_s(ttl_s, time.time() - held.delivery.stored_at)
            await self._queue.park(held.delivery, held.tries, held.parked, ttl_s=ttl_s)

    async def retry(self, held: Held) -> None:
        """Have it delivered again, later each time."""
        with contextlib.suppress(UnavailableError):  # it is delivered again after its time
            doubled = 2 ** min(held.delivery.tries - 1, limits.INBOX_TRIES_MAX)
            await self._queue.retry(held.delivery, limits.INBOX_RETRY_DELAY_S * doubled)

    async def give_up(self, held: Held) -> None:
        """Have it delivered again at once: it was not handed out."""
        with contextlib.suppress(UnavailableError):  # it is delivered again after its time
            await self._queue.retry(held.delivery, 0.0)

    async def give_back(self, left: Iterable[Held]) -> None:
        """What the worker held goes to others at once; bounded, since the process may be about to end."""
        with contextlib.suppress(TimeoutError, UnavailableError):  # then the server's own clock does it
            async with asyncio.timeout(_GIVE_BACK_S):
                await self._queue.close()
                for held in left:
                    if held.lost:
                        continue
                    if held.disposition == DISPOSITION_ACK:
                        await self._queue.tell_done(held.delivery)
                    else:
                        await self._queue.retry(held.delivery, 0.0)
