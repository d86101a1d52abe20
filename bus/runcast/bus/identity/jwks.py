"""A key set at a URL: fetched, kept, followed through the issuer's rotations, and used on while the issuer is away.

Rules
1. A set is fetched when it is first needed, every `refresh_s`, and when a token names a key that is not in it.
2. Two fetches are `refetch_s` apart or more, whoever asks; one is under way at a time, and all who wait share it. It goes on when they
   go: peers who ask and leave must not keep the set from being fetched.
3. A fetch that fails changes nothing: the newest good set goes on, until it is `stale_s` old.
4. "Not in the set" is said only of a set whose fetch began after the token came. While that can't be, the answer is `unavailable`: a person
   whose issuer rotated its keys a moment ago is to come back, not to go away.
5. Redirects are not followed, and no proxy of the environment is used: keys come from where the operator said.
"""

import asyncio
import json
import time

import aiohttp

from runcast.bus.identity.keys import Key, KeyUnusableError, choose, set_keys
from runcast.wire import limits, limits_identity
from runcast.wire.errors import UnavailableError


class FetchFailedError(Exception):
    """The set could not be had this time; the message says why, for the operator."""


class KeySet:
    """The keys of one URL.

    Args:
        url: where the set is.
        refresh_s: how old it may get while the issuer answers, seconds.
        stale_s: how old while it does not.
        refetch_s: least time between two fetches.

    Attributes:
        problem: why the newest fetch failed; "" when it did not.
        keys: as they were last fetched.
    """

    def __init__(
        self,
        url: str,
        *,
        refresh_s: float = limits_identity.JWKS_REFRESH_S,
        stale_s: float = limits_identity.JWKS_STALE_S,
        refetch_s: float = limits_identity.JWKS_REFETCH_S,
    ) -> None:
        self.url = url
        self.problem = "not fetched yet"
        self.keys: list[Key] = []
        self.refresh_s = refresh_s
        self.stale_s = stale_s
        self.refetch_s = refetch_s
        self._good_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def choose(self, key_id: str, algorithm: str) -> list[Key]:
        """The keys to check a token with; [] when the issuer has none such.

        Args:
            key_id: the token's `kid`; "" when it has none.
            algorithm: the token's.

        Raises:
            UnavailableError: that can't be known just now.
        """
        asked = time.monotonic()
        found = self._choose(key_id, algorithm)
        if not found:
            await self.refresh()
            found = self._choose(key_id, algorithm)
        if found or self._good_at >= asked:
            return found
        wait = max(self._tried_at + self.refetch_s - time.monotonic(), 0.1)
        raise UnavailableError("the token can't be checked just now; connect again a little later", retry_after_s=wait)

    def due(self) -> bool:
        """It is time to fetch it again."""
        return time.monotonic() - self._good_at >= self.refresh_s

    async def refresh(self) -> None:
        """Fetch it, unless that was tried a moment ago; `problem` tells what came of it."""
        if self._fetching is None or self._fetching.done():
            now = time.monotonic()
            if now - self._tried_at < self.refetch_s:
                return
            self._tried_at = now
            self._fetching = asyncio.get_running_loop().create_task(self._fetch(now), name=f"key set {self.url}")
        await asyncio.shield(self._fetching)

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def _fetch(self, began: float) -> None:
        try:
            self.keys = await _fetch(self.url)
            self._good_at = began
            self.problem = ""
        except FetchFailedError as exc:
            self.problem = str(exc)

    def _choose(self, key_id: str, algorithm: str) -> list[Key]:
        old = time.monotonic() - self._good_at >= self.stale_s
        return [] if old else choose(self.keys, key_id, algorithm)


async def _fetch(url: str) -> list[Key]:
    timeout = aiohttp.ClientTimeout(total=limits_identity.JWKS_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise FetchFailedError(f"{url} answered {response.status}")
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > limits_identity.JWKS_BYTES_MAX:
                    raise FetchFailedError(f"{url} sent over {limits_identity.JWKS_BYTES_MAX // limits.KIB} KiB")
        return set_keys(json.loads(body))
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        raise FetchFailedError(f"{url} can't be reached: {exc or type(exc).__name__}") from exc
    except (ValueError, RecursionError) as exc:  # KeyUnusableError is one
        why = str(exc) if isinstance(exc, KeyUnusableError) else "it is no JSON"
        raise FetchFailedError(f"{url} sent no key set: {why}") from exc
