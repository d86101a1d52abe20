"""The spill: a SQLite file with what an agent's outbox has accepted and the log has not, so that a process that is killed loses none of it.

Theory. Every event of an open run is written in the moment in which the outbox takes it in, and committed once per turn of the event loop,
and before anything is sent. The file needs to outlive the process, not the machine: WAL without fsync costs a write into the page cache.
It also keeps what is stored already of an open run, so that the run can be told again whole, should it be declared lost before its end
could be said.

Rules.
1. One process has the file, as long as it is open (`spill_lock.py`).
2. What is kept is bounded by `bytes_max`. At it, the stored part of the longest runs is forgotten first (they can't be told again whole
   then); when that is not enough the outbox is full.
3. A file that can't be written any more (the disk is full) is given up and removed, loudly: what it holds is not true any more. The agent
   goes on without.
4. Times are kept by the clock of this boot and by the wall clock; the later of both counts, and of another boot nothing is believed.

Invariant: what the file holds of a run is what its outbox held after some call of the journal, and not before the last `commit`.

Never imports grpc or anything that sends.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from runcast.client.errors import RunKey, SpillError
from runcast.client.spill_lock import SpillLock
from runcast.v1.event_pb2 import Event
from runcast.wire import limits_client as limits
from runcast.wire.ids import UserKey, event_id
from runcast.wire.lifecycle import Lifecycle

_log = logging.getLogger("runcast.client")
_APPLICATION: Final = 0x52554E43  # "RUNC"
_SCHEMA: Final = 1
_SEQ_BITS: Final = 32
_TABLES: Final = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, producer TEXT NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL, run TEXT NOT NULL, attempt INTEGER NOT NULL,
  number INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0, whole INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE events (place INTEGER PRIMARY KEY, event BLOB NOT NULL);
CREATE TABLE flights (run INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, receipt_ms INTEGER NOT NULL, boot TEXT NOT NULL, at REAL NOT NULL,
  wall REAL NOT NULL);
"""
"""An event's place is its run's id and its seq. A run's number and seq are the last stored ones; its flight is the next batch, as built."""


class Row(NamedTuple):
    """A run in the file."""

    id: int
    key: RunKey
    number: int
    seq: int
    whole: bool


class Flown(NamedTuple):
    """A batch that was built, and maybe sent.

    Attributes:
        last_seq: of its events.
        receipt_ms: as its batch has it.
        age_s: since it was built, seconds; infinite when nobody can know.
    """

    last_seq: int
    receipt_ms: int
    age_s: float


class Spill:
    """The file. Used from one thread, with an event loop.

    Args:
        path: of the file; made when it is missing.
        bytes_max: of the events in it.

    Attributes:
        path: as given.
        broken: it was given up.
        on_room: called when there is room again.
    """

    def __init__(self, path: str | os.PathLike[str], *, bytes_max: int = limits.SPILL_BYTES_MAX) -> None:
        self.path = Path(path)
        self.broken = False
        self.on_room: Callable[[], None] = lambda: None
        self._bytes_max = bytes_max
        self._bytes = 0
        self._sizes: dict[int, int] = {}  # by run
        self._file: sqlite3.Connection | None = None
        self._lock = SpillLock(self.path)
        self._boot = _read_boot()
        self._committing: asyncio.Handle | None = None

    # --- the file ---

    def open(self) -> None:
        """Lock and open the file.

        Raises:
            SpillError: another process has it, it is no spill, or it can't be used.
        """
        self._lock.take()
        try:
            try:
                self._file = self._connect()
            except sqlite3.DatabaseError as exc:
                if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
                    raise
                aside = self.path.with_name(f"{self.path.name}.damaged-{int(time.time())}")
                _log.error("the spill %s is damaged (%s): it was put aside as %s, and what it held is not sent", self.path, exc, aside)
                self.path.rename(aside)
                self._remove_files()
                self._file = self._connect()
        except (sqlite3.Error, OSError) as exc:
            self._lock.release()
            raise SpillError(f"the spill {self.path} can't be used: {exc}; choose another path, or move the file away") from exc
        except SpillError:
            self._lock.release()
            raise
        self._bytes = sum(self._sizes.values())

    def close(self) -> None:
        """Write what is to be kept, and let go of the file."""
        if self._file is None:
            return
        self.commit()
        if self._committing is not None:
            self._committing.cancel()
        file, self._file = self._file, None
        if file is not None:
            with self._guard():
                if not self._sizes:
                    file.execute("VACUUM")
                file.close()
        self._lock.release()

    def commit(self) -> None:
        """What was written until now outlives the process."""
        self._committing = None
        if self._file is not None and self._file.in_transaction:
            with self._guard():
                self._file.execute("COMMIT")

    # --- runs ---

    def producers(self) -> list[str]:
        """Who has runs in the file, oldest first."""
        return [row[0] for row in self._read("SELECT producer FROM runs GROUP BY producer ORDER BY min(id)")]

    def rows(self, producer: str) -> list[Row]:
        """The runs of a producer, oldest first."""
        found = self._read("SELECT id, tenant, user, run, attempt, number, seq, whole FROM runs WHERE producer = ? ORDER BY id", producer)
        return [
            Row(id_, RunKey(UserKey(tenant, user), run, attempt), number, seq, bool(whole))
            for id_, tenant, user, run, attempt, number, seq, whole in found
        ]

    def events(self, run: int, after_seq: int = 0) -> Iterator[Event]:
        """A run's events behind a seq, in order. Write nothing meanwhile."""
        for (event,) in self._read("SELECT event FROM events WHERE place > ? AND place < ? ORDER BY place", *_span(run, after_seq)):
            yield Event.FromString(event)

    def flown(self, run: int) -> Flown | None:
        """The batch of a run that was built and not answered."""
        for last_seq, receipt_ms, boot, at, wall in self._read(
            "SELECT last_seq, receipt_ms, boot, at, wall FROM flights WHERE run = ?", run
        ):
            same_boot = boot == self._boot
            age_s = max(time.monotonic() - at, time.time() - wall, 0.0) if same_boot else float("inf")
            return Flown(last_seq, receipt_ms, age_s)
        return None

    def has_room(self, size: int, *, reserve: int = 0) -> bool:
        """Whether `size` bytes more may be written; `reserve` more are allowed."""
        if self._file is None or self._bytes + size <= self._bytes_max + reserve:
            return True
        self._forget_history()
        return self._bytes + size <= self._bytes_max + reserve

    def add_run(self, producer: str, key: RunKey) -> int:
        """A run's attempt begins; returns its id in the file."""
        with self._guard():
            if self._begin() and self._file is not None:
                done = self._file.execute(
                    "INSERT INTO runs (producer, tenant, user, run, attempt) VALUES (?, ?, ?, ?, ?)",
                    (producer, key.user.tenant, key.user.user, key.run_id, key.attempt),
                )
                return done.lastrowid or 0
        return 0

    def put(self, run: int, event: Event, size_before: int = 0) -> int:
        """Write an event, or write it anew (`size_before` bytes then go); returns its size."""
        if self._file is None:
            return 0
        content = event.SerializeToString()
        self._write("INSERT OR REPLACE INTO events VALUES (?, ?)", _place(run, event.seq), content)
        self._count(run, len(content) - size_before)
        return len(content)

    def fly(self, run: int, last_seq: int, receipt_ms: int) -> None:
        """The run's next batch was built, and goes out."""
        self._write(
            "INSERT OR REPLACE INTO flights VALUES (?, ?, ?, ?, ?, ?)", run, last_seq, receipt_ms, self._boot, time.monotonic(), time.time()
        )

    def land(self, run: int, number: int, last_seq: int) -> None:
        """It is stored."""
        self._write("UPDATE runs SET number = ?, seq = ? WHERE id = ?", number, last_seq, run)
        self._write("DELETE FROM flights WHERE run = ?", run)

    def cut(self, run: int) -> None:
        """What is not stored of a run will not be sent."""
        seqs = self._read("SELECT seq FROM runs WHERE id = ?", run)
        for (seq,) in seqs:
            self._write("DELETE FROM events WHERE place > ? AND place < ?", *_span(run, seq))
        self._write("DELETE FROM flights WHERE run = ?", run)
        self._recount(run)

    def drop(self, run: int) -> None:
        """Nothing of a run is needed any more."""
        self._write("DELETE FROM events WHERE place > ? AND place < ?", *_span(run, 0))
        self._write("DELETE FROM flights WHERE run = ?", run)
        self._write("DELETE FROM runs WHERE id = ?", run)
        self._count(run, -self._sizes.get(run, 0))
        self._sizes.pop(run, None)
        self.on_room()

    def begin_again(self, run: int, key: RunKey) -> None:
        """All that a run was given is to be told anew as another attempt, `key`, of which nothing was sent."""
        again = list(self.events(run))
        self._write("DELETE FROM flights WHERE run = ?", run)
        self._write("UPDATE runs SET attempt = ?, number = 0, seq = 0 WHERE id = ?", key.attempt, run)
        for event in again:
            event.attempt = key.attempt
            event.id = event_id(key.run_id, key.attempt, event.seq)
            self.put(run, event)
        self._recount(run)

    # --- inside ---

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # what users wrote is nobody else's
        file = sqlite3.connect(self.path, isolation_level=None, timeout=limits.SPILL_BUSY_S)
        try:
            application, schema, tables = file.execute(
                "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id, pragma_user_version"
            ).fetchone()
            if (application, schema) != (_APPLICATION, _SCHEMA) and (application or schema or tables):
                raise SpillError(f"{self.path} is another program's database, or of another version of Runcast; choose another path")
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = OFF")
            if not tables:
                file.executescript(f"BEGIN; {_TABLES} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_SCHEMA}; COMMIT;")
            self._sizes = dict(file.execute("SELECT place >> ?, sum(length(event)) FROM events GROUP BY 1", (_SEQ_BITS,)))
        except BaseException:
            file.close()
            raise
        return file

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """A file that can't be written is given up."""
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            _log.error("the spill %s can't be written (%s): it was removed, and the agent goes on without", self.path, exc)
            self.broken = True
            file, self._file = self._file, None
            if file is not None:
                with contextlib.suppress(sqlite3.Error):
                    file.close()
            self._sizes.clear()
            self._bytes = 0
            self._remove_files()
            self._lock.release()

    def _remove_files(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _begin(self) -> bool:
        """Be in a transaction, which is committed in the loop's next turn at the latest."""
        if self._file is None:
            return False
        if not self._file.in_transaction:
            self._file.execute("BEGIN")
        if self._committing is None:
            self._committing = asyncio.get_running_loop().call_soon(self.commit)
        return True

    def _write(self, statement: str, *values: object) -> None:
        with self._guard():
            if self._begin() and self._file is not None:
                self._file.execute(statement, values)

    def _read(self, statement: str, *values: object) -> list[Any]:
        with self._guard():
            if self._file is not None:
                return self._file.execute(statement, values).fetchall()
        return []

    def _count(self, run: int, size: int) -> None:
        if self._file is not None:
            self._sizes[run] = self._sizes.get(run, 0) + size
            self._bytes += size

    def _recount(self, run: int) -> None:
        for (size,) in self._read("SELECT sum(length(event)) FROM events WHERE place > ? AND place < ?", *_span(run, 0)):
            self._count(run, (size or 0) - self._sizes.get(run, 0))

    def _forget_history(self) -> None:
        """Make room: of the runs that take most, keep what is not stored, and what their end depends on."""
        enough = self._bytes_max - min(limits.SPILL_FREE_BYTES, self._bytes_max // 8)
        for run in sorted(self._sizes, key=self._sizes.__getitem__, reverse=True):
            if self._bytes <= enough:
                return
            for (stored,) in self._read("SELECT seq FROM runs WHERE id = ? AND seq > 1", run):
                self._shorten(run, stored)

    def _shorten(self, run: int, stored: int) -> None:
        life = Lifecycle()
        begun: dict[str, int] = {}
        for event in self.events(run):
            if event.seq > stored:
                break
            life.advance(event)
            if event.HasField("tool_executing"):
                begun[event.tool_executing.tool_call_id] = event.seq
        kept = [1, *(begun[call] for call in life.open_tools), stored + 1]
        for after, before in itertools.pairwise(kept):
            self._write("DELETE FROM events WHERE place > ? AND place < ?", _place(run, after), _place(run, before))
        self._write("UPDATE runs SET whole = 0 WHERE id = ?", run)
        self._recount(run)


def _place(run: int, seq: int) -> int:
    return (run << _SEQ_BITS) + seq


def _span(run: int, after_seq: int) -> tuple[int, int]:
    """Of a run's events behind a seq: the places before and after them."""
    return _place(run, after_seq), _place(run + 1, 0)


def _read_boot() -> str:
    """Which boot of the machine this is; "" where that can't be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
