"""Is what a person was shown of use to them? A score from 0 to 1, with the reasons. Pure.

Each thing that a person sees counts once (a message's deltas together): 1 when it is of use, less for each reason that it is not.

    untitled       a run that does not say what it is about
    empty          nothing to read where a text belongs
    filler         a text that says nothing ("...", "Processing", "Please wait")
    again          the same as just before
    backwards      progress that goes down
    unexplained    a tool call that says neither why nor with what
    not_actionable an error without a word on what to do, unless it is being retried
    technical      a text for people with a traceback, a path, an exception's name or something secret in it
    no_answer      a run that completed and said nothing to the user
    jargon         an error whose text is its category alone

Never imports the clock or anything that does I/O.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from runcast.testkit.gist import plain, short_run
from runcast.testkit.recording import Recording, kind_of
from runcast.testkit.validators import Violation
from runcast.v1.event_pb2 import TOOL_STATUS_ERROR, Event

COSTS: Final[dict[str, float]] = {
    "untitled": 0.3,
    "empty": 1.0,
    "filler": 0.7,
    "again": 0.8,
    "backwards": 0.5,
    "unexplained": 0.4,
    "not_actionable": 0.6,
    "technical": 0.8,
    "no_answer": 1.0,
    "jargon": 0.6,
}
"""What a reason takes from its event's 1."""

_FILLER: Final = re.compile(
    r"[\W_]*(thinking|processing|working( on it)?|loading|please wait|one moment|hold on|step|in progress|running|busy|todo)?[\W_\d]*",
    re.IGNORECASE,
)
_TECHNICAL: Final = (
    ("a traceback", re.compile(r"Traceback \(most recent call last\)|^\s*File \"[^\"]+\", line \d+", re.MULTILINE)),
    ("an exception's name", re.compile(r"\b[A-Z]\w*(Error|Exception|Warning)\b(?=\s*[:(]|\s*$)")),
    ("a path", re.compile(r"(?<![\w:/.])/(?:home|usr|var|etc|opt|root|tmp|srv|app|Users)/[\w./-]+|\b[A-Z]:\\[\w\\.-]+")),
    (
        "something secret",
        re.compile(r"\b(?:sk|pk|ghp|xox[abp])[-_][A-Za-z0-9-_]{12,}|\bBearer\s+[\w.~+/-]{12,}|(?i:\b(password|api[_-]?key)\s*[=:]\s*\S+)"),
    ),
    ("a bare object", re.compile(r"<[\w.]+ (object )?at 0x[0-9a-f]+>|\[object Object\]")),
)


class Reason(NamedTuple):
    """Why an event was of less use: the event's index, the reason's name, and words for people."""

    at: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Quality:
    """What came of it.

    Attributes:
        score: 0 (of no use) to 1 (all of use); 1 when nothing was shown.
        judged: how many things were judged.
        reasons: by event.
    """

    score: float
    judged: int
    reasons: list[Reason]

    def __str__(self) -> str:
        lines = [f"quality {self.score:.2f} of 1, {self.judged} things judged"]
        lines += [f"  #{reason.at + 1}  {reason.kind:<14} {reason.text}" for reason in self.reasons]
        return "\n".join(lines)


def judge(recording: Recording) -> Quality:
    """Judge all that a person saw of a recording."""
    judge = _Judge()
    for index, event in enumerate(recording.events):
        judge.take(index, event)
    judge.finish()
    left = dict.fromkeys(judge.seen, 1.0)
    for reason in judge.reasons:
        left[reason.at] = max(left[reason.at] - COSTS[reason.kind], 0.0)
    score = sum(left.values()) / len(left) if left else 1.0
    return Quality(round(score, 3), len(left), sorted(judge.reasons))


def check_quality(recording: Recording, at_least: float) -> list[Violation]:
    """The score is at least this."""
    quality = judge(recording)
    if quality.score >= at_least:
        return []
    worst = sorted(quality.reasons, key=lambda reason: -COSTS[reason.kind])
    said = "; ".join(f"#{reason.at + 1} {reason.kind}: {reason.text}" for reason in worst[:3])
    more = f"; and {len(worst) - 3} more" if len(worst) > 3 else ""
    text = f"the score is {quality.score:.2f}, and at least {at_least:g} was asked for: {said}{more}"
    return [Violation(min(reason.at for reason in quality.reasons), "quality", text)]


class _Judge:
    """What was seen so far."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.reasons: list[Reason] = []
        self._thought: dict[str, str] = {}
        self._progress: dict[str, float] = {}
        self._messages: dict[tuple[str, str], tuple[int, str]] = {}
        self._spoke: set[str] = set()
        self._errors: dict[str, str] = {}

    def take(self, index: int, event: Event) -> None:
        kind, run = kind_of(event), event.run_id
        match kind:
            case "agent_started":
                self.seen.add(index)
                if not event.agent_started.title.strip() and not event.agent_started.reply_to:
                    self._say(index, "untitled", f"run {short_run(run)} has no title, and answers no message")
            case "agent_thinking":
                self._thinking(index, event)
            case "tool_executing":
                self.seen.add(index)
                tool = event.tool_executing
                if not tool.purpose.strip() and tool.args_json in (b"", b"{}", b"null"):
                    self._say(index, "unexplained", f"{tool.tool} has neither a purpose nor arguments")
            case "tool_completed" if event.tool_completed.status == TOOL_STATUS_ERROR:
                self.seen.add(index)
                self._read(index, event.tool_completed.error, f"{event.tool_completed.tool}'s error")
            case "agent_response":
                key = (run, event.agent_response.message_id)
                first, text = self._messages.get(key, (index, ""))
                self._messages[key] = (first, text + event.agent_response.text)
                self.seen.add(first)
                if event.agent_response.text.strip():
                    self._spoke.add(run)
            case "agent_error":
                self._error(index, event)
            case "agent_completed":
                self.seen.add(index)
                done = event.agent_completed
                if run not in self._spoke and not done.summary.strip() and not done.result_json:
                    self._say(index, "no_answer", f"run {short_run(run)} completed without an answer, a summary or a result")
            case "run_cancelled" | "input_resolved":
                self.seen.add(index)
            case "input_requested":
                self.seen.add(index)
                self._read(index, event.input_requested.prompt, "the prompt")
            case "custom":
                self.seen.add(index)

    def finish(self) -> None:
        """Messages are judged whole."""
        last: dict[str, str] = {}
        for (run, _), (index, text) in self._messages.items():
            self._read(index, text, "the message")
            if text.strip() and last.get(run) == text.strip():
                self._say(index, "again", f"the same message as before: {_quote(text)}")
            last[run] = text.strip()

    def _thinking(self, index: int, event: Event) -> None:
        self.seen.add(index)
        run, thinking = event.run_id, event.agent_thinking
        text = thinking.text.strip()
        moved = thinking.HasField("progress") and thinking.progress > self._progress.get(run, -1.0)
        if text and _FILLER.fullmatch(text):
            self._say(index, "filler", f"says nothing: {_quote(text)}")
        else:
            self._read(index, text, "the thought")
        if text and self._thought.get(run) == text and not moved:
            self._say(index, "again", f"the same as before, without progress: {_quote(text)}")
        self._thought[run] = text
        if thinking.HasField("progress"):
            if thinking.progress < self._progress.get(run, 0.0):
                self._say(index, "backwards", f"progress goes from {self._progress[run]:.0%} to {thinking.progress:.0%}")
            self._progress[run] = thinking.progress

    def _error(self, index: int, event: Event) -> None:
        self.seen.add(index)
        error = event.agent_error
        self._read(index, error.message, "the error")
        if not any(suggestion.strip() for suggestion in error.suggestions) and not error.retrying:
            self._say(index, "not_actionable", "the error does not say what to do, and is not being retried")
        if error.message.strip() and error.message.strip().lower() == error.category.lower():
            self._say(index, "jargon", f"the error's text is its category: {_quote(error.message)}")
        if error.message.strip() and self._errors.get(event.run_id) == error.message:
            self._say(index, "again", f"the same error as before: {_quote(error.message)}")
        self._errors[event.run_id] = error.message

    def _read(self, index: int, text: str, what: str) -> None:
        if not text.strip():
            self._say(index, "empty", f"{what} is empty")
            return
        for name, pattern in _TECHNICAL:
            hit = pattern.search(text)
            if hit is not None:
                shown = "" if name == "something secret" else f": {_quote(hit[0])}"
                self._say(index, "technical", f"{what} holds {name}{shown}")
                return

    def _say(self, index: int, kind: str, text: str) -> None:
        self.reasons.append(Reason(index, kind, text))


def _quote(text: str) -> str:
    line = plain(text.strip())
    return f'"{line[:60]}…"' if len(line) > 60 else f'"{line}"'
