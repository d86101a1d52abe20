"""The pages for operators: who gets in, what a browser is told, and what another site can do with it."""

import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from runcast.admin.web import STATIC
from runcast.testkit import Cluster
from runcast.wire import limits_admin
from tests.security.office import AGENT, OPERATOR, VIEWER, Mutual, Office, key

pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("office")]


@contextlib.asynccontextmanager
async def browser(cluster: Cluster, source: str = "127.0.0.1", **options: Any) -> AsyncIterator["Visitor"]:
    connector = options.pop("connector", None) or aiohttp.TCPConnector(local_addr=(source, 0))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=connector, **options) as http:
        yield Visitor(http, cluster.admins[0].http_url)


class Visitor:
    """A browser as far as it matters: it keeps what is set, and says which page asks."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.set_cookie = ""

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"Origin": self.url} if method != "GET" else {}
        headers |= options.pop("headers", {})
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            self.headers = dict(answer.headers)
            self.set_cookie = answer.headers.get("Set-Cookie", "")
            for name, morsel in answer.cookies.items():
                self.cookies[name] = morsel.value
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            return answer.status, await answer.text()

    async def log_in(self, key: str = "") -> tuple[int, Any]:
        return await self.ask("POST", "/api/session", json={"key": key})

    async def who(self) -> tuple[int, Any]:
        return await self.ask("GET", "/api/session")


async def test_logging_in_and_out(office: Office) -> None:
    async with browser(office.cluster) as visitor:
        assert await visitor.who() == (401, {"code": "unauthenticated", "message": (await visitor.who())[1]["message"], "by": "token"})
        for wrong in ("", key("viewer").text, AGENT.text, VIEWER.kept):
            status, told = await visitor.log_in(wrong)
            assert (status, told["code"]) == (401, "unauthenticated")
            assert not visitor.cookies
        status, told = await visitor.log_in(OPERATOR.text)
        assert (status, told["name"], told["roles"]) == (200, "ops", ["view", "operate"])
        for part in ("__Host-runcast-admin=", "HttpOnly", "Path=/", "SameSite=Strict", "Secure"):
            assert part in visitor.set_cookie
        assert "Domain" not in visitor.set_cookie
        first = dict(visitor.cookies)
        assert (await visitor.who())[1]["name"] == "ops"
        await visitor.log_in(VIEWER.text)
        assert visitor.cookies != first
        assert (await visitor.who())[1]["name"] == "auditor"
        async with browser(office.cluster) as thief:  # the session of before is over
            thief.cookies = first
            assert (await thief.who())[0] == 401
            thief.cookies = dict(visitor.cookies)
            assert (await visitor.ask("DELETE", "/api/session"))[0] == 200
            assert "Max-Age=0" in visitor.set_cookie
            assert (await thief.who())[0] == 401
    log = office.cluster.admins[0].log_path.read_text()
    for made in (VIEWER, OPERATOR, AGENT):
        assert made.text[-40:] not in log
    assert next(iter(first.values())) not in log


async def test_a_session_ends_with_its_credentials(office: Office) -> None:
    async with browser(office.cluster) as ops, browser(office.cluster) as auditor:
        await ops.log_in(OPERATOR.text)
        await auditor.log_in(VIEWER.text)
        assert (await ops.who())[1]["roles"] == ["view", "operate"]
        assert (await auditor.who())[0] == 200
        fewer = ("admins", {"name": "ops", "keys": [OPERATOR.kept]})
        async with office.using(fewer, ("admins", {"name": "auditor", "keys": [key("newer").kept]})):
            assert (await auditor.who())[0] == 401
            assert (await ops.who())[1]["roles"] == ["view"]


async def test_pages_of_other_sites_can_do_nothing(office: Office) -> None:
    async with browser(office.cluster) as visitor:
        await visitor.log_in(OPERATOR.text)
        port = office.cluster.admins[0].page_port
        for origin in (
            "https://evil.test",
            "null",
            "",
            f"http://127.0.0.1:{port + 1}",
            f"http://127.0.0.1:{port}.evil.test",
            f"127.0.0.1:{port}",
        ):
            for method, path in (("POST", "/api/session"), ("DELETE", "/api/session"), ("POST", "/"), ("PUT", "/static/index.js")):
                status, told = await visitor.ask(method, path, headers={"Origin": origin}, json={"key": VIEWER.text})
                assert (status, told["code"]) == (403, "permission_denied"), origin
        assert (await visitor.who())[1]["name"] == "ops"
        assert "Access-Control-Allow-Origin" not in visitor.headers


async def test_wrong_logins_are_limited(office: Office) -> None:
    source = office.new_address()
    with office.log() as said:
        async with browser(office.cluster, source) as visitor, browser(office.cluster, source) as inside:
            await inside.log_in(OPERATOR.text)
            codes = [(await visitor.log_in("rk_wrong"))[1]["code"] for _ in range(limits_admin.LOGIN_BURST_MAX + 3)]
            assert codes == ["unauthenticated"] * limits_admin.LOGIN_BURST_MAX + ["rate_limited"] * 3
            status, told = await visitor.log_in(OPERATOR.text)  # what is right waits, too
            assert (status, told["code"]) == (429, "rate_limited")
            assert 0 < told["retry_after_ms"] <= limits_admin.LOGIN_EVERY_S * 1000
            assert int(visitor.headers["Retry-After"]) > 0
            assert (await inside.who())[0] == 200  # who is in stays in
            async with browser(office.cluster, office.new_address()) as elsewhere:
                assert (await elsewhere.log_in(OPERATOR.text))[0] == 200
    assert len([line for line in said if "refused" in line]) == 1


async def test_what_a_browser_is_told(office: Office) -> None:
    files = [f"/static/{path.relative_to(STATIC)}" for path in STATIC.rglob("*.*")]
    async with browser(office.cluster) as visitor:
        for path in (
            "/",
            "/dashboard",
            *files,
            "/healthz",
            "/readyz",
            "/api/session",
            "/nothing",
            "/static/../web.py",
            "/static/%2e%2e/web.py",
        ):
            status, text = await visitor.ask("GET", path)
            assert (status == 200) == (path in ("/", "/dashboard", *files, "/healthz", "/readyz")), path
            policy = visitor.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert visitor.headers["X-Content-Type-Options"] == "nosniff"
            assert visitor.headers["Cache-Control"] == "no-store"
            assert visitor.headers["Server"] == "runcast"
            assert "def " not in str(text)
        assert (await visitor.ask("POST", "/api/session", data=b"x" * (limits_admin.PAGE_BODY_BYTES + 1)))[0] == 413
        for body in (b"", b"[]", b'{"key":1}', b"\xff", b"{"):
            assert (await visitor.ask("POST", "/api/session", data=body))[1]["code"] == "request_invalid"


def test_no_page_has_script_or_style_of_its_own() -> None:
    for page in STATIC.rglob("*.html"):
        text = page.read_text()
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|javascript:", text, re.IGNORECASE), page
    for script in STATIC.rglob("*.js"):
        text = script.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|sessionStorage", text), script
        stored = re.findall(r"localStorage\.\w+\([^;]*", text)  # thresholds, and nothing else
        assert all("(KEPT" in each for each in stored), script


async def test_development_mode_is_for_this_machine(office: Office, start_shared: Callable[..., Cluster]) -> None:
    cluster = start_shared(routers=0, edges=0, admins=1, nats_url=office.cluster.nats_url)
    port = cluster.admins[0].page_port
    async with browser(cluster) as visitor:
        assert (await visitor.who())[1]["by"] == "dev"
        assert (await visitor.log_in())[1]["roles"] == ["view", "operate"]
        assert "Secure" not in visitor.set_cookie
        assert "HttpOnly" in visitor.set_cookie
        assert (await visitor.who())[0] == 200
        for host in ("evil.test", f"evil.test:{port}", f"127.0.0.1.evil.test:{port}", "[", ""):  # a name that was pointed at loopback
            status, _ = await visitor.ask("GET", "/api/session", headers={"Host": host})
            assert status in (400, 403), host
            status, _ = await visitor.ask("POST", "/api/session", headers={"Host": host, "Origin": f"http://{host}"}, json={})
            assert status in (400, 403), host
        assert (await visitor.ask("GET", "/api/session", headers={"Host": f"localhost:{port}"}))[0] == 200


async def test_a_certificate_logs_in(mutual: Mutual) -> None:
    told = []
    for own in (mutual.ops, mutual.stranger):
        context = ssl.create_default_context(cafile=str(mutual.authority.path))
        context.load_cert_chain(*own)
        async with browser(mutual.cluster, connector=aiohttp.TCPConnector(ssl=context)) as visitor:
            told.append((await visitor.log_in())[1])
            assert visitor.headers["Strict-Transport-Security"].startswith("max-age=")
    assert (told[0]["name"], told[1]["code"]) == ("ops", "unauthenticated")
    nothing = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(mutual.authority.path)))
    async with browser(mutual.cluster, connector=nothing) as visitor:
        with pytest.raises(aiohttp.ClientError):
            await visitor.who()
