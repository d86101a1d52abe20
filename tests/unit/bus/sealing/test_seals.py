"""Seals: rotation, removal, files that come late; what does not open is said, never passed over."""

from pathlib import Path

import pytest
import structlog

from runcast.bus.health import Dependency, State
from runcast.bus.sealing.keysfile import KeysFileError
from runcast.bus.sealing.seals import KeyMissingError, Seals, UnreadableError
from runcast.wire import limits_sealing
from runcast.wire.ids import UserKey
from tests.unit.bus.sealing.keys import tenant, write

ALICE, BOB, GLOBEX = UserKey("acme", "alice"), UserKey("acme", "bob"), UserKey("globex", "alice")
PLACE = "ev.0.acme.alice"


class Process:
    """A process's seals, with a clock of the test's own."""

    def __init__(self, file: Path | None = None) -> None:
        self.now = 1_000_000.0
        self.health = Dependency("keys", self.now)
        log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()
        self.seals = Seals(log, self.health, clock=lambda: self.now, wall=lambda: self.now)
        self.seals.load(str(file) if file else "")

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.seals.look()

    def sealed(self, payload: bytes = b"secret", user: UserKey = ALICE) -> bytes:
        return self.seals.seal(user, PLACE, payload)

    def why(self, data: bytes, user: UserKey = ALICE, place: str = PLACE) -> tuple[str, bool]:
        """Why it does not open, and whether waiting may help."""
        with pytest.raises(UnreadableError) as caught:
            self.seals.open(user, place, data)
        assert caught.value.code.name == "unreadable"
        assert self.health.state is State.DEGRADED
        return caught.value.why, caught.value.waits


def test_without_a_file_everything_is_plain_text() -> None:
    process = Process()
    assert process.sealed() == b"secret"
    assert process.seals.open(ALICE, PLACE, b"secret") == b"secret"
    assert process.health.state is State.OK


def test_two_tenants_one_of_them_with_keys(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("acme", "k1")))
    assert b"secret" not in process.sealed()
    assert process.seals.open(ALICE, PLACE, process.sealed()) == b"secret"
    assert process.sealed(user=GLOBEX) == b"secret"
    assert process.seals.open(ALICE, PLACE, b"") == b"", "a marker has nothing to open"


def test_a_tenant_without_keys_can_be_refused(tmp_path: Path) -> None:
    process = Process(write(tmp_path, 'unlisted = "refuse"', tenant("acme", "k1")))
    with pytest.raises(KeyMissingError) as caught:
        process.sealed(user=GLOBEX)
    code = caught.value.code
    assert (code.name, code.retry, code.definite) == ("key_missing", True, True)
    assert caught.value.retry_after_s > 0


def test_rotation_the_new_one_seals_and_the_old_one_still_opens(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("acme", "k1")))
    old = process.sealed()
    write(tmp_path, tenant("acme", "k2", "k1", "k2"))
    process.pass_time(1)
    new = process.sealed()
    assert (b"k1" in old, b"k2" in new) == (True, True)
    assert [process.seals.open(ALICE, PLACE, each) for each in (old, new)] == [b"secret", b"secret"]


def test_a_key_that_is_removed_too_soon_is_told_until_it_is_back(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("acme", "k1")))
    old = process.sealed()
    write(tmp_path, tenant("acme", "k2"))
    process.pass_time(limits_sealing.KEY_WAIT_S + 1)
    assert process.health.state is State.OK, "nobody asked for it yet"
    assert process.why(old) == ("key", False)
    assert "k1" in process.health.reason
    assert process.seals.open(ALICE, PLACE, process.sealed()) == b"secret"
    process.pass_time(limits_sealing.UNREADABLE_REMEMBERED_S - 1)
    assert process.health.state is State.DEGRADED
    process.why(old)
    write(tmp_path, tenant("acme", "k2", "k1", "k2"))
    process.pass_time(1)
    assert process.health.state is State.OK
    assert process.seals.open(ALICE, PLACE, old) == b"secret"


def test_what_is_not_met_any_more_is_forgotten(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("acme", "k1")))
    process.why(process.sealed()[:-1])
    process.pass_time(limits_sealing.UNREADABLE_REMEMBERED_S)
    assert process.health.state is State.OK


def test_a_key_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    writer = Process(write(first, tenant("acme", "k2", "k1", "k2")))
    reader = Process(write(second, tenant("acme", "k1")))
    data = writer.sealed()
    reader.now = writer.now + limits_sealing.KEY_LOOK_S
    assert reader.why(data) == ("key", True)
    write(second, tenant("acme", "k1", "k1", "k2"))
    assert reader.why(data) == ("key", True), "the file was looked at just now"
    reader.now += limits_sealing.KEY_LOOK_S
    assert reader.seals.open(ALICE, PLACE, data) == b"secret", "an unknown key has the file looked at"


def test_what_was_changed_or_moved_is_told_at_once(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("acme", "k1")))
    data = process.sealed()
    assert process.why(data[:-1] + bytes([data[-1] ^ 1])) == ("changed", False)
    assert process.why(data, place="ev.0.acme.bob", user=BOB) == ("changed", False)
    assert process.why(data, user=BOB) == ("changed", False)
    assert process.why(data[:20]) == ("changed", False)
    assert process.why(b"\0RC\x02" + data[4:]) == ("changed", False)


def test_a_tenant_s_keys_open_nothing_of_another(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("acme", "k1"), tenant("globex", "k9")))
    assert process.why(process.sealed(), user=GLOBEX)[0] == "key"


def test_plain_text_is_read_until_it_is_refused(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("acme", "k1")))
    assert process.seals.open(ALICE, PLACE, b"from before") == b"from before"
    write(tmp_path, tenant("acme", "k1", more="plain = false"))
    process.pass_time(1)
    assert process.why(b"forged") == ("plain", False)
    assert process.seals.open(ALICE, PLACE, b"") == b""


def test_what_was_sealed_by_everybody_s_key_opens_after_the_tenant_got_its_own(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("*", "all")))
    old = process.sealed()
    write(tmp_path, tenant("*", "all"), tenant("acme", "k1"))
    process.pass_time(1)
    assert process.seals.open(ALICE, PLACE, old) == b"secret"
    assert b"k1" in process.sealed()


def test_a_file_that_can_not_be_used_changes_nothing_and_is_told(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("acme", "k1")))
    write(tmp_path, "[tenants")
    process.pass_time(1)
    assert process.health.state is State.DEGRADED
    assert process.seals.open(ALICE, PLACE, process.sealed()) == b"secret"
    (tmp_path / "keys.toml").unlink()
    process.pass_time(1)
    assert b"secret" not in process.sealed()
    write(tmp_path, tenant("acme", "k1"))
    process.pass_time(1)
    assert process.health.state is State.OK


def test_a_file_that_is_not_there_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeysFileError):
        Process(tmp_path / "keys.toml")


def test_the_key_of_a_user_changes_with_the_day(tmp_path: Path) -> None:
    process = Process(write(tmp_path, tenant("acme", "k1")))
    yesterday = process.sealed()
    process.pass_time(86_400)
    assert process.seals.open(ALICE, PLACE, yesterday) == process.seals.open(ALICE, PLACE, process.sealed()) == b"secret"
