"""Where a connection comes from: the address that is counted, past the proxies that are trusted. Pure.

Theory. `X-Forwarded-For` says whatever its sender wants; each proxy appends the address that it saw. So it is read from its end, and only
as far as proxies of ours wrote it: the first address that is none of theirs is the device's. Nobody else's header is looked at.

An IPv6 address is counted by its /64: a household, or one rented machine, has that many addresses for itself.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from runcast.wire import limits_floods

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SITE: Final = 64
"""Bits of an IPv6 address that are counted."""


class Proxies:
    """Those that are trusted.

    Args:
        networks: such as "10.0.0.0/8" or "192.0.2.7".

    Raises:
        ValueError: one is no network; the message names it.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [_network(text) for text in networks]

    def trusts(self, address: str) -> bool:
        """Whether what this peer says of others is believed."""
        parsed = _parse(address)
        return parsed is not None and self._trusts(parsed)

    def find(self, peer: str, forwarded: Sequence[str]) -> str:
        """The address of the device.

        Args:
            peer: of the TCP connection.
            forwarded: the request's X-Forwarded-For headers, in their order.
        """
        found = peer
        hops = [hop for header in forwarded for hop in header.rsplit(",", limits_floods.FORWARDED_HOPS_MAX)]
        for hop in reversed(["", *hops[-limits_floods.FORWARDED_HOPS_MAX :]]):
            if not self.trusts(found):
                break
            parsed = _parse(hop)
            if parsed is None:  # nothing further, or nonsense: the proxy that passed it on answers for it
                break
            found = str(parsed)
        return found

    def _trusts(self, address: _Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def counted(address: str) -> str:
    """What an address is counted under: itself, or its /64."""
    parsed = _parse(address)
    if parsed is None:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed) >> _SITE << _SITE, _SITE)))


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network; expected such as 10.0.0.0/8 or 192.0.2.7") from None


def _parse(text: str) -> _Address | None:
    text = text.strip().partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
