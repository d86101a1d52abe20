"""Two tenants, at two routers and two edges that check who it is: where users and agents attack each other.

Everything that can be the same is the same: both tenants have users of the same ids, all users have runs, devices, requests and sends of
the same ids, both tenants' agents say the same producer id. What keeps them apart is whose token it is, and nothing else.
"""

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from runcast.bus.identity.apikeys import make_key
from runcast.testkit import Cluster
from runcast.v1.event_pb2 import Custom, Event, InputRequested, User
from runcast.wire.frames import CODECS
from runcast.wire.ids import UserKey
from tests import hostile
from tests.security.attackers import Page, Producer, make_token
from tests.security.crossings import Marks

HERE, THERE = "acme", "acme.x"
"""The tenants: users `x.a` of the one and `a` of the other would be the same, if ids were written one after the other."""
ISS = "https://login.test/"
NAMES = dict.fromkeys(["x.a", "a", *hostile.LOOK_ALIKE, *hostile.LONGEST, *hostile.IDS])
USERS = [UserKey(tenant, name) for tenant in (HERE, THERE) for name in list(NAMES)[:50]]
SHARED, DEVICE, REQUEST, PRODUCER = "run", "d1", "q", "p"
AT_ONCE = 16


class Place(NamedTuple):
    """Where it happens."""

    cluster: Cluster
    edges: list[str]
    keys: dict[str, str]
    secret: str

    def token(self, user: UserKey, **claims: Any) -> str:
        """A token of the user; `claims` change it."""
        now = int(time.time())
        whole = {"iss": ISS, "aud": "runcast", "sub": user.user, "org": user.tenant, "iat": now, "exp": now + 600} | claims
        return make_token(self.secret, **whole)

    def producer(self, agent: str, producer: str = PRODUCER, router: int = 0) -> Producer:
        """A Publish stream of an agent."""
        return Producer(self.cluster.router_addresses()[router], self.keys[agent], producer)


@contextlib.contextmanager
def started(home: Any, directory: Path) -> Iterator[Place]:
    """Two routers and two edges. Agents: `here` and `beside` of one tenant, `there` of the other."""
    secret, path = secrets.token_hex(32), directory / "auth.toml"
    made = {agent: make_key(f"key{number}", os.urandom(32)) for number, agent in enumerate(("here", "beside", "there"))}
    policy = directory / "policy.toml"
    policy.write_text('default = "unlimited"\n')  # what is shown here is that nothing crosses, not that little gets through
    path.write_text(_auth_file(secret, {agent: key.kept for agent, key in made.items()}))
    cluster = Cluster(
        routers=2, edges=0, environ={"RUNCAST_AUTH": "token", "RUNCAST_AUTH_FILE": str(path), "RUNCAST_POLICY_FILE": str(policy)}
    )
    home.run(cluster.start)
    try:
        edges = home.run(lambda: _start_edges(cluster, path))
        yield Place(cluster, edges, {agent: key.text for agent, key in made.items()}, secret)
    finally:
        home.run(cluster.stop)


def _auth_file(secret: str, kept: dict[str, str]) -> str:
    issuer = {"name": "login", "issuer": ISS, "audience": ["runcast"], "algorithms": ["HS256"], "secret": secret}
    issuer |= {"tenant_claim": "org", "tenants": [HERE, THERE]}
    agents = [
        {"name": name, "tenants": [THERE if name == "there" else HERE], "groups": ["desk"], "keys": [key]} for name, key in kept.items()
    ]
    tables = [("issuers", issuer), *(("agents", agent) for agent in agents)]
    return "\n".join(line for name, table in tables for line in (f"[[{name}]]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())))


async def _start_edges(cluster: Cluster, path: Path) -> list[str]:
    environ = {
        "RUNCAST_BIND": "127.0.0.1:0",
        "RUNCAST_NATS_URL": cluster.nats_url,
        "RUNCAST_AUTH": "jwt",
        "RUNCAST_AUTH_FILE": str(path),
        "RUNCAST_POLICY_FILE": str(path.with_name("policy.toml")),
        "RUNCAST_CONNECTS_PER_S": "0",
        "RUNCAST_STRANGERS_PER_ADDRESS": "0",
    }

    async def start(name: str) -> str:
        process = await cluster.add(name, ["-m", "runcast.edge"], ready=r"^ready edge ", environ={**environ, "RUNCAST_ID": name})
        port = process.log_path.read_text().split("ready edge 127.0.0.1:")[1].split()[0]
        return f"http://127.0.0.1:{port}/v1/ws"

    return await asyncio.gather(start("edge-a"), start("edge-b"))


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield http


async def each(work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """For every user, some at once."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def do(index: int) -> None:
        async with slots:
            await work(index)

    async with asyncio.TaskGroup() as group:
        for index in range(len(USERS)):
            group.create_task(do(index))


class World:
    """All that the attack needs to know, and all that it has seen.

    Attributes:
        own: the page of each user that stays open to the end.
        others: pages that came and went, with whose they were.
        sent: ids of messages that each user sent and that were confirmed.
        receipts: users whose pages acknowledge, so that a receipt may come.
    """

    def __init__(self, place: Place, http: aiohttp.ClientSession, stack: contextlib.AsyncExitStack) -> None:
        self.place = place
        self.marks = Marks({user: f"mark-{secrets.token_hex(12)}" for user in USERS})
        self.own: list[Page] = [None] * len(USERS)  # type: ignore[list-item]
        self.others: list[tuple[UserKey, Page]] = []
        self.sent: dict[UserKey, set[str]] = {user: set() for user in USERS}
        self.http = http
        self.stack = stack

    def mark(self, index: int) -> str:
        return self.marks.of[USERS[index]]

    def run(self, index: int) -> str:
        """A run id that no other user has."""
        return f"run-{index}"

    def page(self, index: int) -> Page:
        """A page of the user, not yet open; edges and subprotocols in turn."""
        return Page(self.http, self.place.edges[index % 2], list(CODECS)[index // 2 % 2])

    @contextlib.asynccontextmanager
    async def visit(self, index: int) -> AsyncIterator[Page]:
        """A further page of the user."""
        async with self.page(index) as page:
            self.others.append((USERS[index], page))
            yield page


def events_of(mark: str) -> list[Event]:
    return [
        Event(agent_started={}),
        Event(custom=Custom(name="mark", data_json=json.dumps({"mark": mark}).encode())),
        Event(input_requested=InputRequested(request_id=REQUEST, prompt=mark)),
    ]


def wire_user(user: UserKey) -> User:
    return User(tenant=user.tenant, id=user.user)
