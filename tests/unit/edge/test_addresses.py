"""Which address a connection is counted under; nobody but a trusted proxy can say another one."""

import pytest

from runcast.edge.addresses import Proxies, counted
from runcast.wire import limits_floods

PROXIES = Proxies(["10.0.0.0/8", "2001:db8:aaaa::/48", "192.0.2.7"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # not one of ours: it may say what it likes
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # what the device itself wrote lies further back
        ("10.1.2.3", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1, 192.0.2.7, 10.9.9.9"], "198.51.100.1"),
        ("10.1.2.3", ["10.4.4.4, 10.5.5.5"], "10.4.4.4"),  # all are ours: the furthest
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["unknown"], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1, nonsense"], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.2.3", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("2001:db8:aaaa::5", ["2001:db8::1"], "2001:db8::1"),
        ("10.1.2.3", [", ".join(["6.6.6.6"] * 5000 + ["198.51.100.1"])], "198.51.100.1"),
    ],
)
def test_the_device_is_behind_the_last_proxy_of_ours(peer: str, forwarded: list[str], found: str) -> None:
    assert PROXIES.find(peer, forwarded) == found


def test_so_many_hops_are_looked_at() -> None:
    hops = ["198.51.100.1", *["10.0.0.1"] * limits_floods.FORWARDED_HOPS_MAX]
    assert PROXIES.find("10.1.2.3", [", ".join(hops)]) == "10.0.0.1"


def test_without_proxies_nobody_is_believed() -> None:
    assert Proxies([]).find("127.0.0.1", ["1.1.1.1"]) == "127.0.0.1"
    assert not Proxies([]).trusts("127.0.0.1")
    assert not PROXIES.trusts("not an address")


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "unknown"),
    ],
)
def test_what_is_counted_is_the_address_or_its_site(address: str, key: str) -> None:
    assert counted(address) == key


@pytest.mark.parametrize("text", ["nonsense", "10.0.0.0/33", ""])
def test_no_network_is_a_problem(text: str) -> None:
    with pytest.raises(ValueError, match="no network"):
        Proxies([text])
