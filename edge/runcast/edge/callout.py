"""Asks a service of the operator's whose token it is: RUNCAST_AUTH=http, for those whose tokens are no JWTs.

    POST {"token": "...", "headers": {...}}   ->   200 {"tenant": "acme", "user": "alice", "expires_in_s": 600}
                                                   401 or 403: it is nobody's
                                                   anything else: not known now, the device comes back

Rules: the whole question, with its wait for a place, has its time; so many are under way at once; good answers are kept for a short while,
by a hash of what was asked, and never longer than they count; bad ones are not kept. Redirects are not followed. Nothing of a token is
logged.
"""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, Final

import aiohttp
import msgspec

from runcast.bus.identity.authfile import Hook
from runcast.bus.identity.claims import Identity, Term
from runcast.bus.identity.jwt import TokenRefusedError
from runcast.bus.identity.trust import Trust
from runcast.wire import limits_identity as limits
from runcast.wire.errors import IdInvalidError, UnavailableError
from runcast.wire.ids import UserKey, check_id

_LATER: Final = "the token can't be checked just now; connect again a little later"


class Answer(msgspec.Struct):
    """What the service says.

    Attributes:
        tenant: the user's tenant.
        user: the user.
        expires_in_s: how long that counts, seconds.
        token_id: names the token, to take it back by; "" when it has no name.
        issued_at: when the user got it (logged in), Unix seconds; 0.0 when it does not say: then no revocation ends for it by a new token.
    """

    tenant: str
    user: str
    expires_in_s: Annotated[float, msgspec.Meta(gt=0, le=366 * 86_400)]
    token_id: str = ""
    issued_at: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class CalloutAuthenticator:
    """Believes what the service in the auth file says."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._places = asyncio.Semaphore(limits.CALLOUT_AT_ONCE)
        self._kept: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()
        self._http: aiohttp.ClientSession | None = None
        self._problem = ""
        trust.replaced.append(self._kept.clear)

    async def authenticate(self, token: str, headers: Mapping[str, str]) -> Identity:
        """See `Authenticator`."""
        hook = self._trust.file.hook
        if hook is None:
            raise UnavailableError(_LATER)
        passed = {name.lower(): headers[name] for name in hook.headers if name in headers}
        if len(token) > limits.TOKEN_BYTES_MAX or not (token or passed):
            raise TokenRefusedError("there is nothing to ask about, or too much")
        question = json.dumps({"token": token, "headers": passed}, sort_keys=True).encode()
        key = hashlib.sha256(question).digest()
        until, identity = self._kept.get(key, (0.0, None))
        if identity is None or time.time() >= until:
            identity = await self._ask(hook, question)
            self._keep(key, min(time.time() + hook.cache_s, identity.term.expires_at), identity)
        return identity

    async def run(self) -> None:
        """See `Authenticator`."""
        try:
            await self._trust.run()
        finally:
            if self._http is not None:
                await self._http.close()

    def report(self) -> dict[str, str]:
        """See `Authenticator`."""
        report = self._trust.report()
        return {"state": "degraded", "reason": self._problem} if self._problem and report["state"] == "ok" else report

    def _keep(self, key: bytes, until: float, identity: Identity) -> None:
        self._kept[key] = (until, identity)
        self._kept.move_to_end(key)
        while len(self._kept) > limits.CALLOUT_CACHED_MAX:
            self._kept.popitem(last=False)

    async def _ask(self, hook: Hook, question: bytes) -> Identity:
        if self._http is None:
            self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with asyncio.timeout(hook.timeout_s), self._places:
                status, body = await _post(self._http, hook, question)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise self._away("the service that is asked about tokens can't be reached, or is too slow") from exc
        if status in (401, 403):
            self._problem = ""
            raise TokenRefusedError("the service says that it is nobody's")
        if status != 200 or len(body) > limits.CALLOUT_BYTES_MAX:
            raise self._away(f"the service that is asked about tokens answers {status}")
        try:
            answer = msgspec.json.decode(body, type=Answer)
            user = UserKey(check_id(answer.tenant, "tenant"), check_id(answer.user, "user"))
        except (msgspec.DecodeError, UnicodeDecodeError, IdInvalidError) as exc:
            raise self._away("the service that is asked about tokens answers what is no user") from exc
        self._problem = ""
        now = time.time()
        return Identity(user, Term(now + answer.expires_in_s, answer.issued_at, answer.token_id), "http")

    def _away(self, problem: str) -> UnavailableError:
        self._problem = problem
        return UnavailableError(_LATER)


async def _post(http: aiohttp.ClientSession, hook: Hook, question: bytes) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {hook.bearer}"} if hook.bearer else {})
    async with http.post(hook.url, data=question, headers=headers, allow_redirects=False) as response:
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > limits.CALLOUT_BYTES_MAX:
                break
        return response.status, bytes(body)
