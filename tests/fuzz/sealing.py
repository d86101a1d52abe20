"""Fuzz targets: the keys file, and what is stored sealed."""

import functools
import tempfile
from pathlib import Path

import structlog

from runcast.bus.health import Dependency
from runcast.bus.sealing import envelope
from runcast.bus.sealing.keysfile import KeysFileError, read_keysfile
from runcast.bus.sealing.seals import Seals, UnreadableError
from runcast.wire.ids import UserKey
from tests.fuzz.reading import Reader, piece
from tests.unit.bus.sealing.keys import secret, tenant

NOW = 1_700_000_000
_USER, _OTHER = UserKey("acme", "alice"), UserKey("acme", "bob")
_PLACE = "ev.0.acme.alice"
_SECRET = secret("acme/k2")
_KEYS = tenant("acme", "k2", "k1", "k2") + tenant("*", "all-1")


@functools.cache
def _directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="runcast-fuzz-"))


@functools.cache
def _seals(text: str) -> Seals:
    path = _directory() / f"{len(text)}.toml"
    path.write_text(text)
    log = structlog.wrap_logger(None, processors=[_drop])
    made = Seals(log, Dependency("keys", 0.0), clock=lambda: 0.0, wall=lambda: NOW, random=lambda count: b"n" * count)
    made.load(str(path))
    return made


def _drop(*_: object) -> structlog.types.EventDict:
    raise structlog.DropEvent


def keysfile(data: bytes) -> None:
    """A keys file: used whole or not at all, and no problem repeats a key."""
    path = _directory() / "keys.toml"
    path.write_bytes(data)
    file, problems = None, ""
    try:
        file = read_keysfile(path)
    except KeysFileError as exc:
        problems = str(exc)
    assert _SECRET not in repr(file) + problems
    if file is None:
        assert problems.strip()
        return
    for name in ("acme", "", "\x00"):
        keys = file.keyring.keys_of(name)
        assert keys is None or len(keys.secrets[keys.current]) == envelope.KEY_BYTES


def sealed(data: bytes) -> None:
    """What is found in storage: as it comes, or an envelope of ours that was changed. Nothing else opens than what was sealed."""
    seals, reader = _seals(_KEYS), Reader(data)
    how = reader.byte() % 3
    if how == 0:
        found = reader.rest()
        if not envelope.is_sealed(found):
            assert seals.open(_USER, _PLACE, found) == found, "in plain text, which this tenant still may have"
            return
        _opens_only_what_was_sealed(seals, _USER, _PLACE, found)
        return
    payload = reader.piece()
    good = seals.seal(_USER, _PLACE, payload)
    assert seals.open(_USER, f"live{_PLACE[2:]}", good) == payload
    if how == 1:
        _opens_only_what_was_sealed(seals, _OTHER, _PLACE, good)
        _opens_only_what_was_sealed(seals, _USER, reader.rest().decode("latin-1"), good)
        return
    changed = bytearray(good)
    while reader.left:
        at = reader.number(len(changed))
        changed[at] ^= reader.byte()
    if envelope.is_sealed(changed):
        _opens_only_what_was_sealed(seals, _USER, _PLACE, bytes(changed))


def _opens_only_what_was_sealed(seals: Seals, user: UserKey, place: str, found: bytes) -> None:
    try:
        opened = seals.open(user, place, found)
    except UnreadableError:
        return
    assert seals.seal(user, place, opened) == found, "time and nonces are always the same here, so it was forged or moved"


def seeds() -> dict[str, list[bytes]]:
    """Inputs to begin with, by target."""
    good = _seals(_KEYS).seal(_USER, _PLACE, b"\x0a\x01x")
    unknown = envelope.head_of("gone", NOW) + b"n" * 12 + b"t" * 16
    return {
        "keysfile": [
            _KEYS.encode(),
            tenant("acme", "k2").encode(),
            f'unlisted = "refuse"\n[tenants.acme]\ncurrent = "k"\nplain = false\nkeys = {{ k = "{_SECRET[:-4]}" }}\n'.encode(),
            b'[tenants.acme]\ncurrent = "k"\nkeys = { k = { file = "../keys.toml" } }\n',
            b'[tenants.acme]\ncurrent = ["k"]\nkeys = { k = { file = "a\\u0000b" } }\n',
            b"x = " + b"9" * 5000,
        ],
        "sealed": [
            b"\0" + good[:-1],
            b"\0\x0a\x01x",
            b"\0" + unknown,
            b"\1" + piece(b"\x0a\x01x") + b"ev.0.acme.bob",
            b"\2" + piece(b"\x0a\x01x") + b"\0\5\1",
        ],
    }
