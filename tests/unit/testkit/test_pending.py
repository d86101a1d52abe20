"""What a trial waits for."""

from runcast.testkit.history import Acked, Answered, Framed, Handled, Opened, Seen, Sent, Taken
from runcast.testkit.pending import Pending


def pos(seq: int) -> str:
    return f"aaaaaaaa-{seq:016d}"


def test_runs_messages_and_devices() -> None:
    pending = Pending()
    owed = [("u", "d")]
    assert pending.left([]) == ""
    pending.take(Opened(t=0, user="u", device="d", edge="e", asked="", outcome="resumed", position=pos(0), tip=pos(0)))
    assert pending.left(owed) == ""
    pending.take(Acked(t=0, user="u", run="r", attempt=1, upto=1, pos=pos(1)))
    assert pending.left(owed) == "1 devices behind"
    pending.take(Framed(t=0, user="u", device="d", prev=pos(0), pos=pos(1), events=[Seen("r.1.1", "agent_started", "r", 1, 1)]))
    assert pending.left(owed) == "1 runs without an end"
    pending.take(Framed(t=0, user="u", device="d", prev=pos(1), pos=pos(2), events=[Seen("r.2.1", "agent_started", "r", 2, 1)]))
    pending.take(Framed(t=0, user="u", device="d", prev=pos(2), pos=pos(3), events=[Seen("r.1.2", "agent_completed", "r", 1, 2)]))
    assert pending.left(owed) == "1 runs without an end"
    pending.take(Framed(t=0, user="u", device="d", prev=pos(3), pos=pos(4), events=[Seen("r.2.2", "run_lost", "r", 2, 2)]))
    assert pending.left(owed) == ""
    pending.take(Answered(t=0, id="c", user="u", device="d", outcome="stored"))  # of a cancel: no agent is handed it
    assert pending.left(owed) == ""
    pending.take(Sent(t=0, id="m", user="u", device="d"))
    pending.take(Answered(t=0, id="m", user="u", device="d", outcome="stored"))
    pending.take(Taken(t=0, id="m", user="u", agent="a", tries=1, stamp=1))
    assert pending.left(owed) == "1 messages nobody settled"
    pending.take(Handled(t=0, id="m", user="u", agent="a"))
    pending.take(Answered(t=0, id="m", user="u", device="d", outcome="stored"))
    assert pending.left(owed) == ""


def test_within_a_snapshot_a_device_is_behind() -> None:
    pending = Pending()
    owed = [("u", "d")]
    pending.take(Opened(t=0, user="u", device="d", edge="e", asked="", outcome="snapshot", position="snapshot-" + "0" * 16, tip=pos(3)))
    pending.take(Acked(t=0, user="u", run="r", attempt=1, upto=1, pos=pos(3)))
    pending.take(Framed(t=0, user="u", device="d", prev="snapshot-" + "0" * 16, pos="snapshot-" + "9".zfill(16)))
    assert pending.left(owed) == "1 devices behind"
    pending.take(Framed(t=0, user="u", device="d", prev="snapshot-" + "9".zfill(16), pos=pos(3)))
    assert pending.left(owed) == ""
