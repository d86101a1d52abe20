"""Checks a token: its issuer, its signature with a key of that issuer, and what it claims. PyJWT does the signature.

Rules
1. Before the signature is good, a token chooses nothing but which of the configured issuers is asked (`iss`) and which of that issuer's
   keys (`alg` among those allowed, `kid`); keys that it brings along (`jwk`, `jku`, `x5u`) are never looked at.
2. `alg` must be on the issuer's list, and the key be of that algorithm's kind (`keys`): neither `none` nor a public key taken as a secret
   gets there.
3. The peer gets one answer for whatever is wrong with a token, and another one only for one that was good and is over (`token_expired`),
   or can't be judged just now (`unavailable`). The reason is for the log.

RFC 7519, RFC 8725.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import jwt

from runcast.bus.identity.authfile import AuthFile, Issuer, Peers
from runcast.bus.identity.claims import ClaimsRefusedError, Identity, Term, check_claims, read_user
from runcast.bus.identity.jwks import KeySet
from runcast.bus.identity.keys import Key, choose
from runcast.wire import limits_identity as limits
from runcast.wire.errors import RuncastError

_SIGNATURES: Final = jwt.PyJWS(algorithms=None, options={"verify_signature": True, "enforce_minimum_key_length": True})
_REFUSED: Final = "the token is not accepted; get a valid one, then connect again"
_EXPIRED: Final = "the token is over; get a new one, then connect again with it"


class TokenRefusedError(RuncastError):
    """A token does not count.

    Attributes:
        reason: for the operator's log; the message, for the peer, does not say it.
    """

    default_code = "unauthenticated"

    def __init__(self, reason: str, *, expired: bool = False) -> None:
        super().__init__(_EXPIRED if expired else _REFUSED, code="token_expired" if expired else "unauthenticated")
        self.reason = reason


class Verified(NamedTuple):
    """A token that counts.

    Attributes:
        issuer: whose it is.
        term: until when, and under which id.
        payload: all its claims.
    """

    issuer: Issuer
    term: Term
    payload: Mapping[str, Any]

    @property
    def identity(self) -> Identity:
        """The user that it names.

        Raises:
            TokenRefusedError: it names none.
        """
        issuer = self.issuer
        try:
            user = read_user(self.payload, issuer.user_path, issuer.tenant_claim, issuer.tenant, issuer.tenants)
        except ClaimsRefusedError as exc:
            raise TokenRefusedError(str(exc)) from exc
        return Identity(user, self.term, issuer.name)


class Verifier:
    """Checks the tokens of one auth file.

    Args:
        file: the auth file.
        before: the verifier that this one replaces: key sets that stay are taken over from it.
        clock: Unix seconds.

    Attributes:
        sets: the issuers' key sets, by `iss`.
    """

    def __init__(self, file: AuthFile, before: "Verifier | None" = None, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        known = {key_set.url: key_set for key_set in before.sets.values()} if before else {}
        self.sets: dict[str, KeySet] = {}
        for iss, issuer in file.issuers.items():
            if issuer.jwks_url:
                key_set = known.get(issuer.jwks_url) or KeySet(issuer.jwks_url)
                key_set.refresh_s, key_set.stale_s = issuer.jwks_refresh_s, issuer.jwks_stale_s
                self.sets[iss] = key_set

    async def verify(self, token: str, peers: Peers) -> Verified:
        """Check a token.

        Args:
            token: as the peer gave it.
            peers: whose token it must be.

        Raises:
            TokenRefusedError: it does not count (`unauthenticated`), or not any more (`token_expired`).
            UnavailableError: its issuer's keys can't be had just now.
        """
        issuer, key_id, algorithm = self._read(token, peers)
        for key in await self._keys(issuer, key_id, algorithm):
            payload = _payload(token, key, algorithm)
            if payload is not None:
                break
        else:
            raise TokenRefusedError(f"no key of issuer {issuer.name!r} made the signature")
        try:
            return Verified(issuer, check_claims(payload, issuer.expected, self._clock()), payload)
        except ClaimsRefusedError as exc:
            raise TokenRefusedError(f"issuer {issuer.name!r}: {exc}", expired=exc.expired) from exc

    def _read(self, token: str, peers: Peers) -> tuple[Issuer, str, str]:
        """What the token says of itself, unproved: enough to find the key that it must have been signed with."""
        if not token.isascii() or not 0 < len(token) <= limits.TOKEN_BYTES_MAX:
            raise TokenRefusedError("it is empty, too long, or no ASCII")
        try:
            unproved = jwt.api_jws.PyJWS(options={"verify_signature": False}).decode_complete(token)
            payload = json.loads(unproved["payload"])
        except (jwt.PyJWTError, ValueError, RecursionError) as exc:
            raise TokenRefusedError("it is no JWT") from exc
        header = unproved["header"]
        named = payload.get("iss") if isinstance(payload, dict) else None
        issuer = self._file.issuers.get(named) if isinstance(named, str) else None
        if issuer is None or issuer.peers != peers:
            raise TokenRefusedError("its issuer is not one of the auth file's")
        algorithm, key_id = header.get("alg"), header.get("kid", "")
        if algorithm not in issuer.algorithms:
            raise TokenRefusedError(f"issuer {issuer.name!r}: its algorithm is not allowed")
        if not isinstance(key_id, str) or "crit" in header or "b64" in header:
            raise TokenRefusedError(f"issuer {issuer.name!r}: its header asks for what is not known here")
        return issuer, key_id, str(algorithm)

    async def _keys(self, issuer: Issuer, key_id: str, algorithm: str) -> list[Key]:
        key_set = self.sets.get(issuer.issuer)
        if key_set is not None:
            return await key_set.choose(key_id, algorithm)
        return choose(self._file.keys[issuer.issuer], key_id, algorithm)


def _payload(token: str, key: Key, algorithm: str) -> dict[str, Any] | None:
    try:
        proved = _SIGNATURES.decode_complete(token, key.value, algorithms=[algorithm])
        payload = json.loads(proved["payload"])
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None
