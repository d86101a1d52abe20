"""Asking a service whose token it is: over real HTTP, and when it is slow, away or wrong."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from aiohttp import web
from multidict import CIMultiDict

from runcast.bus.identity.authfile import AuthFileError, read_authfile
from runcast.bus.identity.trust import Trust
from runcast.edge.callout import CalloutAuthenticator
from runcast.wire import limits_identity as limits
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey

ALICE = {"tenant": "acme", "user": "alice", "expires_in_s": 60}


class Service:
    """The operator's; tests change what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: Any = ALICE
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.came = asyncio.Event()
        self.at_once = self.most_at_once = 0
        self.url = ""

    async def who(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        self.headers.append(request.headers.get("Authorization", ""))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.came.set()
        try:
            await self.go_on.wait()
        finally:
            self.at_once -= 1
        body = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return web.Response(body=body, status=self.status, headers={"Location": "/who"} if self.status == 307 else {})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    app = web.Application()
    app.router.add_post("/who", made.who)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/who"
    yield made
    await runner.cleanup()


@pytest.fixture
async def auth(service, tmp_path) -> AsyncIterator[CalloutAuthenticator]:
    file = tmp_path / "auth.toml"
    file.write_text(
        f'[http]\nurl = "{service.url}"\nheaders = ["X-Forwarded-User"]\nbearer = "from-an-edge"\ntimeout_s = 0.5\ncache_s = 5\n'
    )
    made = CalloutAuthenticator(Trust(file, structlog.get_logger()))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.run())
        yield made
        running.cancel()


async def refused(auth: CalloutAuthenticator, token: str = "t", *, code: str = "unavailable") -> None:  # noqa: S107 # a test's
    with pytest.raises(RuncastError) as caught:
        await auth.authenticate(token, {})
    assert caught.value.code.name == code


async def test_the_service_says_who_it_is(auth, service):
    identity = await auth.authenticate("t", CIMultiDict({"x-forwarded-user": "alice", "Cookie": "c", "Authorization": "Basic x"}))
    assert identity.user == UserKey("acme", "alice")
    assert identity.term.expires_at == pytest.approx(time.time() + 60, abs=5)
    assert service.asked == [{"token": "t", "headers": {"x-forwarded-user": "alice"}}]
    assert service.headers == ["Bearer from-an-edge"]
    assert auth.report()["state"] == "ok"
    assert (identity.term.issued_at, identity.term.token_id) == (0.0, ""), "it did not say: that it was asked just now is no login"


async def test_the_service_may_say_by_what_it_can_be_revoked(auth, service):
    service.answer = {**ALICE, "token_id": "s-1", "issued_at": 1_800_000_000}
    term = (await auth.authenticate("t", {})).term
    assert (term.issued_at, term.token_id) == (1_800_000_000.0, "s-1")
    for wrong in (-1, "yesterday"):
        service.answer = {**ALICE, "issued_at": wrong}
        await refused(auth, f"t{wrong}")


async def test_good_answers_are_kept_by_all_that_was_asked_and_bad_ones_are_not(auth, service):
    for _ in range(3):
        await auth.authenticate("t", {"X-Forwarded-User": "alice"})
    assert len(service.asked) == 1
    await auth.authenticate("t", {"X-Forwarded-User": "bob"})
    await auth.authenticate("u", {"X-Forwarded-User": "alice"})
    assert len(service.asked) == 3
    service.status = 401
    await refused(auth, "v", code="unauthenticated")
    await refused(auth, "v", code="unauthenticated")
    assert len(service.asked) == 5


async def test_an_answer_is_not_kept_longer_than_it_counts(auth, service):
    service.answer = ALICE | {"expires_in_s": 0.05}
    await auth.authenticate("t", {})
    await asyncio.sleep(0.06)  # what is tested is that time passes
    await auth.authenticate("t", {})
    assert len(service.asked) == 2


async def test_nothing_to_ask_about_is_not_asked(auth, service):
    await refused(auth, "", code="unauthenticated")
    await refused(auth, "t" * (limits.TOKEN_BYTES_MAX + 1), code="unauthenticated")
    assert not service.asked


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"\xff",
        [],
        {},
        {"tenant": "acme", "user": "alice"},
        ALICE | {"user": ""},
        ALICE | {"user": 7},
        ALICE | {"tenant": "t" * 129},
        ALICE | {"expires_in_s": 0},
        ALICE | {"expires_in_s": -1},
        ALICE | {"expires_in_s": 1e300},
        ALICE | {"pad": "x" * limits.CALLOUT_BYTES_MAX},
    ],
    ids=lambda answer: repr(answer)[:40],
)
async def test_an_answer_that_names_nobody_lets_nobody_in(auth, service, answer):
    service.answer = answer
    await refused(auth)
    assert auth.report()["state"] == "degraded"
    service.answer = ALICE
    await auth.authenticate("t", {})
    assert auth.report()["state"] == "ok"


@pytest.mark.parametrize(("status", "code"), [(401, "unauthenticated"), (403, "unauthenticated")])
async def test_nobodys_tokens_are_not_to_come_back(auth, service, status, code):
    service.status = status
    await refused(auth, code=code)


@pytest.mark.parametrize("status", [201, 204, 307, 400, 404, 500, 503])
async def test_anything_else_is_to_come_back(auth, service, status):
    service.status = status
    await refused(auth)
    assert len(service.asked) == 1, "a redirect is not followed"


async def test_a_service_that_stands_still_costs_its_time_and_no_more(auth, service):
    service.go_on.clear()
    began = time.monotonic()
    await asyncio.gather(*(refused(auth, f"t{number}") for number in range(limits.CALLOUT_AT_ONCE * 2)))
    assert time.monotonic() - began < 3
    service.go_on.set()
    await auth.authenticate("t", {})


async def test_so_many_are_asked_at_once_and_the_others_wait(service, tmp_path):
    (tmp_path / "auth.toml").write_text(f'[http]\nurl = "{service.url}"\ntimeout_s = 10\n')
    auth = CalloutAuthenticator(Trust(tmp_path / "auth.toml", structlog.get_logger()))
    service.go_on.clear()
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(auth.authenticate(f"t{number}", {})) for number in range(limits.CALLOUT_AT_ONCE * 2)]
        async with asyncio.timeout(5):
            while service.at_once < limits.CALLOUT_AT_ONCE:
                await service.came.wait()
                service.came.clear()
        service.go_on.set()
        await asyncio.wait(asking)
        running = tasks.create_task(auth.run())
        await asyncio.sleep(0)  # so that it has begun, and closes what it has to close
        running.cancel()
    assert service.most_at_once == limits.CALLOUT_AT_ONCE


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('url = "http://who.test/"', "use https://"),
        ('url = "https://who.test/"\nheaders = ["Cookie"]', "Cookie is sent by browsers"),
        ('url = "https://who.test/"\ntimeout_s = 60', "timeout_s"),
        ("", "url is missing"),
    ],
)
def test_a_section_that_can_not_be_used_says_why(tmp_path, text, told):
    (tmp_path / "auth.toml").write_text(f"[http]\n{text}\n")
    with pytest.raises(AuthFileError, match=told):
        read_authfile(tmp_path / "auth.toml")
