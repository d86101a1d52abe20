"""The outbox: what it does with refusals, pauses, the horizon and runs that are not its own."""

import pytest

from runcast.client.errors import RunIndeterminateError, RunRefusedError
from runcast.client.outbox import Outbox
from runcast.client.run_queue import Failed, Stored
from runcast.v1.ingest_pb2 import RunAbandon
from runcast.wire import limits, limits_client
from tests.unit.client.events import closing, fatal, said, tool_began
from tests.unit.client.outboxes import ack, begin, connect, opened, refuse


@pytest.mark.parametrize("definite", [True, False])
def test_a_refusal_with_retry_sends_the_same_later(definite: bool) -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("x"))
    [batch] = outbox.take_batches(10.0)
    refuse(outbox, batch, 10.0, code="unavailable", retry=True, definite=definite, after_ms=3000)
    assert outbox.unanswered == (0, 0)
    outbox.append(0.0, run, said("y"))
    assert outbox.take_batches(12.9) == []
    assert outbox.deadline() == 13.0
    assert outbox.take_batches(13.0) == [batch]


def test_a_refusal_without_advice_pauses_too_but_not_on_another_stream() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("x"))
    [batch] = outbox.take_batches(10.0)
    refuse(outbox, batch, 10.0, code="draining", retry=True)
    assert outbox.take_batches(10.0) == []
    assert outbox.deadline() == 10.0 + limits.PUBLISH_RETRY_AFTER_S
    connect(outbox, 10.0)
    assert outbox.take_batches(10.0) == [batch]


def test_a_pause_that_the_router_asked_for_outlives_the_stream() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("x"))
    [batch] = outbox.take_batches(10.0)
    refuse(outbox, batch, 10.0, code="storage_full", retry=True, after_ms=3000)
    connect(outbox, 10.0)
    assert outbox.take_batches(12.9) == []
    assert outbox.take_batches(13.0) == [batch]


def test_a_definite_refusal_fails_the_run_and_hands_back_what_waited() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("bad"))
    [batch] = outbox.take_batches(0.0)
    outbox.append(0.0, run, said("behind"))
    refuse(outbox, batch)
    [failed] = outbox.take_results()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RunRefusedError)
    assert failed.error.code.name == "batch_invalid"
    assert [event.agent_response.text for event in failed.error.dropped] == ["bad", "behind"]
    assert outbox.events == outbox.bytes == 0
    with pytest.raises(RunRefusedError):
        outbox.append(0.0, run, said("more"))


def test_closing_events_continue_from_what_is_stored() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, tool_began("t1"))
    [batch] = outbox.take_batches(0.0)
    ack(outbox, batch)
    outbox.append(0.0, run, said("bad"))
    [batch] = outbox.take_batches(0.0)
    refuse(outbox, batch)
    assert outbox.close_failed(0.0, run, closing)
    assert not outbox.close_failed(0.0, run, closing), "once"
    [end] = outbox.take_batches(0.0)
    assert end.number == 3
    assert [(event.seq, event.WhichOneof("kind")) for event in end.events] == [(3, "tool_completed"), (4, "agent_error")]
    refuse(outbox, end)
    assert not outbox.close_failed(0.0, run, closing), "a refused ending is not tried again"


def test_nothing_is_closed_when_nothing_was_stored() -> None:
    outbox = Outbox("p")
    connect(outbox)
    run = begin(outbox, "r1")
    [batch] = outbox.take_batches(0.0)
    refuse(outbox, batch)
    assert not outbox.close_failed(0.0, run, closing)


def test_a_refusal_of_a_batch_that_may_be_stored_is_indeterminate() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("x"))
    [batch] = outbox.take_batches(0.0)
    outbox.disconnected()
    connect(outbox, 1.0)
    assert outbox.take_batches(1.0) == [batch]
    refuse(outbox, batch, 1.0)
    [failed] = outbox.take_results()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RunIndeterminateError)
    assert not outbox.close_failed(0.0, run, closing), "no number is safe to use"


def test_past_the_horizon_a_batch_is_indeterminate_and_never_sent_again() -> None:
    outbox, run = opened()
    waiting = begin(outbox, "r2")
    outbox.append(0.0, run, said("x"))
    outbox.take_batches(10.0)
    outbox.append(0.0, run, said("behind"))
    outbox.append(0.0, waiting, said("never sent"))
    outbox.disconnected()
    assert outbox.deadline() == 110.0
    connect(outbox, 110.0)
    assert outbox.take_batches(110.0) == []
    failures = [result for result in outbox.take_results() if isinstance(result, Failed)]
    assert {failure.key for failure in failures} == {run, waiting}
    errors = {failure.key: failure.error for failure in failures}
    error = errors[run]
    assert isinstance(error, RunIndeterminateError)
    assert [event.agent_response.text for event in error.unsure] == ["x"]
    assert [event.agent_response.text for event in error.unsent] == ["behind"]


def test_what_was_never_sent_waits_as_long_as_it_takes() -> None:
    outbox = Outbox("p")
    begin(outbox, "r1")
    outbox.tick(10_000.0)
    connect(outbox, 10_000.0)
    assert len(outbox.take_batches(10_000.0)) == 1


def test_a_certain_refusal_starts_the_horizon_anew() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("x"))
    [batch] = outbox.take_batches(0.0)
    refuse(outbox, batch, 90.0, code="unavailable", retry=True)
    assert outbox.take_batches(95.0) == [batch]
    outbox.tick(150.0)
    assert outbox.take_results() == []
    assert outbox.deadline() is not None
    outbox.tick(195.0)
    assert len(outbox.take_results()) == 1


def test_an_uncertain_refusal_does_not() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("x"))
    [batch] = outbox.take_batches(0.0)
    refuse(outbox, batch, 90.0, code="indeterminate", retry=True, definite=False)
    assert outbox.take_batches(95.0) == [batch]
    outbox.tick(100.0)
    assert len(outbox.take_results()) == 1


def test_a_silent_router_is_overdue_and_a_busy_one_gets_longer() -> None:
    outbox = Outbox("p")
    connect(outbox)
    runs = [begin(outbox, name) for name in ("a", "b")]
    first, second = outbox.take_batches(0.0)
    assert not outbox.overdue(limits_client.ROUTER_QUIET_S - 0.1)
    assert outbox.overdue(limits_client.ROUTER_QUIET_S)
    ack(outbox, first, 2.0)
    assert not outbox.overdue(limits_client.ROUTER_QUIET_S)
    now = 2.0
    while now < limits_client.ACK_TIMEOUT_S:
        assert not outbox.overdue(now)
        outbox.append(0.0, runs[0], said("x"))
        for batch in outbox.take_batches(now):
            ack(outbox, batch, now)
        now += 1.0
    assert outbox.overdue(limits_client.ACK_TIMEOUT_S)
    ack(outbox, second, now)
    assert not outbox.overdue(now + 100.0), "nothing is unanswered"


def test_leftovers_say_what_may_be_stored() -> None:
    outbox = Outbox("p")
    connect(outbox)
    run = begin(outbox, "r1")
    outbox.take_batches(0.0)
    outbox.append(0.0, run, said("waits"))
    [left] = outbox.leftovers()
    assert ([event.seq for event in left.unsure], [event.seq for event in left.unsent]) == ([1], [2])


@pytest.mark.parametrize("code", ["run_lost", "attempt_taken"])
@pytest.mark.parametrize("sendings", [1, 2])
def test_a_run_that_is_not_ours_is_refused_whatever_was_under_way_and_not_closed_again(sendings: int, code: str) -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("a"))
    for _ in range(sendings):
        outbox.disconnected()
        connect(outbox)
        [batch] = outbox.take_batches(0.0)
    refuse(outbox, batch, code=code)
    [failed] = outbox.take_results()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RunRefusedError)
    assert failed.error.code.name == code
    assert [event.seq for event in failed.error.dropped] == [2]
    assert not outbox.close_failed(0.0, run, closing)
    assert outbox.take_abandons() == []


def test_an_indeterminate_run_is_given_up_on_every_stream_until_that_is_settled() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("a"))
    outbox.take_batches(0.0)
    outbox.tick(1000.0)
    [abandon] = outbox.take_abandons()
    assert (abandon.user.id, abandon.run_id, abandon.attempt) == ("alice", "r1", 1)
    assert outbox.take_abandons() == []
    outbox.disconnected()
    assert outbox.take_abandons() == []
    connect(outbox)
    assert outbox.take_abandons() == [abandon]
    outbox.abandoned(RunAbandon(user=abandon.user, run_id="another", attempt=1))
    outbox.abandoned(abandon)
    outbox.disconnected()
    connect(outbox)
    assert outbox.take_abandons() == []


def test_runs_without_anything_to_send_are_named_once_on_every_new_stream() -> None:
    outbox, idle = opened()
    assert outbox.take_open_runs() == [], "its batches were on this stream"
    ended, busy = begin(outbox, "ended"), begin(outbox, "busy")
    outbox.append(0.0, ended, fatal())
    for batch in outbox.take_batches(0.0):
        ack(outbox, batch)
    outbox.append(0.0, busy, said("x"))
    for _ in range(2):
        outbox.disconnected()
        connect(outbox)
        assert [(told.user.id, told.run_id, told.attempt) for told in outbox.take_open_runs()] == [("alice", idle.run_id, 1)]
        assert outbox.take_open_runs() == []


def test_many_open_runs_are_named_some_at_a_time() -> None:
    outbox, _ = opened("r0")
    for number in range(1, limits.OPEN_RUNS_TOLD_MAX + 1):
        begin(outbox, f"r{number}")
    while batches := outbox.take_batches(0.0):
        for batch in batches:
            ack(outbox, batch)
    outbox.disconnected()
    connect(outbox)
    counts = [len(outbox.take_open_runs()) for _ in range(3)]
    assert counts == [limits.OPEN_RUNS_TOLD_MAX, 1, 0]


def test_a_batch_over_a_limit_waits_as_long_as_it_was_told_and_keeps_its_place() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("a"))
    [batch] = outbox.take_batches(0.0)
    refuse(outbox, batch, 1.0, code="rate_limited", retry=True, after_ms=4000)
    outbox.append(1.0, run, said("b"))
    outbox.disconnected()
    connect(outbox, 2.0)
    assert outbox.take_batches(4.9) == [], "not sooner for being on another stream"
    [again] = outbox.take_batches(5.0)
    assert again == batch
    ack(outbox, again, 5.0)
    [after] = outbox.take_batches(5.0)
    assert [event.seq for event in after.events] == [3]
    assert (outbox.counts.refused, outbox.counts.limited, outbox.counts.denied, outbox.counts.limit) == (1, 1, 0, "because")


def test_a_limit_that_lasts_longer_than_the_horizon_makes_nothing_uncertain() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("a"))
    now = 0.0
    for _ in range(100):
        [batch] = outbox.take_batches(now)
        refuse(outbox, batch, now, code="rate_limited", retry=True, after_ms=5000)
        now += 5.0
    [batch] = outbox.take_batches(now)
    ack(outbox, batch, now)
    assert [type(result) for result in outbox.take_results()] == [Stored]
    assert outbox.counts.limited == 100


def test_what_is_not_granted_is_counted() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("a"))
    [batch] = outbox.take_batches(0.0)
    refuse(outbox, batch, code="permission_denied")
    assert (outbox.counts.denied, outbox.counts.limited, outbox.counts.limit) == (1, 0, "")
