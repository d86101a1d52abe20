"""Where operators work: routers and an admin service with an auth file, started once for all tests that look at them; and with mTLS.

What a test does to it, it undoes: it revokes and lifts, and has another auth file within `using` alone. Its tests are one group for
xdist, so that there is one office.
"""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc.aio
import pytest

from runcast.bus.identity.apikeys import MadeKey, make_key
from runcast.client import RefusedError, Runcast
from runcast.testkit import Cluster
from runcast.v1.admin_pb2_grpc import AdminServiceStub
from tests.certificates import Authority

Table = tuple[str, dict[str, Any]]


def key(name: str) -> MadeKey:
    return make_key(name, os.urandom(32))


VIEWER, OPERATOR, AGENT = key("viewer"), key("operator"), key("agent")
FIRST, SECOND, OTHER = key("first"), key("second"), key("other")


def write(path: Path, *tables: Table) -> Path:
    lines = [line for name, table in tables for line in (f"[[{name}]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()))]
    file, new = path / "auth.toml", path / "auth.new"
    new.write_text("\n".join(lines))
    new.replace(file)
    return file


PEOPLE: tuple[Table, ...] = (
    ("agents", {"name": "analyst", "tenants": ["*"], "keys": [AGENT.kept]}),
    ("admins", {"name": "auditor", "keys": [VIEWER.kept]}),
    ("admins", {"name": "ops", "keys": [OPERATOR.kept], "roles": ["view", "operate"]}),
)
RULES = ("**.password",)
COLLEAGUES: tuple[Table, ...] = (
    ("agents", {"name": "twice", "tenants": ["*"], "keys": [FIRST.kept, SECOND.kept], "groups": ["support"]}),
    ("agents", {"name": "writer", "tenants": ["*"], "keys": [OTHER.kept], "groups": ["support"]}),
)


def people(path: Path) -> Path:
    """An auth file with two operators and an agent."""
    return write(path, *PEOPLE)


def _redact(directory: Path, *rules: str) -> Path:
    file, new = directory / "redaction.toml", directory / "redaction.new"
    new.write_text(f"rules = {json.dumps(rules)}")
    new.replace(file)
    return file


class Office:
    """The place.

    Attributes:
        cluster: two routers and two admins; the first is meant where none is named.
    """

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self._directory = directory
        self._visitors = itertools.count(11)

    def new_address(self) -> str:
        """An address of this machine from which nobody has come: what is counted by address begins at nothing."""
        return f"127.0.0.{next(self._visitors)}"

    @contextlib.asynccontextmanager
    async def using(self, *tables: Table) -> AsyncIterator[None]:
        """Another auth file counts within it, beside what agents of the usual one may do; the usual one is back at the end."""
        await self._use(*tables, *COLLEAGUES)
        try:
            yield
        finally:
            await self._use(*PEOPLE, *COLLEAGUES)

    async def _use(self, *tables: Table) -> None:
        """Put it in place, and wait until all have read it."""
        logs = [node.log_path for node in self.cluster.services]
        before = [log.read_text().count("auth_file_read") for log in logs]
        write(self._directory, *tables)
        async with asyncio.timeout(20):
            while any(log.read_text().count("auth_file_read") <= count for log, count in zip(logs, before, strict=True)):  # noqa: ASYNC110 # other processes
                await asyncio.sleep(0.05)

    @contextlib.contextmanager
    def redacting(self, *rules: str) -> Iterator[None]:
        """Other redaction rules count within it."""
        _redact(self._directory, *rules)
        try:
            yield
        finally:
            _redact(self._directory, *RULES)

    @contextlib.contextmanager
    def log(self) -> Iterator[list[str]]:
        """What the admin logs from here on; the list is filled at the end."""
        path = self.cluster.admins[0].log_path
        before, lines = path.stat().st_size, list[str]()
        yield lines
        lines += path.read_bytes()[before:].decode().splitlines()


@contextlib.contextmanager
def opened(home: Any, directory: Path) -> Iterator[Office]:
    """Start it."""
    file = write(directory, *PEOPLE, *COLLEAGUES)
    environ = {"RUNCAST_AUTH": "token", "RUNCAST_AUTH_FILE": str(file), "RUNCAST_REDACTION_FILE": str(_redact(directory, *RULES))}
    cluster = Cluster(routers=2, edges=0, admins=2, environ=environ)
    home.run(cluster.start)
    try:
        yield Office(cluster, directory)
    finally:
        home.run(cluster.stop)


class Mutual(NamedTuple):
    """A router and an admin that go by certificates: `ops` is an operator's, `analyst` an agent's of tenant acme, `stranger` nobody's."""

    cluster: Cluster
    authority: Authority
    ops: tuple[Path, Path]
    analyst: tuple[Path, Path]
    stranger: tuple[Path, Path]


@contextlib.contextmanager
def opened_mutual(home: Any, directory: Path) -> Iterator[Mutual]:
    """Start it."""
    authority = Authority(directory)
    tls = authority.cluster(mutual=True, nats=False)
    file = write(
        directory,
        ("admins", {"name": "ops", "certificates": ["spiffe://test/ops"]}),
        ("agents", {"name": "analyst", "tenants": ["acme"], "certificates": ["spiffe://test/analyst"]}),
    )
    cluster = Cluster(routers=1, edges=0, admins=1, tls=tls, environ={"RUNCAST_AUTH": "mtls", "RUNCAST_AUTH_FILE": str(file)})
    ops, analyst = (authority.sign(name, uris=(f"spiffe://test/{name}",)) for name in ("ops", "analyst"))
    home.run(cluster.start)
    try:
        yield Mutual(cluster, authority, ops, analyst, authority.sign("stranger"))
    finally:
        home.run(cluster.stop)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@contextlib.asynccontextmanager
async def admin(cluster: Cluster, number: int = 0) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(cluster.admins[number].address) as channel:
        yield AdminServiceStub(channel)


async def code_of(call: Any) -> str:
    """The code of the table with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return str(dict(caught.value.trailing_metadata() or ()).get("runcast-code", caught.value.code().name))


class Connected:
    """An agent's client that says when it is closed out, and may be left though it is not let in any more.

    Attributes:
        ended: when nothing will be carried any more.
    """

    def __init__(self, address: str, token: str, **options: Any) -> None:
        self.ended = asyncio.Event()
        self.states: list[str] = []
        self.runcast = Runcast(address, agent="a", token=token, on_state=self._on_state, **options)

    async def __aenter__(self) -> Self:
        await self.runcast.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(RefusedError):
            await self.runcast.__aexit__(kind, exc, trace)

    def _on_state(self, state: object) -> None:
        self.states.append(state.state)  # type: ignore[attr-defined]
        if self.states[-1] == "closed":
            self.ended.set()
