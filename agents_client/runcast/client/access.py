"""How an agent gets in: TLS, and the token that says who it is.

Rules: files and tokens are asked for anew for each stream, so certificates and tokens may change while the agent runs. A token is sent
over plain text to loopback only, unless that was allowed in so many words. It is never logged, and in no message.

Never imports grpc.
"""

import inspect
import ipaddress
from collections.abc import Awaitable, Callable, Sequence

from runcast.client.rim import time_limit
from runcast.client.tls import Tls
from runcast.wire import limits_client, limits_identity
from runcast.wire.errors import UnavailableError

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or what returns one."""
Metadata = tuple[tuple[str, str], ...]


class Access:
    """How each stream gets in.

    Args:
        targets: the routers, host:port.
        tls: None for plain text.
        token: None for none.
        insecure_token: send it over plain text to any host.

    Attributes:
        tls: as given; True has become `Tls()`.
        renewable: the token may be another one next time.

    Raises:
        ValueError: the token would go over plain text to another machine, or is none.
    """

    def __init__(
        self, targets: Sequence[str] = (), *, tls: bool | Tls = False, token: Token | None = None, insecure_token: bool = False
    ) -> None:
        self.tls: Tls | None = Tls() if tls is True else tls or None
        self.renewable = callable(token)
        self._token = token
        if token is None or callable(token):
            pass
        elif not _is_token(token):
            raise ValueError("the token is no token: it is empty, or has characters that no token has")
        exposed = [target for target in targets if not _is_loopback(target.rpartition(":")[0])]
        if token is not None and self.tls is None and exposed and not insecure_token:
            raise ValueError(
                f"the token would go to {exposed[0]} in plain text; give tls=True or tls=Tls(...), or insecure_token=True if that is safe"
            )

    async def metadata(self) -> Metadata:
        """What a call says about us.

        Raises:
            UnavailableError: there is no token just now.
        """
        if self._token is None:
            return ()
        token = self._token if isinstance(self._token, str) else await self._ask(self._token)
        return (("authorization", f"Bearer {token}"),)

    async def _ask(self, source: Callable[[], str | Awaitable[str]]) -> str:
        try:
            async with time_limit(limits_client.TOKEN_TIMEOUT_S):
                given = source()
                token = await given if inspect.isawaitable(given) else given
        except Exception as exc:
            raise UnavailableError(f"`token` gave none: {type(exc).__name__}; it is asked again") from exc
        if not isinstance(token, str) or not _is_token(token):
            raise UnavailableError("`token` gave something that is no token; it is asked again")
        return token


def _is_token(text: str) -> bool:
    return 0 < len(text) <= limits_identity.TOKEN_BYTES_MAX and all("!" <= char <= "~" for char in text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
