"""Makes tokens for development and tests, of issuers whose secret the auth file holds. Real tokens are made by real issuers.

Rules: a token says what the auth file asks of it and no more; it is checked before it is handed out, so that one that comes from here
counts there. Time and the id of the token are arguments.
"""

import json
from collections.abc import Sequence
from typing import Any

import jwt

from runcast.bus.identity.authfile import AuthFile, Issuer
from runcast.bus.identity.claims import ClaimsRefusedError, check_claims, read_user
from runcast.bus.identity.keys import SECRET


class NotMintedError(ValueError):
    """No such token can be made; the message says what to do."""


def mint(file: AuthFile, *, issuer: str, user: str, tenant: str, lifetime_s: float, now: float, token_id: str) -> str:
    """A token.

    Args:
        file: the auth file.
        issuer: name of the issuer in it; "" for the only one that can.
        user: id of the user.
        tenant: id of the tenant; "" for the issuer's own.
        lifetime_s: how long it counts, seconds; less than 0 for one that is over.
        now: Unix seconds.
        token_id: its `jti`.

    Raises:
        NotMintedError: no issuer can, or its tokens can't say that.
    """
    chosen = _choose(file, issuer)
    if tenant and chosen.tenant and tenant != chosen.tenant:
        raise NotMintedError(f"issuer {chosen.name!r} has users of tenant {chosen.tenant!r} alone; leave the tenant out")
    payload: dict[str, Any] = {
        "iss": chosen.issuer,
        "aud": chosen.audience[0],
        "iat": int(now),
        "exp": int(now + lifetime_s),
        "jti": token_id,
    }
    _put(payload, chosen.user_claim, user)
    if chosen.tenant_claim:
        _put(payload, chosen.tenant_claim, tenant or (chosen.tenants[0] if chosen.tenants else "default"))
    try:
        check_claims(payload | {"exp": max(payload["exp"], int(now) + 1)}, chosen.expected, now)
        if chosen.peers == "users":
            read_user(payload, chosen.user_path, chosen.tenant_claim, chosen.tenant, chosen.tenants)
    except ClaimsRefusedError as exc:
        raise NotMintedError(f"issuer {chosen.name!r} would not be believed: {exc}") from exc
    key = file.keys[chosen.issuer][0].value
    return jwt.PyJWS().encode(json.dumps(payload).encode(), key, chosen.algorithms[0], headers={"typ": "JWT"})


def _choose(file: AuthFile, name: str) -> Issuer:
    able = [each for each in file.issuers.values() if any(key.kind == SECRET for key in file.keys.get(each.issuer, ()))]
    found = [each for each in able if name in ("", each.name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(each.name for each in able)
    if not able:
        raise NotMintedError(
            "no issuer in the auth file has a secret, and only that can be used here: who has the private key makes tokens"
        )
    raise NotMintedError(f"name one of the issuers that have a secret: {names}")


def _put(payload: dict[str, Any], path: str | Sequence[str], value: str) -> None:
    *way, last = [path] if isinstance(path, str) else path
    for name in way:
        payload = payload.setdefault(name, {})
    payload[last] = value
