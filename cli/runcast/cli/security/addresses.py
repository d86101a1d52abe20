"""The addresses by which other machines reach this one (Linux)."""

import fcntl
import ipaddress
import socket
import struct
from typing import Final

_SIOCGIFADDR: Final = 0x8915


def own_addresses() -> list[str]:
    """Addresses of this machine's interfaces but loopback; IPv4, and the IPv6 ones that its name has."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has none
            found.append(socket.inet_ntoa(answer[20:24]))
    try:
        named = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        named = []
    found += [str(entry[4][0]).partition("%")[0] for entry in named]
    return [address for address in dict.fromkeys(found) if not ipaddress.ip_address(address).is_loopback]
