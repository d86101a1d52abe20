"""Who may come in: the one way from what a peer says of itself to a user, for every transport.

A token proves the user; then nobody may have revoked the user, the device or the token. What is refused is logged once for each caller and
reason, and tells a guesser nothing.
"""

from runcast.bus.denials import Denials
from runcast.bus.guard import Guard
from runcast.bus.identity.claims import Identity, Term
from runcast.bus.identity.jwt import TokenRefusedError
from runcast.bus.revocations import Peer
from runcast.edge.auth import Authenticator
from runcast.edge.handshake import Handshake
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey
from runcast.wire.targets import targets_of_device

FOREIGN = "pages of this origin may not connect here"


class Door:
    """Of one edge.

    Args:
        auth: turns tokens into users.
        guard: keeps out who was revoked.
        denials: counts and logs refusals.
    """

    def __init__(self, auth: Authenticator, guard: Guard, denials: Denials) -> None:
        self._auth = auth
        self._guard = guard
        self._denials = denials

    async def enter(self, handshake: Handshake, hello_token: str, device: str, address: str) -> Identity:
        """Find out whose device it is.

        Args:
            handshake: what it said when it came.
            hello_token: what it said in its first frame.
            device: its id.
            address: where it came from, for the log.

        Raises:
            RuncastError: see `Authenticator.authenticate`; `origin_refused`, `revoked`.
            UnavailableError: it is not known now who is kept out.
        """
        token = handshake.choose(hello_token)
        try:
            if not token and handshake.cookie:
                raise RuncastError(FOREIGN, code="origin_refused")
            return await self._check(token, handshake, device)
        except RuncastError as exc:
            self.refused(address, exc)
            raise

    async def renew(self, handshake: Handshake, token: str, user: UserKey | None, device: str, address: str) -> Identity:
        """Check a new token of a user who is in; arguments and errors as for `enter`."""
        try:
            identity = await self._check(token, handshake, device)
            if identity.user != user:
                raise RuncastError("the new token is another user's; connect anew for another user", code="unauthenticated")
            return identity
        except RuncastError as exc:
            self.refused(address, exc)
            raise

    def refused(self, address: str, error: RuncastError) -> None:
        """Somebody was."""
        self._denials.note(address, error.code.name, error.reason if isinstance(error, TokenRefusedError) else error.message)

    async def _check(self, token: str, handshake: Handshake, device: str) -> Identity:
        identity = await self._auth.authenticate(token, handshake.headers)
        await self._guard.ready()
        self._guard.check(peer_of(identity.user, device, identity.term))  # from here to the caller nothing waits: the guard looks next
        return identity


def peer_of(user: UserKey, device: str, term: Term) -> Peer:
    """What a revocation is compared with."""
    return Peer(targets_of_device(user, device, term.token_id), term.issued_at)
