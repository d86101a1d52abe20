"""Judges what became of the messages that users sent to agents (PROTOCOL.md, "What users send"). Pure.

Rules
1. A message whose sender was told "stored" is settled in the end: an agent said done, or it was put aside; and it is in the inbox once.
2. What an agent was handed was sent by that user.
3. Put aside is what was handed out `limits.INBOX_TRIES_MAX` times, never less, and it is handed out no oftener (but for a try that could
   not be counted, while NATS was away).
4. A message is handed out for the first time when every earlier one of its user is done, was put aside, or is with the same worker. Earlier
   is one whose sender was told "stored" before this one was sent. What was handed out while a router, an agent, NATS or a line between
   them was broken, or shortly after, is not judged.
"""

from collections import defaultdict

import msgspec

from runcast.testkit.calm import Calm, disturbs_agents
from runcast.testkit.history import Answered, AnyRecord, Handled, Parked, Returned, Sent, Taken
from runcast.testkit.view import Report
from runcast.wire import limits


class Letter(msgspec.Struct):
    """One message.

    Attributes:
        sent: by its device, for the first time.
        stored_at: when the device was told so; None while it was not.
        taken: each time that an agent was handed it.
        settled_at: when an agent first said done.
        back: when agents gave it back.
        parked: as it was found put aside.
    """

    sent: Sent
    stored_at: float | None = None
    taken: list[Taken] = []
    settled_at: float | None = None
    back: list[Returned] = []
    parked: Parked | None = None


class InboxCheck:
    """The state of one check. `take` the records in the order of their times.

    Args:
        report: told of anomalies.
        calm: when nothing was broken.

    Attributes:
        letters: all messages, by id.
        ordered: first deliveries whose order was judged.
    """

    def __init__(self, report: Report, calm: Calm) -> None:
        self._report = report
        self._calm = calm
        self._by_user: dict[str, list[Letter]] = defaultdict(list)
        self._stray: dict[str, list[Taken]] = defaultdict(list)
        self.letters: dict[str, Letter] = {}
        self.ordered = 0

    @property
    def stored(self) -> list[Letter]:
        """Those whose sender was told that they are stored."""
        return [letter for letter in self.letters.values() if letter.stored_at is not None]

    def take(self, record: AnyRecord) -> None:
        """Note a record."""
        match record:
            case Sent():
                if record.id not in self.letters:
                    letter = self.letters[record.id] = Letter(record)
                    self._by_user[record.user].append(letter)
            case Answered() if record.outcome == "stored" and record.id in self.letters:
                letter = self.letters[record.id]
                letter.stored_at = record.t if letter.stored_at is None else letter.stored_at
            case Taken() if record.id in self.letters:
                self.letters[record.id].taken.append(record)
            case Taken():
                self._stray[record.id].append(record)
            case Handled() if record.id in self.letters:
                letter = self.letters[record.id]
                letter.settled_at = record.t if letter.settled_at is None else letter.settled_at
            case Returned() if record.id in self.letters:
                self.letters[record.id].back.append(record)
            case Parked() if record.id in self.letters:
                self.letters[record.id].parked = record

    def finish(self, *, settled: bool) -> None:
        """Judge. `settled`: everything that was still to come has had its time."""
        for letter in self.letters.values():
            self._check_one(letter)
            if settled and letter.stored_at is not None:
                self._check_settled(letter)
        for strays in self._stray.values():
            for one in strays:
                self._report("leaked", f"{one.agent} was handed message {one.id} of {one.user}, which nobody sent")
        for letters in self._by_user.values():
            self._check_order(letters)

    def _check_one(self, letter: Letter) -> None:
        name, owner = letter.sent.id, letter.sent.user
        for one in letter.taken:
            if one.user != owner:
                self._report("leaked", f"{one.agent} was handed message {name} of {one.user}, which {owner} sent")
        if len({one.stamp for one in letter.taken}) > 1:
            self._report("upstream_duplicated", f"message {name} of {owner} is in the inbox more than once")
        if len(letter.taken) > limits.INBOX_TRIES_MAX and self._calm.during(letter.taken[0].t, letter.taken[-1].t, disturbs_agents):
            self._report("false_parkings", f"message {name} of {owner} was handed out {len(letter.taken)} times instead of being put aside")
        if letter.parked is None:
            return
        if letter.parked.user != owner:
            self._report("leaked", f"message {name} of {owner} was put aside as one of {letter.parked.user}")
        if letter.parked.tries < limits.INBOX_TRIES_MAX:
            self._report("false_parkings", f"message {name} of {owner} was put aside after {letter.parked.tries} tries")

    def _check_settled(self, letter: Letter) -> None:
        name, owner = letter.sent.id, letter.sent.user
        if letter.settled_at is not None or letter.parked is not None:
            return
        if letter.taken:
            self._report(
                "upstream_lost", f"message {name} of {owner} was handed out {len(letter.taken)} times, and never settled or put aside"
            )
        else:
            self._report("upstream_lost", f"message {name} of {owner} was stored, and no agent got it")

    def _check_order(self, letters: list[Letter]) -> None:
        for letter in letters:
            if not letter.taken:
                continue
            first = letter.taken[0]
            earlier = [each for each in letters if each.stored_at is not None and each.stored_at <= letter.sent.t]
            if not earlier or not self._calm.during(self._since(earlier, first), first.t, disturbs_agents):
                continue
            self.ordered += 1
            for each in earlier:
                why = self._overtaken(each, first)
                if why:
                    self._report("upstream_reordered", f"{first.worker or first.agent} was handed {first.id} of {first.user} while {why}")

    def _since(self, earlier: list[Letter], first: Taken) -> float:
        """From when on it matters what was broken: since the oldest of those was sent that may still have been unsettled."""
        open_ones = [each for each in earlier if each.settled_at is None or each.settled_at > first.t]
        return min((each.sent.t for each in open_ones), default=first.t)

    def _overtaken(self, before: Letter, first: Taken) -> str:
        """Why `first` was too early for this one, which was stored before it; "" when it was not."""
        if before.settled_at is not None and before.settled_at <= first.t:
            return ""
        name = before.sent.id
        taken = [one for one in before.taken if one.t <= first.t]
        if before.parked is not None:
            return f"{name}, before it, was still to be tried" if len(taken) < len(before.taken) else ""
        if not taken:
            return f"nobody had got {name}, before it"
        if taken[-1].worker != first.worker:
            return f"{name}, before it, was with {taken[-1].worker or taken[-1].agent}"
        if any(taken[-1].t <= back.t <= first.t for back in before.back):
            return f"{name}, before it, had been given back"
        return ""
