"""The audit log: written before it is done and before it is answered, by nobody else to be changed, and not to be flooded."""

from typing import Any

import nats.js.errors
import pytest

from runcast.admin.audit import Entry, fold, make_entry
from runcast.admin.auth import Doorman, Operator
from runcast.admin.desk import Desk
from runcast.admin.node import Node
from runcast.bus.identity.admins import EVERYBODY, Admin
from runcast.testkit import Cluster
from runcast.wire import limits_admin, subjects
from runcast.wire.errors import RuncastError, UnavailableError

OPERATOR = Operator(EVERYBODY, "ipv4:127.0.0.1")
VIEWER = Operator(Admin(name="viewer", keys=()), "ipv4:127.0.0.1")


def desk(node: Node) -> Desk:
    return Desk(node, Doorman("dev", None))


async def raw(node: Node) -> list[str]:
    """The outcomes as they are stored."""
    state = (await node.bus.js.stream_info(subjects.AUDIT_STREAM)).state
    messages = [await node.bus.js.get_msg(subjects.AUDIT_STREAM, seq) for seq in range(1, state.messages + 1)]
    return [str(message.data.partition(b'"outcome":"')[2].partition(b'"')[0], "utf-8") for message in messages]


async def test_an_action_is_written_before_it_begins_and_when_it_ended(node: Node) -> None:
    async with desk(node).doing(OPERATOR, "Revoke", target="user acme/alice", reason="left"):
        assert await raw(node) == ["begun"]
    assert await raw(node) == ["begun", "ok"]
    (entry,) = await node.audit.newest(10)
    assert (entry.by, entry.address, entry.action) == ("dev", "ipv4:127.0.0.1", "Revoke")
    assert (entry.target, entry.reason, entry.outcome) == ("user acme/alice", "left", "ok")


@pytest.mark.parametrize(
    ("raised", "outcome"), [(RuncastError("no such user", code="id_invalid"), "id_invalid"), (ZeroDivisionError(), "internal")], ids=str
)
async def test_what_failed_is_written_too(node: Node, raised: Exception, outcome: str) -> None:
    with pytest.raises(type(raised)):
        async with desk(node).doing(OPERATOR, "Erase", target="user acme/alice", reason=""):
            raise raised
    (entry,) = await node.audit.newest(10)
    assert entry.outcome == outcome


async def test_what_can_not_be_written_is_not_done(nats: Cluster, node: Node) -> None:
    assert nats.nats is not None
    await node.bus.js.delete_stream(subjects.AUDIT_STREAM)
    with pytest.raises(UnavailableError, match="nothing was done: it can't be written to the audit log"):
        async with desk(node).doing(OPERATOR, "Erase", target="", reason=""):
            pytest.fail("it was done")
    await nats.nats.kill()
    with pytest.raises(UnavailableError, match="nothing was done"):
        async with desk(node).doing(OPERATOR, "Erase", target="", reason=""):
            pytest.fail("it was done")


async def test_what_was_done_and_could_not_be_written_is_told_as_indeterminate(node: Node) -> None:
    with pytest.raises(UnavailableError, match="the audit log has only that it began") as caught:
        async with desk(node).doing(OPERATOR, "Erase", target="", reason=""):
            await node.bus.js.delete_stream(subjects.AUDIT_STREAM)
    assert caught.value.code.name == "indeterminate"


async def test_who_may_only_look_is_refused_and_that_is_written(node: Node) -> None:
    with pytest.raises(RuncastError, match="needs the role 'operate'"):
        async with desk(node).doing(VIEWER, "Erase", target="user acme/alice", reason="x"):
            pytest.fail("it was done")
    (entry,) = await node.audit.newest(10)
    assert (entry.by, entry.action, entry.target, entry.outcome) == ("viewer", "Erase", "user acme/alice", "permission_denied")
    assert node.refusals == {"permission_denied": 1}


async def test_a_reason_is_short(node: Node) -> None:
    reason = "é" * (limits_admin.REASON_BYTES_MAX // 2)
    async with desk(node).doing(OPERATOR, "Erase", target="", reason=reason):
        pass
    with pytest.raises(RuncastError) as caught:
        async with desk(node).doing(OPERATOR, "Erase", target="", reason=reason + "x"):
            pytest.fail("it was done")
    assert caught.value.code.name == "request_invalid"


async def test_refusals_do_not_drive_out_what_was_done(node: Node) -> None:
    burst = limits_admin.REFUSALS_AUDITED_BURST_MAX
    for number in range(burst + 30):
        await node.audit.refused(make_entry("GetStatus", by="", address=f"a{number}", outcome="unauthenticated"))
    entries = await node.audit.newest(100)
    assert len(entries) == burst
    assert {entry.outcome for entry in entries} == {"unauthenticated"}
    # A flood for as long as entries are kept leaves room.
    assert limits_admin.AUDIT_AGE_S / limits_admin.REFUSALS_AUDITED_EVERY_S + burst < limits_admin.AUDIT_ENTRIES_MAX


async def test_what_a_flood_left_out_is_counted_in_the_next_entry(node: Node) -> None:
    refusals: Any = node.audit._refusals
    for number in range(limits_admin.REFUSALS_AUDITED_BURST_MAX + 7):
        await node.audit.refused(make_entry("GetStatus", by="", address=f"a{number}", outcome="unauthenticated"))
    refusals._at -= limits_admin.REFUSALS_AUDITED_EVERY_S  # so much later
    await node.audit.refused(make_entry("GetStatus", by="", address="b", outcome="unauthenticated"))
    assert (await node.audit.newest(1))[0].reason.startswith("7 more were refused")


async def test_the_newest_of_many(node: Node) -> None:
    for number in range(150):
        await node.audit.write(make_entry("Login", by=f"n{number}", address="a", outcome="ok"))
    assert [entry.by for entry in await node.audit.newest(140)] == [f"n{number}" for number in range(10, 150)]
    assert [entry.by for entry in await node.audit.newest(1)] == ["n149"]
    await node.bus.js.publish(subjects.audit_subject("Login"), b"no entry")  # by a later version, or somebody else
    assert [entry.by for entry in await node.audit.newest(1)][-1:] in ([], ["n149"])
    assert len(await node.audit.newest(100)) == 100


async def test_nobody_takes_an_entry_out(node: Node) -> None:
    await node.audit.write(make_entry("Erase", by="a", address="a"))
    with pytest.raises(nats.js.errors.APIError):
        await node.bus.js.delete_msg(subjects.AUDIT_STREAM, 1)
    with pytest.raises(nats.js.errors.APIError):
        await node.bus.js.purge_stream(subjects.AUDIT_STREAM)
    assert await raw(node) == ["begun"]


def test_a_call_is_one_line() -> None:
    first, second = make_entry("Erase", by="a", address=""), make_entry("Revoke", by="b", address="")
    ended = Entry(**{**{name: getattr(first, name) for name in first.__struct_fields__}, "outcome": "ok"})
    assert [(entry.action, entry.outcome) for entry in fold([first, second, ended])] == [("Erase", "ok"), ("Revoke", "begun")]


def test_what_it_is_about_is_cut_to_size() -> None:
    entry = make_entry("Erase", by="", address="", target="\udcff" + "é" * limits_admin.AUDIT_TARGET_BYTES_MAX)
    assert len(entry.target.encode()) <= limits_admin.AUDIT_TARGET_BYTES_MAX
