"""Users at an edge that checks tokens: real keys, a real key server, a real edge process, real WebSockets.

The edge belongs to the shared cluster, so agents tell through its routers what the devices here get.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from runcast.client import Runcast
from runcast.wire import limits_identity as limits
from tests.unit.bus.identity.issuing import SECRET, KeyServer, issuer, public_jwk, sign, write

COOKIE = "__Host-runcast"
APP = "https://app.test"
MAIN = {"name": "main", "issuer": "https://main.test/", "secret": SECRET, "leeway_s": 0}


class Door:
    """An edge of the shared cluster that checks tokens."""

    def __init__(self, base: str, process: Any, auth_file: Any, keys: KeyServer) -> None:
        self.base = base
        self.process = process
        self.auth_file = auth_file
        self.keys = keys

    @contextlib.asynccontextmanager
    async def device(
        self, token: str = "", *, hello: str = "", position: str = "earliest", headers: dict[str, str] | None = None, query: str = ""
    ) -> AsyncIterator["Ws"]:
        protocols = ["runcast.v1.json", *([f"runcast.token.{token}"] if token else [])]
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.ws_connect(f"{self.base}/v1/ws{query}", protocols=protocols, headers=headers or {}) as ws,
        ):
            device = Ws(ws)
            with contextlib.suppress(ConnectionError):
                await device.say("hello", device="d1", position=position, **({"token": hello} if hello else {}))
            yield device

    async def until(self, state: str) -> None:
        """Wait until the edge says so of its authentication."""
        async with aiohttp.ClientSession() as http, asyncio.timeout(10):
            while True:
                if (await (await http.get(f"{self.base}/healthz")).json())["auth"]["state"] == state:
                    return
                await asyncio.sleep(0.1)


class Ws:
    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.frames: list[dict[str, Any]] = []

    async def say(self, kind: str, /, **fields: Any) -> None:
        await self.ws.send_str(json.dumps({"type": kind, **fields}))

    async def frame(self, kind: str, within_s: float = 10.0) -> dict[str, Any]:
        """The next frame of a kind."""
        async with asyncio.timeout(within_s):
            async for message in self.ws:
                self.frames.append(json.loads(message.data))
                if self.frames[-1]["type"] == kind:
                    return self.frames[-1]
        raise AssertionError(f"closed with {self.ws.close_code} before {kind}; {self.frames}")

    async def end(self, within_s: float = 10.0) -> int | None:
        """The close code."""
        async with asyncio.timeout(within_s):
            async for message in self.ws:
                self.frames.append(json.loads(message.data))
        return self.ws.close_code


def token(user: str, **changes: Any) -> str:
    return sign(SECRET, "HS256", iss=MAIN["issuer"], sub=user, **changes)


@pytest.fixture
async def door(runcast_cluster, tmp_path) -> AsyncIterator[Door]:
    keys = KeyServer()
    await keys.start()
    keys.keys = [public_jwk("rsa", kid="a"), public_jwk("ed25519", kid="b")]
    rotating = issuer(algorithms=["RS256", "EdDSA"], jwks_url=keys.url)
    auth_file = write(tmp_path, issuer(**MAIN), rotating)
    process, base = await start_edge(
        runcast_cluster, RUNCAST_AUTH="jwt", RUNCAST_AUTH_FILE=str(auth_file), RUNCAST_COOKIE=COOKIE, RUNCAST_ORIGINS=APP
    )
    yield Door(base, process, auth_file, keys)
    await process.stop()
    await keys.stop()


async def start_edge(cluster: Any, **environ: str) -> tuple[Any, str]:
    """An edge of the cluster that is configured so; its process and base URL."""
    environ = {"RUNCAST_BIND": "127.0.0.1:0", "RUNCAST_NATS_URL": cluster.nats_url, **environ}
    process = await cluster.add(f"edge-{time.monotonic_ns()}", ["-m", "runcast.edge"], ready=r"^ready edge ", environ=environ)
    port = process.log_path.read_text().split("ready edge 127.0.0.1:")[1].split()[0]
    return process, f"http://127.0.0.1:{port}"


async def refused(door: Door, code: str, close: int, **options: Any) -> None:
    async with door.device(**options) as device:
        assert await device.end() == close
        (error,) = [frame for frame in device.frames if frame["type"] == "error"]
        assert error["code"] == code
        assert error.get("retry", False) == (close < 4500)
        assert not [frame for frame in device.frames if frame["type"] in ("welcome", "batch")]


async def test_a_token_may_be_in_four_places_and_each_opens_the_users_own_stream(door, user, runcast_cluster):
    good = token(user)
    async with Runcast(",".join(runcast_cluster.router_addresses()), agent="test") as rc, rc.run(user=user, thread="t") as run:
        await run.respond("for you")
    for options in (
        {"token": good},
        {"hello": good},
        {"headers": {"Authorization": f"Bearer {good}"}},
        {"headers": {"Cookie": f"{COOKIE}={good}", "Origin": APP}},
        {"token": good, "hello": token("other"), "headers": {"Authorization": f"Bearer {token('other')}"}},
        {"hello": good, "headers": {"Cookie": f"{COOKIE}={token('other')}", "Origin": APP}},
    ):
        async with door.device(**options) as device:
            welcome = await device.frame("welcome")
            assert (welcome["tenant"], welcome["user"]) == ("default", user)
            await device.frame("batch")
    async with door.device(token(f"{user}-2")) as device:
        welcome = await device.frame("welcome")
        assert welcome["position"] == welcome["tip"], "another user's stream is empty"


async def test_a_token_in_the_url_is_not_seen(door, user):
    for name in ("token", "access_token", "runcast.token"):
        await refused(door, "unauthenticated", 4501, query=f"?{name}={token(user)}")


async def test_wrong_tokens_are_told_not_to_come_back_and_old_ones_to_come_back(door, user):
    now = time.time()
    for wrong in (
        "",
        f"dev.default.{user}",
        sign("x" * 64, "HS256", iss=MAIN["issuer"]),
        token(user, aud="elsewhere"),
        token(user, nbf=now + 60),
        sign(SECRET, "HS256", {"kid": "a"}, sub=user),  # of the issuer that signs with RS256
    ):
        await refused(door, "unauthenticated", 4501, token=wrong)
    await refused(door, "token_expired", 4012, token=token(user, exp=now - 1))


async def test_the_session_ends_with_the_token_and_a_refresh_prolongs_it(door, user):
    now = time.time()
    async with door.device(token(user, exp=now + 2)) as device:
        await device.frame("welcome")
        assert await device.end() == 4012
        assert time.time() >= now + 2
    now = time.time()
    async with door.device(token(user, exp=now + 2)) as device:
        await device.frame("welcome")
        await device.say("refresh", token=token(user, exp=now + 60))
        with pytest.raises(TimeoutError):
            await device.end(4.0)


async def test_a_refresh_is_for_the_same_user(door, user):
    for other in (token(f"{user}-2"), sign("x" * 64, "HS256", iss=MAIN["issuer"], sub=user), "rubbish"):
        async with door.device(token(user)) as device:
            await device.frame("welcome")
            await device.say("refresh", token=other)
            assert await device.end() == 4501


async def test_what_is_said_behind_a_refresh_is_not_stored_as_the_user_before(door, user):
    async with door.device(token(user)) as device:
        await device.frame("welcome")
        await device.say("refresh", token=token(f"{user}-2"))
        await device.say("send", id="theirs", kind="message", group="g", text="meant for somebody else")
        assert await device.end() == 4501
    async with door.device(token(user)) as device:
        await device.frame("welcome")
        await device.say("refresh", token=token(user))
        await device.say("send", id="mine", kind="message", group="g", text="behind a good one")
        batch = await device.frame("batch")
        assert [event["id"] for event in batch["events"]] == ["mine"], "the stream's first"
        assert (await device.frame("sent"))["id"] == "mine"


async def test_pages_of_other_origins_do_not_get_in(door, user):
    good, cookie = token(user), {"Cookie": f"{COOKIE}={token(user)}"}
    for origin in ("https://evil.test", "null", f"{APP}.evil.test", "http://127.0.0.1:1"):
        await refused(door, "origin_refused", 4505, token=good, headers={"Origin": origin})
        await refused(door, "origin_refused", 4505, headers={"Origin": origin, **cookie})
    await refused(door, "origin_refused", 4505, headers=cookie)  # a cookie without any origin: no browser's WebSocket
    own = door.base.replace("http", "https")
    for origin in (APP, door.base, own):
        async with door.device(good, headers={"Origin": origin}) as device:
            await device.frame("welcome")


async def test_keys_rotate_while_people_come_and_go(door, user):
    async with door.device(sign("rsa", "RS256", {"kid": "a"}, sub=user)) as device:
        await device.frame("welcome")
        async with door.device(sign("ed25519", "EdDSA", {"kid": "b"}, sub=user)) as other:
            await other.frame("welcome")
    door.keys.keys = [public_jwk("rsa-2", kid="c")]
    rotated = sign("rsa-2", "RS256", {"kid": "c"}, sub=user)
    await refused(door, "unavailable", 4003, token=rotated)  # fetched a moment ago: come back a little later
    async with asyncio.timeout(limits.JWKS_REFETCH_S + 5):
        while True:
            async with door.device(rotated) as device:
                if (await device.ws.receive_json())["type"] == "welcome":
                    return
            await asyncio.sleep(0.5)


async def test_the_issuer_is_away(door, user):
    async with door.device(sign("rsa", "RS256", {"kid": "a"}, sub=user)) as device:
        await device.frame("welcome")
    await door.keys.stop()
    async with door.device(sign("rsa", "RS256", {"kid": "a"}, sub=user)) as device:
        await device.frame("welcome")


async def test_the_auth_file_is_read_again(door, user, tmp_path):
    other = sign("n" * 64, "HS256", iss="https://new.test/", sub=user)
    await refused(door, "unauthenticated", 4501, token=other)
    write(tmp_path, issuer(**MAIN), issuer(name="new", issuer="https://new.test/", algorithms=["none"], tenant="other"))
    await door.until("degraded")
    async with door.device(token(user)) as device:
        await device.frame("welcome")
    write(tmp_path, issuer(**MAIN), issuer(name="new", issuer="https://new.test/", secret="n" * 64, tenant="other"))
    await door.until("ok")
    async with door.device(other) as device:
        assert (await device.frame("welcome"))["tenant"] == "other"


async def test_nothing_of_development_mode_is_served_and_no_token_is_logged(door, user):
    good = token(user)
    async with door.device(good) as device:
        await device.frame("welcome")
    await refused(door, "unauthenticated", 4501, token=good + "x")
    async with aiohttp.ClientSession() as http:
        for path in ("/", "/demo/demo.js", "/statsz"):
            assert (await http.get(door.base + path)).status == 404
    log = door.process.log_path.read_text()
    assert "no key of issuer 'main' made the signature" in log
    assert good.rpartition(".")[0] not in log
    assert SECRET not in log


async def test_a_service_of_the_operators_says_who_it_is(runcast_cluster, user, tmp_path):
    async def who(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["token"] != "opaque":
            raise web.HTTPUnauthorized
        return web.json_response({"tenant": "acme", "user": user, "expires_in_s": 2})

    app = web.Application()
    app.router.add_post("/who", who)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "auth.toml").write_text(f'[http]\nurl = "http://127.0.0.1:{runner.addresses[0][1]}/who"\n')
    process, base = await start_edge(runcast_cluster, RUNCAST_AUTH="http", RUNCAST_AUTH_FILE=str(tmp_path / "auth.toml"))
    try:
        door = Door(base, process, tmp_path / "auth.toml", KeyServer())
        await refused(door, "unauthenticated", 4501, token="other")
        async with door.device("opaque") as device:
            assert (await device.frame("welcome"))["tenant"] == "acme"
            assert await device.end() == 4012, "what the service says is over after two seconds"
    finally:
        await process.stop()
        await runner.cleanup()
