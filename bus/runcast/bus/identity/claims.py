"""What a token whose signature is good says, and whether that counts here. Pure.

Theory. A signature proves who wrote the claims, nothing more. They count when they were written for this deployment (`iss`, `aud`), count
now (`exp`, `nbf`, `iat`), and name a user, under claims that the operator chose, within tenants that the operator gave to this issuer.

Rules: every claim that is needed must be there and of its type; what is wrong is refused before what is merely too old, so that only a
token that was good once is answered `token_expired`. `exp` is required: a token that never ends can't be taken back.
Invariant: a `UserKey` that comes from here consists of ids (`check_id`), and its tenant is one that the issuer may speak for.

RFC 7519, 4.1. `now` is an argument; imports no asyncio, clock, randomness, logging, grpc, nats or aiohttp.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import UserKey, check_id

ClaimPath = str | Sequence[str]
"""Where a claim is: its name (dots are part of it), or the names on the way to a nested one."""


class ClaimsRefusedError(Exception):
    """The claims do not count. `str(error)` is for the operator's log, never for the peer.

    Attributes:
        expired: they did count, and are only too old.
    """

    def __init__(self, reason: str, *, expired: bool = False) -> None:
        super().__init__(reason)
        self.expired = expired


class Expected(NamedTuple):
    """What claims must say to count here.

    Attributes:
        issuer: `iss`, exactly.
        audience: of these `aud` must name at least one.
        leeway_s: how far the issuer's clock may be off.
        lifetime_max_s: longest time from `iat` to `exp`; 0.0 for any.
    """

    issuer: str
    audience: Collection[str]
    leeway_s: float
    lifetime_max_s: float = 0.0


class Term(NamedTuple):
    """The time of a token that counts.

    Attributes:
        expires_at: from then on it does not count, Unix seconds; leeway is in it.
        issued_at: when it was written, Unix seconds; 0.0 when it does not say.
        token_id: its `jti`; "" when it has none.
    """

    expires_at: float
    issued_at: float
    token_id: str


class Identity(NamedTuple):
    """A user, proved.

    Attributes:
        user: who it is.
        term: of the proof.
        issuer: name of the issuer in the auth file, for logs.
    """

    user: UserKey
    term: Term
    issuer: str


def check_claims(payload: Mapping[str, Any], expected: Expected, now: float) -> Term:
    """Find out whether the claims count now.

    Args:
        payload: of a token whose signature is good.
        expected: of its issuer.
        now: Unix seconds.

    Raises:
        ClaimsRefusedError: they do not.
    """
    if payload.get("iss") != expected.issuer:
        raise ClaimsRefusedError("iss is another one")
    audience = payload.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named) or not set(named) & set(expected.audience):
        raise ClaimsRefusedError("aud does not name this deployment")
    expires, issued, begins = _time(payload, "exp"), _time(payload, "iat"), _time(payload, "nbf")
    token_id = payload.get("jti", "")
    if expires is None:
        raise ClaimsRefusedError("exp is missing")
    if not isinstance(token_id, str):
        raise ClaimsRefusedError("jti is no text")
    if begins is not None and begins > now + expected.leeway_s:
        raise ClaimsRefusedError("nbf has not come yet")
    if issued is not None and issued > now + expected.leeway_s:
        raise ClaimsRefusedError("iat has not come yet")
    if expected.lifetime_max_s and (issued is None or expires - issued > expected.lifetime_max_s):
        raise ClaimsRefusedError("exp is too long after iat")
    if now >= expires + expected.leeway_s:
        raise ClaimsRefusedError("exp is over", expired=True)
    return Term(expires + expected.leeway_s, issued or 0.0, token_id)


def read_user(payload: Mapping[str, Any], user_claim: ClaimPath, tenant_claim: ClaimPath, tenant: str, tenants: Collection[str]) -> UserKey:
    """The user that the claims name.

    Args:
        payload: claims that count.
        user_claim: where the user's id is.
        tenant_claim: where the tenant's is; "" to use `tenant`.
        tenant: of every user of the issuer, when there is no `tenant_claim`.
        tenants: what `tenant_claim` may say; empty for anything.

    Raises:
        ClaimsRefusedError: they name none, or one of a tenant that is not the issuer's.
    """
    try:
        user = check_id(read_text(payload, user_claim), "user")
        named = check_id(read_text(payload, tenant_claim) if tenant_claim else tenant, "tenant")
    except IdInvalidError as exc:
        raise ClaimsRefusedError(exc.message) from exc
    if tenant_claim and tenants and named not in tenants:
        raise ClaimsRefusedError("the tenant is not one of the issuer's")
    return UserKey(named, user)


def read_claim(payload: Mapping[str, Any], path: ClaimPath) -> Any:
    """The claim at `path`; None when there is none."""
    value: Any = payload
    for name in [path] if isinstance(path, str) else path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def read_text(payload: Mapping[str, Any], path: ClaimPath) -> str:
    """The id at `path`: a text, or a whole number, which is written in digits.

    Raises:
        ClaimsRefusedError: it is something else, or nothing.
    """
    value = read_claim(payload, path)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    if not isinstance(value, str):
        raise ClaimsRefusedError(f"the claim {_shown(path)} is no text")
    return value


def read_texts(payload: Mapping[str, Any], path: ClaimPath) -> tuple[str, ...]:
    """The texts at `path`: a list of them, or one with spaces between, as OAuth's `scope`; () when there is none.

    Raises:
        ClaimsRefusedError: it is something else.
    """
    value = read_claim(payload, path)
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise ClaimsRefusedError(f"the claim {_shown(path)} is no list of texts")


def _time(payload: Mapping[str, Any], name: str) -> float | None:
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:  # NaN is in no range
        raise ClaimsRefusedError(f"{name} is no time")
    return float(value)


def _shown(path: ClaimPath) -> str:
    return path if isinstance(path, str) else " / ".join(path)
