"""How long something is kept, and what finding it proves."""

import math

import pytest

from runcast.bus.policy.policyfile import parse_policy
from runcast.bus.retention import age_s, keep_all, proves, rest_s, retention_of, shorter, ttl_s

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("retention_s", "age", "ttl"),
    [(math.inf, DAY_S, 0), (DAY_S, DAY_S, 0), (3600.9, DAY_S, 3600), (600.0, math.inf, 600), (0.4, DAY_S, 1), (keep_all("t"), DAY_S, 0)],
)
def test_only_what_is_kept_for_less_is_told_to_storage(retention_s: float, age: float, ttl: int) -> None:
    assert ttl_s(retention_s, age) == ttl


def test_a_tier_says_it_and_the_longest_is_as_long_as_the_streams() -> None:
    policy = parse_policy('[tenants]\na = "brief"\n[tiers.brief]\nretention_s = 600\n')
    assert (retention_of(policy.of)("a"), retention_of(policy.of)("b")) == (600.0, math.inf)


def test_what_is_short_lived_anyway_may_get_shorter() -> None:
    assert (shorter(3600.0, math.inf), shorter(3600.0, 600.5), shorter(3600.0, DAY_S)) == (3600, 600, 3600)


@pytest.mark.parametrize(("age", "rest"), [(0.0, 600), (-5.0, 600), (200.9, 400), (599.0, 1), (10_000.0, 1)])
def test_what_moves_to_another_stream_takes_the_rest_of_its_time_along(age: float, rest: int) -> None:
    assert rest_s(600, age) == rest


@pytest.mark.parametrize(
    ("stored_at", "age"),
    [
        ("2026-11-21T14:43:42.123456789Z", 0.876543211),
        ("2026-11-21T14:43:42Z", 1.0),
        ("2026-11-21T14:43:42.5Z", 0.5),
        ("", math.inf),
        ("yesterday", math.inf),
    ],
)
def test_the_age_of_a_message(stored_at: str, age: float) -> None:
    assert age_s(stored_at, 1795272223.0) == pytest.approx(age, abs=1e-6)


def test_an_old_message_is_no_proof() -> None:
    now = 1795272223.0
    assert proves("2026-11-21T14:43:42Z", now, 600.0)
    assert not proves("2026-11-21T14:33:44Z", now, 600.0)
    assert not proves("", now, 600.0)
