"""What an auth file believes too widely. Pure: the file was read.

A scope "*" is one finding for all who have it, by name; so is a life of tokens that has no end.
"""

from typing import Final

from runcast.bus.identity.authfile import AuthFile, Issuer
from runcast.bus.identity.keys import SECRET
from runcast.bus.identity.scopes import ANY
from runcast.cli.security.findings import Finding, Severity

LIFETIME_LONG_S: Final = 24 * 3600
"""A token that counts for longer outlives the day on which it was stolen."""
LEEWAY_LONG_S: Final = 60.0
_NAMES_SHOWN: Final = 5

_SCOPES: Final[tuple[tuple[str, Severity, str, str], ...]] = (
    ("tenants", "medium", "may reach the users of every tenant", "name the tenants that it works for"),
    ("groups", "medium", "may receive what users send to any group", "name the groups that it works for"),
    ("agents", "low", "may go by any agent's name", "set agents to the names that it goes by"),
)


def review(file: AuthFile, where: str) -> list[Finding]:
    """Look at an auth file.

    Args:
        file: as it was read.
        where: its path, for the findings.
    """
    issuers = list(file.issuers.values())
    return [*_lives(issuers, where), *_issuers(file, issuers, where), *_scopes(file, where), *_hook(file, where)]


def _lives(issuers: list[Issuer], where: str) -> list[Finding]:
    advice = "set lifetime_max_s (3600 is usual); pages refresh by themselves"
    found = []
    endless = [issuer.name for issuer in issuers if not issuer.lifetime_max_s]
    long = [issuer.name for issuer in issuers if issuer.lifetime_max_s > LIFETIME_LONG_S]
    if endless:
        said = f"tokens of {_listed(endless)} count as long as they say themselves"
        found.append(Finding("token_life", "medium", "life of tokens", where, said, advice))
    if long:
        found.append(
            Finding("token_life", "medium", "life of tokens", where, f"tokens of {_listed(long)} count for more than a day", advice)
        )
    if issuers and not found:
        found.append(Finding("token_life", "ok", "life of tokens", where, "bounded, a day at most"))
    return found


def _issuers(file: AuthFile, issuers: list[Issuer], where: str) -> list[Finding]:
    found = []
    any_tenant = [issuer.name for issuer in issuers if issuer.peers == "users" and issuer.tenant_claim and not issuer.tenants]
    if any_tenant:
        said = f"{_listed(any_tenant)} may name the users of any tenant"
        found.append(Finding("tenants_any", "medium", "issuers", where, said, "set tenants to those that it may speak for"))
    shared = [issuer.name for issuer in issuers if any(key.kind == SECRET for key in file.keys.get(issuer.issuer, ()))]
    if shared:
        said = f"{_listed(shared)}: who can check a token can make one, since both need the same secret"
        found.append(Finding("shared_secret", "low", "issuers", where, said, "prefer a key set or a public key"))
    lax = [issuer.name for issuer in issuers if issuer.leeway_s > LEEWAY_LONG_S]
    if lax:
        said = f"tokens of {_listed(lax)} count for more than {LEEWAY_LONG_S:g} s after their end"
        found.append(Finding("leeway", "low", "issuers", where, said, "keep clocks right, and leeway_s at 30"))
    return found


def _scopes(file: AuthFile, where: str) -> list[Finding]:
    found = []
    agents = list(file.agents.names.values())
    for scope, severity, may, advice in _SCOPES:
        names = [agent.name for agent in agents if ANY in getattr(agent, scope)]
        if names:
            found.append(Finding(f"scope_{scope}", severity, "scopes", where, f"{_listed(names)} {may}", advice))
    if agents and not any(finding.severity == "medium" for finding in found):
        found.append(Finding("scopes", "ok", "scopes", where, "every agent has its tenants and groups"))
    return found


def _hook(file: AuthFile, where: str) -> list[Finding]:
    if file.hook is None or file.hook.bearer:
        return []
    said = "the service that is asked who a token is can't tell an edge from anybody else"
    return [Finding("hook_open", "low", "[http]", where, said, "set bearer, and have the service ask for it")]


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(repr(name) for name in names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
