"""Sessions end in time, with their credentials, and are bounded."""

import pytest

from runcast.admin.sessions import Sessions
from runcast.admin.web_rules import CSP, network_of
from runcast.bus.identity.admins import EVERYBODY, Admin
from runcast.wire import limits_admin

IDLE, ALL = limits_admin.SESSION_IDLE_S, limits_admin.SESSION_S


def found() -> Admin | None:
    return EVERYBODY


def test_a_session_is_found_by_its_secret_alone() -> None:
    sessions = Sessions()
    session = sessions.open("secret", found, 0.0)
    assert sessions.use("secret", 1.0) == (session, EVERYBODY)
    for wrong in ("", "Secret", "secret ", "\udcff"):
        assert sessions.use(wrong, 1.0) is None
    assert "secret" not in repr(vars(sessions))  # only its digest is kept


def test_it_ends_when_it_is_not_used() -> None:
    sessions = Sessions()
    sessions.open("s", found, 0.0)
    assert sessions.use("s", IDLE - 1) is not None
    assert sessions.use("s", 2 * IDLE - 2) is not None
    assert sessions.use("s", 3 * IDLE - 2) is None
    assert len(sessions) == 0


def test_it_ends_however_much_it_is_used() -> None:
    sessions, now = Sessions(), 0.0
    sessions.open("s", found, now)
    while sessions.use("s", now) is not None:
        now += IDLE / 2
    assert ALL <= now < ALL + IDLE


def test_it_ends_with_what_it_was_opened_with_and_roles_change_at_once() -> None:
    sessions = Sessions()
    known: list[Admin | None] = [EVERYBODY]
    sessions.open("s", lambda: known[0], 0.0)
    known[0] = Admin(name="ops", roles=("view",))
    used = sessions.use("s", 1.0)
    assert used is not None
    assert used[1].roles == ("view",)
    known[0] = None
    assert sessions.use("s", 2.0) is None
    known[0] = EVERYBODY
    assert sessions.use("s", 3.0) is None  # it does not come back


def test_logging_out_ends_it() -> None:
    sessions = Sessions()
    sessions.open("s", found, 0.0)
    sessions.close("s")
    sessions.close("s")
    assert sessions.use("s", 0.0) is None


def test_the_longest_unused_goes_when_there_are_too_many() -> None:
    sessions = Sessions()
    for number in range(limits_admin.SESSIONS_MAX):
        sessions.open(f"s{number}", found, 0.0)
    assert sessions.use("s0", 1.0) is not None
    sessions.open("another", found, 2.0)
    assert len(sessions) == limits_admin.SESSIONS_MAX
    assert sessions.use("s1", 2.0) is None
    assert sessions.use("s0", 2.0) is not None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1%eth0", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
    ],
)
def test_wrong_logins_are_counted_by_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_the_policy_for_content_allows_nothing_inline() -> None:
    assert "unsafe" not in CSP
    assert "default-src 'none'" in CSP
    assert all(part.split(" ", 1)[1] in ("'self'", "'none'", "'script'") for part in CSP.split("; "))


def test_looking_on_does_not_keep_it() -> None:
    sessions = Sessions()
    sessions.open("s", found, 0.0)
    assert sessions.look("s", IDLE - 1) is EVERYBODY
    assert sessions.look("s", IDLE) is None
    assert sessions.look("other", 0.0) is None
    assert sessions.use("s", IDLE) is None
