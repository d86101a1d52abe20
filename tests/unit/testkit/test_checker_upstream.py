"""The checker and what users send: messages settled, put aside and handed out in order; cancels honoured, and nobody else's."""

import pytest

from runcast.testkit.calm import AFTERMATH_S
from runcast.testkit.check_cancels import HONOURED_S
from runcast.testkit.checker import check
from runcast.testkit.history import Answered, CancelSent, Handled, Injected, Parked, Returned, Seen, Sent, Taken
from tests.unit.testkit.stories import Story, clean_story, only, seen


class Post:
    """The clean story, and more messages of user u, which all devices are shown."""

    def __init__(self) -> None:
        self.story = clean_story()
        self.story.records.pop()
        self.story.t += 60.0  # long after the story's fault
        self.at = 8

    def send(self, name: str, *, poison: bool = False) -> None:
        self.story.add(Sent, name, "u", "d1", poison)
        for device in ("d1", "d2"):
            self.story.frame("u", device, self.at, self.at + 1, Seen(name, "user_message"))
        self.at += 1
        self.story.add(Answered, name, "u", "d1", "stored")

    def take(self, name: str, worker: str, tries: int = 1) -> None:
        self.story.add(Taken, name, "u", worker.partition("/")[0], tries, int(name[1:]), worker)

    def handle(self, name: str, worker: str) -> None:
        self.story.add(Handled, name, "u", worker.partition("/")[0], worker)

    def give_back(self, name: str, worker: str) -> None:
        self.story.add(Returned, name, "u", worker.partition("/")[0], worker)

    def end(self) -> Story:
        self.story.settle()
        return self.story


def test_one_after_the_other_and_several_at_one_worker_are_in_order() -> None:
    post = Post()
    for name in ("m1", "m2", "m3"):
        post.send(name)
    post.take("m1", "a/1")
    post.take("m2", "a/1")
    post.handle("m1", "a/1")
    post.handle("m2", "a/1")
    post.take("m3", "b/1")
    post.handle("m3", "b/1")
    verdict = check(post.end().records)
    assert verdict.clean, verdict.examples
    assert verdict.upstream_ordered == 3, "the story's own message came before them"


def test_handed_out_while_an_earlier_one_is_with_another_worker() -> None:
    post = Post()
    post.send("m1")
    post.send("m2")
    post.take("m1", "a/1")
    post.take("m2", "b/1")
    post.handle("m1", "a/1")
    post.handle("m2", "b/1")
    assert "b/1 was handed m2 of u while m1, before it, was with a/1" in only(check(post.end().records), "upstream_reordered")


def test_the_next_life_of_an_agent_is_another_worker() -> None:
    post = Post()
    post.send("m1")
    post.send("m2")
    post.take("m1", "a/1")
    post.take("m2", "a/2")
    post.take("m1", "a/2", 2)
    post.handle("m1", "a/2")
    post.handle("m2", "a/2")
    assert "was with a/1" in only(check(post.end().records), "upstream_reordered")


def test_handed_out_while_nobody_had_the_earlier_one() -> None:
    post = Post()
    post.send("m1")
    post.send("m2")
    post.take("m2", "a/1")
    post.take("m1", "a/1")
    post.handle("m1", "a/1")
    post.handle("m2", "a/1")
    assert "nobody had got m1" in only(check(post.end().records), "upstream_reordered")


def test_handed_out_while_the_earlier_one_had_been_given_back() -> None:
    post = Post()
    post.send("m1")
    post.send("m2")
    post.take("m1", "a/1")
    post.give_back("m1", "a/1")
    post.take("m2", "a/1")
    post.take("m1", "a/1", 2)
    post.handle("m1", "a/1")
    post.handle("m2", "a/1")
    assert "had been given back" in only(check(post.end().records), "upstream_reordered")


@pytest.mark.parametrize(("target", "kind", "judged"), [("agent-0", "agent", False), ("edge-0", "edge", True), ("router-0", "drain", True)])
def test_order_is_judged_while_what_it_rests_on_is_whole(target: str, kind: str, judged: bool) -> None:
    post = Post()
    post.send("m1")
    post.send("m2")
    post.take("m1", "a/1")
    post.story.add(Injected, kind, target, post.story.t + 1.0)
    post.take("m2", "b/1")
    post.handle("m1", "a/1")
    post.handle("m2", "b/1")
    verdict = check(post.end().records)
    assert verdict.anomalies["upstream_reordered"] == judged, verdict.examples


def test_order_is_judged_again_when_the_aftermath_is_over() -> None:
    post = Post()
    post.story.add(Injected, "router", "router-0", post.story.t)
    post.story.t += AFTERMATH_S + 0.1
    post.send("m1")
    post.send("m2")
    post.take("m1", "a/1")
    post.take("m2", "b/1")
    post.handle("m1", "a/1")
    post.handle("m2", "b/1")
    only(check(post.end().records), "upstream_reordered")


def test_a_message_that_was_sent_before_the_other_was_stored_is_not_earlier() -> None:
    post = Post()
    post.story.add(Sent, "m1", "u", "d1")
    post.send("m2")
    post.story.add(Answered, "m1", "u", "d1", "stored")
    for device in ("d1", "d2"):
        post.story.frame("u", device, 9, 10, Seen("m1", "user_message"))
    post.take("m2", "b/1")
    post.handle("m2", "b/1")
    post.take("m1", "a/1")
    post.handle("m1", "a/1")
    verdict = check(post.end().records)
    assert verdict.clean, verdict.examples


# --- poison ---


def poisoned(tries: int = 5, parked: int | None = 5) -> Story:
    post = Post()
    post.send("m1", poison=True)
    post.send("m2")
    for count in range(1, tries + 1):
        post.take("m1", "a/1", count)
        post.give_back("m1", "a/1")
    post.take("m2", "b/1")
    post.handle("m2", "b/1")
    if parked is not None:
        post.story.add(Parked, "m1", "u", parked)
    return post.end()


def test_poison_that_was_put_aside_lets_the_next_one_go_on() -> None:
    verdict = check(poisoned().records)
    assert verdict.clean, verdict.examples
    assert (verdict.parked, verdict.upstream_redelivered) == (1, 4)


def test_poison_that_was_not_put_aside() -> None:
    story = poisoned(parked=None)
    verdict = check(story.records)
    assert "handed out 5 times, and never settled or put aside" in verdict.examples["upstream_lost"][0]


def test_put_aside_too_early() -> None:
    assert "after 3 tries" in only(check(poisoned(3, 3).records), "false_parkings")


def test_handed_out_once_more_instead_of_put_aside() -> None:
    assert "was handed out 6 times instead" in only(check(poisoned(6).records), "false_parkings")


def test_put_aside_as_another_users() -> None:
    story = poisoned()
    next(record for record in story.records if isinstance(record, Parked)).user = "v"
    assert "as one of v" in only(check(story.records), "leaked")


def test_taken_and_never_settled() -> None:
    post = Post()
    post.send("m1")
    post.take("m1", "a/1")
    assert "handed out 1 times, and never settled" in only(check(post.end().records), "upstream_lost")


def test_the_next_one_was_handed_out_while_poison_was_still_to_be_tried() -> None:
    post = Post()
    post.send("m1", poison=True)
    post.send("m2")
    post.take("m1", "a/1")
    post.give_back("m1", "a/1")
    post.take("m2", "b/1")
    post.handle("m2", "b/1")
    for tries in range(2, 6):
        post.take("m1", "a/1", tries)
    post.story.add(Parked, "m1", "u", 5)
    assert "was still to be tried" in only(check(post.end().records), "upstream_reordered")


# --- cancels ---

KINDS = ["agent_started", "agent_thinking", "agent_completed"]


class Stop:
    """The clean story, a run c, and a wish that it ends."""

    def __init__(self) -> None:
        self.story = clean_story()
        self.story.records.pop()
        self.at = 8

    def wish(self, user: str = "u") -> None:
        self.story.add(CancelSent, "c1", user, "d1", "c")
        self.story.add(Answered, "c1", user, "d1", "stored")

    def run(self, *kinds: str, first: int = 1, attempt: int = 1) -> None:
        if first == 1:
            self.story.plan("u", "c", attempt, kinds=KINDS)
        self.at += 1
        for device in ("d1", "d2"):
            events = [seen("c", first + n, attempt=attempt, kind=kind) for n, kind in enumerate(kinds)]
            self.story.frame("u", device, self.at - 1, self.at, *events)
            for event in self.story.records[-1].events:  # type: ignore[union-attr]
                event.ms = self.story.records[-1].ms  # type: ignore[union-attr]

    def end(self) -> Story:
        self.story.settle()
        return self.story


@pytest.mark.parametrize("early", [True, False])
def test_a_cancel_that_is_honoured(early: bool) -> None:
    stop = Stop()
    if early:
        stop.wish()
        stop.run("agent_started", "run_cancelled")
    else:
        stop.run("agent_started")
        stop.wish()
        stop.run("agent_thinking", "run_cancelled", first=2)
    verdict = check(stop.end().records)
    assert verdict.clean, verdict.examples
    assert (verdict.cancels, verdict.cancel.count) == (1, 1)


def test_a_cancel_before_the_runs_first_event_that_is_not_honoured() -> None:
    stop = Stop()
    stop.wish()
    stop.run(*KINDS)
    assert "c of u, attempt 1, completed, and was cancelled before it began" in only(check(stop.end().records), "false_cancels")


def test_a_cancel_of_a_run_under_way_that_is_not_honoured() -> None:
    stop = Stop()
    stop.run("agent_started")
    stop.wish()
    stop.story.t += HONOURED_S + 0.1
    stop.run(*KINDS[1:], first=2)
    assert "12.1 s before" in only(check(stop.end().records), "false_cancels")


def test_a_cancel_that_comes_as_the_run_completes_may_be_late() -> None:
    stop = Stop()
    stop.run("agent_started")
    stop.wish()
    stop.run(*KINDS[1:], first=2)
    verdict = check(stop.end().records)
    assert verdict.clean, verdict.examples
    assert verdict.cancels == 0


def test_a_cancelled_run_that_goes_on_in_a_second_attempt() -> None:
    stop = Stop()
    stop.wish()
    stop.run("agent_started", "run_cancelled")
    stop.run(*KINDS, attempt=2)
    assert "attempt 2, completed" in only(check(stop.end().records), "false_cancels")


def test_a_run_that_is_cancelled_and_nobody_asked_for_it() -> None:
    stop = Stop()
    stop.run("agent_started", "run_cancelled")
    assert "nobody had asked" in only(check(stop.end().records), "false_cancels")


def test_a_run_that_another_user_cancelled() -> None:
    stop = Stop()
    stop.wish("v")
    stop.run("agent_started", "run_cancelled")
    assert "only v had asked" in only(check(stop.end().records), "false_cancels")


def test_a_cancelled_run_that_ends_twice() -> None:
    stop = Stop()
    stop.wish()
    stop.run("agent_started", "run_cancelled")
    for device in ("d1", "d2"):
        stop.story.frame("u", device, 9, 10, seen("c", 3, kind="run_cancelled"))
    assert "second end" in only(check(stop.end().records), "duplicated", 2)
