"""The shards as this process knows them just now: how many there are, and which were verified since the connection to NATS was opened.

Rules: while the connection was away storage may have been wiped and created anew, with another epoch; so after a loss every shard is
verified before anything is said in its name. Each is verified for itself: in a cluster one shard may be without a leader for seconds while
the others have theirs, and what is theirs goes on.
"""

import asyncio

from runcast.bus.deployment import Deployment, Shard
from runcast.wire import limits
from runcast.wire.errors import UnavailableError


class Shards:
    """What is known of the shards.

    Attributes:
        count: how many there are; 0 while nobody knows. Kept over losses of the connection: it never changes.
    """

    def __init__(self) -> None:
        self.count = 0
        self._verified: dict[int, Shard] = {}
        self._news = asyncio.Event()

    def begin(self, count: int) -> None:
        """The deployment has so many shards."""
        self.count = count
        self._tell()

    def verified(self, number: int, shard: Shard) -> None:
        """A shard is as it should be."""
        self._verified[number] = shard
        self._tell()

    def lost(self) -> None:
        """The connection is lost."""
        self._verified.clear()

    @property
    def some(self) -> bool:
        """Whether at least one is verified."""
        return bool(self._verified)

    @property
    def deployment(self) -> Deployment | None:
        """The whole; None while a shard is not verified."""
        if not self.count or len(self._verified) < self.count:
            return None
        return Deployment(tuple(self._verified[number] for number in range(self.count)))

    def get(self, number: int) -> Shard:
        """A shard.

        Raises:
            UnavailableError: it is not verified just now.
        """
        shard = self._verified.get(number)
        if shard is None:
            raise UnavailableError("this part of storage can't be reached just now", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)
        return shard

    async def news(self) -> None:
        """Wait until something more is known."""
        await self._news.wait()

    async def wait(self, number: int, within_s: float) -> Shard:
        """A shard, as soon as it is verified.

        Raises:
            UnavailableError: it was not within `within_s` seconds.
        """
        try:
            async with asyncio.timeout(within_s):
                while number not in self._verified:
                    await self.news()
        except TimeoutError:
            pass
        return self.get(number)

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()  # it wakes who waits now
