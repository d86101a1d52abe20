"""Browsers that say nothing: a tab that was frozen, a probe, somebody with bad intentions. They cost others nothing, and are owed nothing.

What they do:
    no_hello    connect, and never say hello
    no_reading  say hello, and then neither read nor acknowledge: what the edge sends piles up in sockets until it stops feeding them
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import aiohttp

from runcast.testkit.device_link import reset_connection
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, Hello

MUTES: Final = 24
"""Of each such fault; below the devices that a user may have on one edge."""
_CONNECT_S: Final = 5.0


async def stay_mute(url: str, tokens: Sequence[str], what: str, lasts_s: float, http: aiohttp.ClientSession, rng: random.Random) -> int:
    """Connect `MUTES` silent browsers of the users of `tokens`, and take them away without a word after a while.

    Args:
        url: of an edge.
        tokens: of users.
        what: no_hello or no_reading.
        lasts_s: how long they stay, seconds.
        http: the session to use.
        rng: chooses users.

    Returns:
        How many were let in.
    """
    chosen = [rng.choice(tokens) for _ in range(MUTES)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_stay(url, token, f"mute {number}", what, lasts_s, http)) for number, token in enumerate(chosen)]
    return sum(task.result() for task in tasks)


async def _stay(url: str, token: str, device: str, what: str, lasts_s: float, http: aiohttp.ClientSession) -> bool:
    codec = CODECS[JSON_SUBPROTOCOL]
    try:
        async with asyncio.timeout(_CONNECT_S):
            ws = await http.ws_connect(url, protocols=(codec.subprotocol, f"runcast.token.{token}"))
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False  # something else is broken just now
    try:
        if what == "no_reading":
            await ws.send_str(codec.encode(Hello(device, "earliest", snapshot=False)).decode())
        await asyncio.sleep(lasts_s)
    except (aiohttp.ClientError, OSError):
        pass  # the edge went first
    finally:
        reset_connection(ws)
        await ws.close()
    return True
