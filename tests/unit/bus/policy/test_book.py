"""The policy in force follows its file, but never into a file that can't be used."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from runcast.bus.policy.book import PolicyBook
from runcast.bus.policy.policyfile import PolicyFileError


def book(path="", *, development=False) -> PolicyBook:
    return PolicyBook(str(path), development=development, log=structlog.get_logger())


def write(tmp_path, text: str):
    """In another file, put in its place: as editors and mounted volumes do it."""
    path, other = tmp_path / "policy.toml", tmp_path / "other"
    other.write_text(text)
    return other.replace(path)


def test_without_a_file():
    assert book().of("acme").name == "standard"
    assert book(development=True).of("acme").name == "unlimited"
    assert book().report() == {"state": "ok", "reason": ""}


def test_development_mode_has_the_file_s_policy_if_there_is_one(tmp_path):
    assert book(write(tmp_path, ""), development=True).of("acme").name == "standard"


async def test_a_changed_file_comes_into_force_by_itself(tmp_path):
    made = book(write(tmp_path, 'default = "free"'))
    replaced = asyncio.Event()
    made.replaced.append(replaced.set)
    running = asyncio.ensure_future(made.run(every_s=0.01))
    try:
        assert made.of("acme").name == "free"
        write(tmp_path, 'default = "free"\n[tenants]\nacme = "enterprise"')
        await asyncio.wait_for(replaced.wait(), 5)
        assert (made.of("acme").name, made.of("globex").name) == ("enterprise", "free")
    finally:
        running.cancel()


def test_a_file_that_can_not_be_used_does_not(tmp_path):
    made = book(write(tmp_path, 'default = "free"'))
    with capture_logs() as logs:
        for _ in range(3):
            write(tmp_path, 'default = "gold"')
            made.look()
    assert [log["event"] for log in logs] == ["policy_file_refused"], "said once"
    assert made.of("acme").name == "free"
    assert made.report()["state"] == "degraded"
    write(tmp_path, 'default = "enterprise"')
    made.look()
    assert made.of("acme").name == "enterprise"
    assert made.report()["state"] == "ok"


def test_a_file_that_is_gone_and_back_again(tmp_path):
    path = write(tmp_path, 'default = "free"')
    made = book(path)
    path.unlink()
    made.look()
    assert made.report()["state"] == "degraded"
    write(tmp_path, 'default = "free"')
    made.look()
    assert made.report()["state"] == "ok"


def test_there_is_no_start_with_a_file_that_can_not_be_used(tmp_path):
    with pytest.raises(PolicyFileError):
        book(tmp_path / "policy.toml")
