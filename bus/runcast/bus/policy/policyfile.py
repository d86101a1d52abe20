"""The policy file: which tenant is of which tier, and what a tier allows. TOML, named by RUNCAST_POLICY_FILE; deploy/policy.example.toml.

    default = "standard"           # tier of the tenants that are not listed

    [tenants]
    acme = "enterprise"            # the tenant's id, exactly; in quotes where TOML wants them

    [tiers.enterprise]             # every key optional: what is not said is as built in, for a new name as in "standard"
    events_per_s = 50000           # inf for no bound but the process's own

Rules: it is read whole or not at all; all problems are told at once, each saying where it is. A file is a value: one that was read is never
changed. Tiers and their keys: `runcast.bus.policy.tiers`.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from runcast.bus.followed import Watched, look
from runcast.bus.identity.tables import read_table
from runcast.bus.policy.tiers import BUILT_IN, Tier
from runcast.wire import limits_policy as policy_limits
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import check_id

_SECTIONS: Final = ("default", "tenants", "tiers")


class PolicyFileError(Exception):
    """The policy file can't be used. `str(error)` lists every problem, a line each."""


class Policy(NamedTuple):
    """Which tier a tenant is of.

    Attributes:
        default: of the tenants that are not listed.
        tenants: of those that are, by id.
    """

    default: Tier
    tenants: Mapping[str, Tier]

    def of(self, tenant: str) -> Tier:
        """The tier of a tenant, by its id."""
        return self.tenants.get(tenant, self.default)


class PolicyFile(NamedTuple):
    """A policy file that can be used.

    Attributes:
        policy: what it says.
        watched: the file as it was.
    """

    policy: Policy
    watched: Watched

    @property
    def changed(self) -> bool:
        """The file is not as it was."""
        return look(self.watched.path) != self.watched


def read_policyfile(path: Path) -> PolicyFile:
    """Read the policy file.

    Raises:
        PolicyFileError: it can't be used; all its problems.
    """
    problems: list[str] = []
    watched = look(path)  # before it is read, so that a change in between is seen
    policy = _read_policy(_read_document(path, problems), problems)
    if problems:
        raise PolicyFileError("\n".join(f"{path}: {problem}" for problem in problems))
    return PolicyFile(policy, watched)


def parse_policy(text: str) -> Policy:
    """Read a policy from the text of such a file.

    Raises:
        PolicyFileError: it can't be used; all its problems.
    """
    problems: list[str] = []
    policy = _read_policy(_parse(text.encode("utf-8", "surrogatepass"), problems), problems)
    if problems:
        raise PolicyFileError("\n".join(problems))
    return policy


def _read_document(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(policy_limits.POLICY_FILE_BYTES_MAX + 1)
    except OSError as exc:
        problems.append(f"the policy file can't be read: {exc.strerror}")
        return {}
    return _parse(text, problems)


def _parse(text: bytes, problems: list[str]) -> dict[str, Any]:
    if len(text) > policy_limits.POLICY_FILE_BYTES_MAX:
        problems.append(f"the policy file is larger than {policy_limits.POLICY_FILE_BYTES_MAX // 1024} KiB")
        return {}
    try:
        return tomllib.loads(text.decode())
    except UnicodeDecodeError:
        problems.append("it is no UTF-8 text")
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as exc:  # ValueError: an integer of thousands of digits
        problems.append(f"it is no TOML: {exc}")
    return {}


def _read_policy(document: dict[str, Any], problems: list[str]) -> Policy:
    problems += [f"[{name}] is no section; there are {', '.join(_SECTIONS)}" for name in document.keys() - set(_SECTIONS)]
    tiers = _read_tiers(document.get("tiers", {}), problems)
    default = _tier(document.get("default", "standard"), "default", tiers, problems)
    tenants = document.get("tenants", {})
    if not isinstance(tenants, dict):
        problems.append('[tenants]: expected a table, such as acme = "enterprise"')
        tenants = {}
    if len(tenants) > policy_limits.TENANTS_MAX:
        problems.append(f"[tenants]: there are {len(tenants)}; use {policy_limits.TENANTS_MAX} or fewer, and default for the others")
        tenants = {}
    named: dict[str, Tier] = {}
    for tenant, name in tenants.items():
        try:
            check_id(tenant, "tenant id")
        except IdInvalidError as exc:
            problems.append(f"[tenants]: {exc.message}")
        named[tenant] = _tier(name, f"[tenants]: {tenant!r}", tiers, problems)
    return Policy(default, named)


def _read_tiers(tables: Any, problems: list[str]) -> dict[str, Tier | None]:
    """All tiers by name, those that have problems as None."""
    tiers: dict[str, Tier | None] = dict(BUILT_IN)
    if not isinstance(tables, dict):
        problems.append("[tiers]: expected tables, each under its own [tiers.NAME]")
        return tiers
    if len(tables) > policy_limits.TIERS_MAX:
        problems.append(f"[tiers]: there are {len(tables)}; use {policy_limits.TIERS_MAX} or fewer")
        return tiers
    for name, table in tables.items():
        where = f"[tiers.{name}]"
        if not isinstance(table, dict):
            problems.append(f"{where}: expected a table")
            tiers[name] = None
            continue
        if "name" in table:
            problems.append(f"{where}: 'name' is no setting; the name is the table's")
        base = msgspec.structs.asdict(BUILT_IN.get(name, BUILT_IN["standard"]))
        tiers[name] = read_table(Tier, {**base, **table, "name": name}, where, problems)
    return tiers


def _tier(name: Any, where: str, tiers: Mapping[str, Tier | None], problems: list[str]) -> Tier:
    if not isinstance(name, str) or name not in tiers:
        problems.append(f"{where}: {_shown(name)} is no tier; there are {', '.join(tiers)}")
        return BUILT_IN["standard"]
    return tiers[name] or BUILT_IN["standard"]  # its problem was told where it is


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.64}"
    except ValueError:  # Python writes no number of thousands of digits
        return "that number"
