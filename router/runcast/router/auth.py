"""Who is calling: what a call says of its caller becomes a principal, or the call ends.

Rules: a caller that is not accepted is told that, and nothing more; why is for the log (`runcast.bus.denials`). In token mode exactly
one `authorization: Bearer ...` counts: an API key, or a JWT of an issuer of agents. In mtls mode the client certificate counts, which gRPC
has checked: its subject alternative names, or, if it has none, its common name.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol

import grpc.aio

from runcast.bus.denials import Denials
from runcast.bus.guard import Guard
from runcast.bus.identity.agents import Agent
from runcast.bus.identity.apikeys import looks_like_key
from runcast.bus.identity.authfile import AuthFile
from runcast.bus.identity.callers import Caller, read_caller
from runcast.bus.identity.claims import ClaimsRefusedError, read_text
from runcast.bus.identity.jwt import TokenRefusedError
from runcast.bus.identity.scopes import EVERYTHING, Scopes
from runcast.bus.identity.trust import Trust
from runcast.bus.revocations import Peer
from runcast.bus.rpc_status import refuse_call
from runcast.wire.errors import RuncastError
from runcast.wire.targets import targets_of_agent

Mode = Literal["token", "mtls"]


class Principal:
    """Who a caller was found to be.

    Attributes:
        name: for logs; never a secret.
        scopes: what it may do, by the auth file in force.
        expires_at: its proof is good until then, Unix seconds; infinity for always.
        token_id: of its token, for revocation; "" when it has none.
        issued_at: of its token, Unix seconds; 0.0 when it does not say.
        find: who it is by another auth file; None when it is nobody there.
    """

    __slots__ = ("expires_at", "find", "issued_at", "name", "scopes", "token_id")

    def __init__(
        self,
        name: str,
        scopes: Scopes,
        find: "Callable[[AuthFile], Agent | None] | None" = None,
        *,
        expires_at: float = math.inf,
        token_id: str = "",
        issued_at: float = 0.0,
    ) -> None:
        self.name = name
        self.scopes = scopes
        self.find = find
        self.expires_at = expires_at
        self.token_id = token_id
        self.issued_at = issued_at

    @property
    def peer(self) -> Peer:
        """By what it can be kept out."""
        return Peer(targets_of_agent(self.name, self.token_id), self.issued_at)


class Authenticator(Protocol):
    """Decides who a caller is."""

    async def authenticate(self, caller: Caller) -> Principal:
        """Say who is calling.

        Raises:
            RuncastError: `unauthenticated`, `token_expired` or `unavailable`; a TokenRefusedError has the reason, for the log.
        """
        ...


class DevAuthenticator:
    """Development mode: believes everybody. Settings see to it that the port is on loopback."""

    async def authenticate(self, caller: Caller) -> Principal:
        """Name the caller by its address."""
        return Principal(caller.peer, EVERYTHING)


class FileAuthenticator:
    """Believes the agents of the auth file.

    Args:
        trust: the auth file in force.
        mode: what counts.
    """

    def __init__(self, trust: Trust, mode: Mode) -> None:
        self._trust = trust
        self._mode = mode

    async def authenticate(self, caller: Caller) -> Principal:
        """See `Authenticator`."""
        if self._mode == "mtls":
            return self._by_certificate(caller)
        token = caller.bearer()
        return self._by_key(token) if looks_like_key(token) else await self._by_token(token)

    def _by_certificate(self, caller: Caller) -> Principal:
        names = caller.certificate_names
        agent = self._trust.file.agents.by_certificate(names)
        if agent is None:
            raise TokenRefusedError("its certificate is nobody's, or of several agents")
        return Principal(agent.name, agent.scopes, lambda file: file.agents.by_certificate(names))

    def _by_key(self, token: str) -> Principal:
        agents = self._trust.file.agents
        key_id, agent = agents.by_key(token)
        if agent is None:
            raise TokenRefusedError("its API key is not one of the auth file's")
        digest = agents.keys[key_id][0]

        def find(file: AuthFile) -> Agent | None:
            kept, owner = file.agents.keys.get(key_id, ("", None))
            return owner if owner is not None and kept == digest and owner.name == agent.name else None

        return Principal(agent.name, agent.scopes, find, token_id=key_id)

    async def _by_token(self, token: str) -> Principal:
        verified = await self._trust.verify(token, "agents")
        issuer, term = verified.issuer, verified.term
        try:
            subject = read_text(verified.payload, issuer.user_path)
        except ClaimsRefusedError as exc:
            raise TokenRefusedError(f"issuer {issuer.name!r}: {exc}") from exc
        agent = self._trust.file.agents.by_token(issuer.name, subject)
        if agent is None:
            raise TokenRefusedError(f"issuer {issuer.name!r}: its subject is none of the auth file's agents")
        return Principal(
            agent.name,
            agent.scopes,
            lambda file: file.agents.by_token(issuer.name, subject) if issuer.issuer in file.issuers else None,
            expires_at=term.expires_at,
            token_id=term.token_id,
            issued_at=term.issued_at,
        )


class GuardedAuthenticator:
    """Keeps out whom operators revoke.

    Args:
        authenticator: says who is calling.
        guard: of the process.
    """

    def __init__(self, authenticator: Authenticator, guard: Guard) -> None:
        self._authenticator = authenticator
        self._guard = guard

    async def authenticate(self, caller: Caller) -> Principal:
        """See `Authenticator`; `revoked`, too."""
        principal = await self._authenticator.authenticate(caller)
        self._guard.check(principal.peer)
        return principal


async def admit(authenticator: Authenticator, context: "grpc.aio.ServicerContext[Any, Any]", denials: Denials) -> Principal:
    """Authenticate the caller of an RPC, or end the RPC."""
    caller = read_caller(context)
    try:
        return await authenticator.authenticate(caller)
    except RuncastError as exc:
        reason = exc.reason if isinstance(exc, TokenRefusedError) else exc.message
        denials.note(caller.host, exc.code.name, reason)
        await refuse_call(context, exc)
