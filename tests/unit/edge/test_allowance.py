"""What devices may use, by tier: a tenant's connections, a user's sends; nobody else's."""

import pytest

from runcast.bus.policy.tiers import Tier
from runcast.edge.allowance import Allowance
from runcast.wire import limits_floods
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey

TIERS = {"small": Tier(connections=2, sends_per_s=1.0, devices_per_user=3, egress_bytes_per_s=5000.0)}
ANN, BOB, OTHER = UserKey("small", "ann"), UserKey("small", "bob"), UserKey("other", "ann")


def allowance() -> Allowance:
    return Allowance(lambda tenant: TIERS.get(tenant, Tier()))


def test_a_tenant_has_so_many_connections() -> None:
    book = allowance()
    book.connect(ANN)
    book.connect(BOB)
    with pytest.raises(RuncastError) as caught:
        book.connect(ANN)
    assert (caught.value.code.name, caught.value.retry_after_s) == ("rate_limited", limits_floods.CONNECTIONS_RETRY_S)
    book.connect(OTHER)
    book.leave(BOB)
    book.connect(ANN)


def test_a_user_sends_at_a_rate_and_is_told_when_to_send_again() -> None:
    book = allowance()
    for _ in range(2):  # the burst of two seconds
        book.send(ANN, 0.0)
    with pytest.raises(RuncastError) as caught:
        book.send(ANN, 0.0)
    assert caught.value.code.name == "rate_limited"
    assert caught.value.code.retry
    book.send(BOB, 0.0)
    book.send(OTHER, 0.0)
    book.send(ANN, caught.value.retry_after_s)


def test_the_rest_is_the_tiers() -> None:
    assert allowance().devices(ANN) == 3
    assert allowance().egress(ANN).per_s == 5000.0
    book = allowance()
    assert book.spent(ANN, "d") is book.spent(ANN, "d")
    assert book.spent(ANN, "d") is not book.spent(OTHER, "d")
    assert allowance().devices(OTHER) == Tier().devices_per_user


def test_another_policy_counts_at_once() -> None:
    tier = [Tier(connections=1)]
    book = Allowance(lambda _: tier[0])
    book.connect(ANN)
    with pytest.raises(RuncastError):
        book.connect(ANN)
    tier[0] = Tier(connections=2)
    book.connect(ANN)
