"""The auth file: whom a deployment believes. TOML, named by RUNCAST_AUTH_FILE; the example in docs/users.md is a test.

    [[issuers]]                                    # who makes tokens; any number of them, told apart by `iss`
    name = "login"                                 # for logs
    issuer = "https://login.example.com/"          # `iss`, exactly
    audience = ["runcast"]                         # `aud` must name one of them
    algorithms = ["RS256"]                         # nothing else is accepted
    jwks_url = "https://login.example.com/jwks"    # or public_key_file = "login.pem", or secret = "...", or secret_file = "login.secret"
    tenant = "default"                             # of all its users; or tenant_claim = "org_id" and tenants = ["acme", "globex"]

    [http]                                         # for RUNCAST_AUTH=http: ask a service of yours instead (edge/callout.py)
    url = "https://api.example.com/runcast/who"

    [[agents]]                                     # see `agents`

    [[admins]]                                     # see `admins`

Rules: it is read whole, with every file that it names, or not at all; all problems are told at once, each saying where it is and what to
set; no message repeats a secret. A file is a value: one that was read is never changed. Names of files are relative to the auth file.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from runcast.bus.followed import Followed, Watched, changed
from runcast.bus.identity.admins import Admin, Admins, make_admins
from runcast.bus.identity.agents import Agent, Agents, make_agents
from runcast.bus.identity.claims import ClaimPath, Expected
from runcast.bus.identity.keys import KINDS, PUBLISHED, SECRET, Key, KeyUnusableError, pem_keys, secret_key
from runcast.bus.identity.tables import read_table, read_tables
from runcast.wire import limits, limits_admin, limits_identity
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import check_id

Peers = Literal["users", "agents"]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.ID_BYTES_MAX)]
_SECTIONS: Final = ("issuers", "agents", "admins", "http")
_AMBIENT: Final = ("authorization", "cookie")
_KEY_SOURCES: Final = ("jwks_url", "public_key_file", "secret", "secret_file")


class AuthFileError(Exception):
    """The auth file can't be used. `str(error)` lists every problem, a line each."""


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes tokens.

    Attributes:
        name: for logs.
        issuer: `iss`, exactly.
        audience: `aud` must name one of them.
        algorithms: nothing else is accepted; all for one kind of key.
        peers: whose tokens these are.
        jwks_url: its public keys, as a key set; or
        public_key_file: as PEM (several blocks while keys rotate); or
        secret: shared with it; several while they rotate; or
        secret_file: a file that holds it.
        leeway_s: how far its clock may be off, seconds.
        lifetime_max_s: longest life of a token, seconds; 0 for any.
        user_claim: where the user's id is; for an agent's token, who it is.
        tenant: of all its users; or
        tenant_claim: where the tenant's id is.
        tenants: what the tenant claim may say; empty for anything, which only a deployment's single issuer may.
        jwks_refresh_s: how old its key set may get, seconds.
        jwks_stale_s: how old while it does not answer, seconds.
    """

    name: _Name
    issuer: Annotated[str, msgspec.Meta(min_length=1)]
    audience: Annotated[list[_Name], msgspec.Meta(min_length=1)]
    algorithms: Annotated[list[str], msgspec.Meta(min_length=1)]
    peers: Peers = "users"
    jwks_url: str = ""
    public_key_file: str = ""
    secret: str | list[str] = ""
    secret_file: str = ""
    leeway_s: Annotated[float, msgspec.Meta(ge=0, le=300)] = limits_identity.JWT_LEEWAY_S
    lifetime_max_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    user_claim: str | list[str] = "sub"
    tenant: str = ""
    tenant_claim: str | list[str] = ""
    tenants: list[str] = []
    jwks_refresh_s: Annotated[float, msgspec.Meta(ge=10)] = limits_identity.JWKS_REFRESH_S
    jwks_stale_s: Annotated[float, msgspec.Meta(ge=10)] = limits_identity.JWKS_STALE_S

    @property
    def expected(self) -> Expected:
        """What its tokens must claim."""
        return Expected(self.issuer, frozenset(self.audience), self.leeway_s, self.lifetime_max_s)

    @property
    def user_path(self) -> ClaimPath:
        """Where the user's id is."""
        return self.user_claim

    def __repr__(self) -> str:
        """Without its secret."""
        return f"Issuer({self.name!r}, {self.issuer!r})"


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A service of the operator's that is asked who a token is.

    Attributes:
        url: where it is asked.
        headers: of a device's handshake, what is passed on beside the token.
        bearer: proves to it that an edge asks; "" for nothing.
        timeout_s: how long it may take, seconds.
        cache_s: how long a good answer counts for the same token; 0 to ask each time.
    """

    url: str
    headers: list[_Name] = []
    bearer: str = ""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=10)] = limits_identity.CALLOUT_TIMEOUT_S
    cache_s: Annotated[float, msgspec.Meta(ge=0, le=300)] = limits_identity.CALLOUT_CACHE_S

    def __repr__(self) -> str:
        """Without its secret."""
        return f"Hook({self.url!r})"


class AuthFile(NamedTuple):
    """An auth file that can be used.

    Attributes:
        issuers: by `iss`.
        keys: of the issuers that have no key set, by `iss`.
        hook: the service to ask; None when there is none.
        watched: this file and those that it names, as they were.
        agents: who may publish and receive.
        admins: who may look after the deployment.
    """

    issuers: dict[str, Issuer]
    keys: dict[str, list[Key]]
    hook: Hook | None
    watched: list[Watched]
    agents: Agents
    admins: Admins

    @property
    def changed(self) -> bool:
        """Any of the files is not as it was."""
        return changed(self.watched)


def read_authfile(path: Path) -> AuthFile:
    """Read the auth file, and the files that it names.

    Raises:
        AuthFileError: it can't be used; all its problems.
    """
    reader = _Reader(path)
    found = reader.read()
    if reader.problems:
        raise AuthFileError("\n".join(f"{path}: {problem}" for problem in reader.problems))
    return found


class _Reader:
    def __init__(self, path: Path) -> None:
        self._file = Followed(path, limits_identity.AUTH_FILE_BYTES_MAX)
        self.problems = self._file.problems

    def read(self) -> AuthFile:
        document = self._file.document("the auth file")
        for name in document.keys() - set(_SECTIONS):
            self.problems.append(f"[{name}] is no section; there are {', '.join(_SECTIONS)}")
        issuers = self._issuers(document.get("issuers", []))
        keys = {issuer.issuer: self._keys(issuer) for issuer in issuers if not issuer.jwks_url}
        agents = read_tables(Agent, document.get("agents", []), "agents", self.problems)
        if len(agents) > limits_identity.AGENTS_MAX:
            self.problems.append(f"[[agents]]: there are {len(agents)}; use {limits_identity.AGENTS_MAX} or fewer")
            agents = []
        known = make_agents(agents, {issuer.name for issuer in issuers if issuer.peers == "agents"}, self.problems)
        admins = read_tables(Admin, document.get("admins", []), "admins", self.problems)
        if len(admins) > limits_admin.ADMINS_MAX:
            self.problems.append(f"[[admins]]: there are {len(admins)}; use {limits_admin.ADMINS_MAX} or fewer")
            admins = []
        operators = make_admins(admins, known, self.problems)
        hook = self._hook(document.get("http"))
        return AuthFile({issuer.issuer: issuer for issuer in issuers}, keys, hook, self._file.watched, known, operators)

    def _issuers(self, tables: Any) -> list[Issuer]:
        issuers = read_tables(Issuer, tables, "issuers", self.problems)
        if len(issuers) > limits_identity.ISSUERS_MAX:
            self.problems.append(f"[[issuers]]: there are {len(issuers)}; use {limits_identity.ISSUERS_MAX} or fewer")
            return []
        for what, values in (("name", [i.name for i in issuers]), ("issuer", [i.issuer for i in issuers])):
            self.problems += [f"[[issuers]]: {what} {value!r} is there twice" for value in dict.fromkeys(values) if values.count(value) > 1]
        several = len([issuer for issuer in issuers if issuer.peers == "users"]) > 1
        for issuer in issuers:
            where = f"issuer {issuer.name!r}"
            self.problems += [f"{where}: {problem}" for problem in (*_source_problems(issuer), *_algorithm_problems(issuer))]
            if issuer.peers == "users":
                self.problems += [f"{where}: {problem}" for problem in _tenant_problems(issuer, several=several)]
        return issuers

    def _keys(self, issuer: Issuer) -> list[Key]:
        try:
            if issuer.public_key_file:
                text = self._named(issuer, "public_key_file")
                return pem_keys(text) if text else []
            secrets = [issuer.secret] if isinstance(issuer.secret, str) else issuer.secret
            if issuer.secret_file:
                text = self._named(issuer, "secret_file")
                secrets = [text.decode("utf-8", "strict").strip()] if text else []
            return [secret_key(secret, issuer.algorithms) for secret in secrets if secret]
        except UnicodeDecodeError:
            self.problems.append(f"issuer {issuer.name!r}: secret_file: it is no UTF-8 text")
        except KeyUnusableError as exc:
            self.problems.append(f"issuer {issuer.name!r}: {exc}")
        return []

    def _hook(self, table: Any) -> Hook | None:
        hook = read_table(Hook, table, "[http]", self.problems) if table is not None else None
        if hook is not None and not safe_url(hook.url):
            self.problems.append("[http]: url: use https://; plain http:// is for this machine (127.0.0.1) only")
        if hook is not None and hook.bearer in PUBLISHED:
            self.problems.append("[http]: bearer: it is an example's, which everybody knows; make one: openssl rand -base64 48")
        ambient = [name for name in hook.headers if name.lower() in _AMBIENT] if hook is not None else []
        if ambient:
            self.problems.append(f"[http]: headers: {', '.join(ambient)} is sent by browsers for any page; use RUNCAST_COOKIE, or a token")
        return hook

    def _named(self, issuer: Issuer, setting: str) -> bytes:
        name = getattr(issuer, setting)
        return self._file.named(name, f"issuer {issuer.name!r}: {setting} = {name!r}")


def _source_problems(issuer: Issuer) -> list[str]:
    given = [name for name in _KEY_SOURCES if getattr(issuer, name)]
    if len(given) != 1:
        return [f"set one of {', '.join(_KEY_SOURCES)}" + (f", not {' and '.join(given)}" if given else "")]
    if issuer.jwks_url and not safe_url(issuer.jwks_url):
        return ["jwks_url: use https://; plain http:// is for this machine (127.0.0.1) only, for who can change the answer can be anybody"]
    return []


def _algorithm_problems(issuer: Issuer) -> list[str]:
    unknown = [algorithm for algorithm in issuer.algorithms if algorithm not in KINDS]
    if unknown:
        return [f"algorithms: {', '.join(unknown)} can't be allowed; there are {', '.join(KINDS)}"]
    secret = bool(issuer.secret or issuer.secret_file)
    wrong = [algorithm for algorithm in issuer.algorithms if (KINDS[algorithm] == SECRET) != secret]
    if wrong:
        return [f"algorithms: {', '.join(wrong)} {'needs a public key' if secret else 'needs a secret'}; an issuer has one or the other"]
    return []


def _tenant_problems(issuer: Issuer, *, several: bool) -> list[str]:
    if bool(issuer.tenant) == bool(issuer.tenant_claim):
        return ['set tenant = "default" when all its users belong to one tenant, or tenant_claim to the claim that names it; not both']
    problems = []
    if issuer.tenant_claim and several and not issuer.tenants:
        problems.append("set tenants to those that it may speak for: there are several issuers, and none is to name another's users")
    if issuer.tenant and issuer.tenants:
        problems.append("tenants belongs to tenant_claim; leave it out")
    for tenant in (issuer.tenant, *issuer.tenants):
        try:
            if tenant or not issuer.tenant_claim:
                check_id(tenant, "tenant")
        except IdInvalidError as exc:
            problems.append(exc.message)
    return problems


def safe_url(url: str) -> bool:
    """Whether nobody on the way can change what comes from there: TLS, or this machine."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            return False
        if parts.scheme == "http":
            return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False
    return parts.scheme == "https"
