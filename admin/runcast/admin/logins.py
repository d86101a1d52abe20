"""Logging in to the pages, and out: `GET`, `POST` and `DELETE /api/session`.

What an operator brings (an API key, or in mtls mode the connection's certificate) is exchanged for a cookie, which scripts can't read,
other sites' pages don't send, and which goes over TLS alone (but in development mode). Wrong logins of one address are limited. Logins,
logouts and refusals are in the audit log if that can be written: an outage must not keep operators from looking.
"""

import secrets
import time
from typing import Any, Final

import msgspec
from aiohttp import web

from runcast.admin.allowance import Allowances
from runcast.admin.auth import Operator
from runcast.admin.desk import Desk
from runcast.admin.node import Node
from runcast.admin.sessions import Find, Session, Sessions
from runcast.admin.web_rules import network_of
from runcast.bus.identity.admins import Admin, Role
from runcast.bus.identity.jwt import TokenRefusedError
from runcast.wire import limits_admin
from runcast.wire.errors import RuncastError

_SECRET_BYTES: Final = 32


class _Wanted(msgspec.Struct):
    key: str = ""


class Logins:
    """The sessions of one process.

    Args:
        node: of this process.
        desk: knows the operators, and writes down.
        secure: cookies go over TLS alone.
    """

    def __init__(self, node: Node, desk: Desk, *, secure: bool) -> None:
        self._node = node
        self._desk = desk
        self._secure = secure
        self._sessions = Sessions()
        self._wrong = Allowances(limits_admin.LOGIN_BURST_MAX, limits_admin.LOGIN_EVERY_S, limits_admin.LOGIN_ADDRESSES_MAX)

    @property
    def cookie(self) -> str:
        """Its name; the prefix makes browsers refuse one that another host set, or that came without TLS."""
        return "__Host-runcast-admin" if self._secure else "runcast-admin"

    def add_to(self, app: web.Application) -> None:
        """Serve them."""
        app.router.add_get("/api/session", self._show)
        app.router.add_post("/api/session", self._log_in)
        app.router.add_delete("/api/session", self._log_out)

    async def operator(self, request: web.Request, role: Role, action: str) -> Operator:
        """Who is logged in, and has a role; every request of a page but these begins with it.

        Raises:
            RuncastError: `unauthenticated` or `permission_denied`.
        """
        operator = self.who(request)
        await self._desk.check(operator, role, action)
        return operator

    def who(self, request: web.Request) -> Operator:
        """Who is logged in; for what `Desk.doing` checks and writes down.

        Raises:
            RuncastError: `unauthenticated`.
        """
        _, admin = self._use(request)
        return Operator(admin, _address(request))

    def still(self, request: web.Request, role: Role) -> None:
        """See that whoever began a request which goes on and on may still have it; that is no use of the session.

        Raises:
            RuncastError: `unauthenticated`: logged out, withdrawn, or not used for too long; `permission_denied`.
        """
        admin = self._sessions.look(request.cookies.get(self.cookie, ""), time.monotonic())
        if admin is None:
            raise RuncastError("the login is over; log in again", code="unauthenticated")
        admin.check(role)

    def _use(self, request: web.Request) -> tuple[Session, Admin]:
        found = self._sessions.use(request.cookies.get(self.cookie, ""), time.monotonic())
        if found is None:
            raise RuncastError("you are not logged in, or the login is over; log in", code="unauthenticated")
        return found

    async def _show(self, request: web.Request) -> web.Response:
        try:
            session, admin = self._use(request)
        except RuncastError as exc:
            return web.json_response({"code": exc.code.name, "message": exc.message, "by": self._desk.doorman.mode}, status=401)
        return web.json_response(self._described(session, admin, request))

    async def _log_in(self, request: web.Request) -> web.Response:
        wrong = self._wrong.of(network_of(request.remote or ""), time.monotonic())
        wait_s = wrong.wait_s(time.monotonic())
        if wait_s > 0.0:
            self._node.refusals["rate_limited"] += 1
            raise RuncastError("too many wrong logins from this address; wait", code="rate_limited", retry_after_s=wait_s)
        try:
            wanted = msgspec.json.decode(await request.read(), type=_Wanted)
        except msgspec.DecodeError as exc:
            raise RuncastError('expected {"key": "..."}', code="request_invalid") from exc
        try:
            find = self._desk.doorman.finder(wanted.key.strip(), _certificate_names(request))
        except TokenRefusedError as exc:
            wrong.take(time.monotonic())
            await self._desk.refused(_address(request), "Login", exc)
            raise
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        self._sessions.close(request.cookies.get(self.cookie, ""))
        session = self._sessions.open(secret, find, time.monotonic())
        admin = _found(find)
        await self._desk.noted(Operator(admin, _address(request)), "Login")
        response = web.json_response(self._described(session, admin, request))
        response.set_cookie(self.cookie, secret, path="/", httponly=True, secure=self._secure, samesite="Strict")
        return response

    async def _log_out(self, request: web.Request) -> web.Response:
        secret = request.cookies.get(self.cookie, "")
        found = self._sessions.use(secret, time.monotonic())
        self._sessions.close(secret)
        if found is not None:
            await self._desk.noted(Operator(found[1], _address(request)), "Logout")
        response = web.json_response({})
        response.del_cookie(self.cookie, path="/", httponly=True, secure=self._secure, samesite="Strict")
        return response

    def _described(self, session: Session, admin: Admin, request: web.Request) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "name": admin.name,
            "roles": list(admin.roles),
            "address": request.remote or "",
            "by": self._desk.doorman.mode,
            "process": self._node.id,
            "ends_in_s": int(session.began + limits_admin.SESSION_S - now),
            "idle_s": int(limits_admin.SESSION_IDLE_S),
        }


def _found(find: Find) -> Admin:
    admin = find()
    if admin is None:
        raise TokenRefusedError("it was withdrawn this moment")
    return admin


def _address(request: web.Request) -> str:
    return f"http:{request.remote or ''}"


def _certificate_names(request: web.Request) -> list[str]:
    """The names that the connection's certificate holds, as `Caller.certificate_names`."""
    certificate = request.get_extra_info("peercert") or {}
    names = [str(value) for _, value in certificate.get("subjectAltName", ())]
    if names:
        return names
    return [str(value) for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
