"""Ids that somebody would choose to reach what is not theirs: what NATS, HTTP, JSON and Unicode treat in a way of their own."""

import unicodedata

from runcast.wire import limits

SEPARATORS = (
    ".", "..", "*", ">", "a.b", "a.*", "a.>", "ev.0.>", "$JS.API.STREAM.PURGE.RUNCAST_EV_0", "_INBOX.x", "/", "\\", "../..", "%2E", "a,b",
    "a;b", "a=b",
)  # fmt: skip
"""What divides subjects, keys, paths and headers."""
INVISIBLE = (
    "\x00",
    "a\x00",
    "\x00a",
    " ",
    "a ",
    " a",
    "\t\r\n",
    "a\r\nNats-Msg-Id: x",
    "\u200b",
    "a\u200d",
    "\u202eabc",
    "\ufeffa",
    "a\u00ad",
)
ESCAPES = ("_", "__", "_41", "_2E", "-", "null", "true", "0", "1e3", '"', "{}", "[]", "__proto__")
LOOK_ALIKE = (
    "a",
    "A",
    "\u0430",  # Cyrillic
    "\uff41",  # full width: its compatible form is "a"
    "\U0001d41a",  # bold: likewise
    "\u00e9",  # e with acute, one code point
    "e\u0301",  # two: another normal form of the same letter
    "\u212b",  # angstrom sign: its normal form is another letter
    "\u00c5",
    "fi",
    "\ufb01",  # a ligature that folds to "fi"
    "k",
    "\u212a",  # Kelvin sign: its lower case is "k"
    "ss",
    "\u00df",  # its upper case is "SS"
    "\u0131",  # dotless i: its upper case is "I"
    "\u0130",  # its lower case is two code points
    "😀",
    "\U0010ffff",
)
LONGEST = (
    "a" * limits.ID_BYTES_MAX,
    "a" * (limits.ID_BYTES_MAX - 1) + "b",
    "a" * (limits.ID_BYTES_MAX - 1),
    "." * limits.ID_BYTES_MAX,
    "é" * (limits.ID_BYTES_MAX // 2),
    "e\u0301" * (limits.ID_BYTES_MAX // 3),
)
TOO_LONG = ("a" * (limits.ID_BYTES_MAX + 1), "é" * (limits.ID_BYTES_MAX // 2) + "a", "." * 4096, "a" * 4096)

IDS = tuple(dict.fromkeys((*SEPARATORS, *INVISIBLE, *ESCAPES, *LOOK_ALIKE, *LONGEST)))
"""All that are allowed."""


def relatives(text: str) -> list[str]:
    """Other texts that a careless comparison takes for this one: other normal forms and cases, and what trimming or escaping leaves."""
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    cases = [text.upper(), text.lower(), text.casefold(), text.swapcase()]
    trimmed = [text.strip(), f" {text}", f"{text} ", f"{text}\x00", f"{text}\u200b", text.replace("_", ".")]
    escaped = [text.replace(".", "_2E"), text.replace("A", "_41"), f"{text}.", f".{text}", text.replace(".", "")]
    return [each for each in dict.fromkeys((*forms, *cases, *trimmed, *escaped)) if each and each != text]
