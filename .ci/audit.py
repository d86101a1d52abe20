#!/usr/bin/env python3
"""Are there known vulnerabilities in what is locked? Asks by pip-audit, and by npm for the browser's development tools.

    .ci/audit.py [--required] [--osv-url URL] [LOCK ...]

Exit status: 0 none is known, or nobody could be asked; 1 there are some; with --required (releases) also 1 when nobody could be asked.

Rules: what could not be asked is never taken for good, and is said loudly. pip-audit itself ends with "No known vulnerabilities found" when
the index that it asked knows nothing of vulnerabilities, so its report is read: what it skipped was not looked at. What is accepted stands
in .ci/accepted.toml, with its reason and the day on which that is to be looked at again; from then on it counts.
"""

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = ["requirements.lock", "deploy/build.lock"]  # deploy/requirements.lock is a part of the first
TIMEOUT_S: Final = "10"
ANSWERS_S: Final = 600


class NotAskedError(Exception):
    """Nobody could be asked; the message says why."""


class Found(NamedTuple):
    """A known vulnerability."""

    package: str
    version: str
    id: str
    fixed: str


class Report(NamedTuple):
    """How many packages were asked for, what is known of them, and which could not be asked for."""

    looked: int
    found: list[Found]
    skipped: list[str]


class Accepted(NamedTuple):
    """One that is lived with until a day."""

    id: str
    package: str
    reason: str
    until: datetime.date


def main() -> int:
    """Ask, and say what is known."""
    parser = argparse.ArgumentParser(description="Are there known vulnerabilities in what is locked?")
    parser.add_argument("--required", action="store_true", help="fail when nobody could be asked")
    parser.add_argument("--osv-url", default="", help="ask this OSV service instead of PyPI")
    parser.add_argument("--accepted", type=Path, default=ROOT / ".ci/accepted.toml")
    parser.add_argument("lock", nargs="*", type=Path)
    asked = parser.parse_args()
    locks = asked.lock or [ROOT / name for name in LOCKS]
    accepted = read_accepted(asked.accepted)
    found: list[Found] = []
    unasked: list[str] = []
    try:
        for lock in locks:
            report = python_packages(lock, asked.osv_url)
            found += report.found
            unasked += [f"Python packages: {why}" for why in report.skipped]
            print(f"audit: {report.looked} Python packages of {lock.name} were asked for")
    except NotAskedError as exc:
        unasked.append(f"Python packages: {exc}")
    if not asked.lock:
        try:
            found += npm_packages()
        except NotAskedError as exc:
            unasked.append(f"npm packages: {exc}")
    today = datetime.datetime.now(datetime.UTC).date()
    names = {each.id: each for each in accepted if each.until > today}
    open_ = [each for each in dict.fromkeys(found) if each.id not in names or names[each.id].package != each.package]
    for each in open_:
        fixed = f"fixed in {each.fixed}" if each.fixed else "no version without it is known"
        print(f"audit: VULNERABLE {each.package} {each.version}: {each.id}; {fixed}; `make lock UPGRADE=1`, or .ci/accepted.toml")
    for why in unasked:
        warn(f"NOT AUDITED: {why}")
    if not open_ and not unasked:
        print(f"audit: no known vulnerabilities{f', but for {len(names)} that are accepted' if names else ''}")
    return 1 if open_ or (unasked and asked.required) else 0


def python_packages(lock: Path, osv_url: str) -> Report:
    """What is known of the packages of a lock."""
    text = lock.read_text()
    first = re.findall(r"^[a-z0-9].*?(?=\n[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)[0]  # does anybody answer? before all are asked for
    with tempfile.TemporaryDirectory() as directory:
        one = Path(directory, "one.lock")
        one.write_text(first + "\n")
        for why in pip_audit(one, osv_url).skipped:
            raise NotAskedError(why)
    return pip_audit(lock, osv_url)


def pip_audit(lock: Path, osv_url: str) -> Report:
    """One call of pip-audit."""
    service = ["--vulnerability-service", "osv", "--osv-url", osv_url] if osv_url else ["--vulnerability-service", "pypi"]
    options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--timeout", TIMEOUT_S, "--format", "json"]
    ended = run([sys.executable, "-m", "pip_audit", "--requirement", str(lock), *service, *options], ROOT)
    try:
        return read_report(ended.stdout)
    except (json.JSONDecodeError, KeyError, TypeError) as exc:
        raise NotAskedError(last_line(ended.stderr) or f"pip-audit ended with {ended.returncode}") from exc


def read_report(text: str) -> Report:
    """What pip-audit found."""
    report = json.loads(text)["dependencies"]
    looked = [each for each in report if "skip_reason" not in each]
    known = [
        Found(each["name"], each["version"], one["id"], ", ".join(one.get("fix_versions", []))) for each in looked for one in each["vulns"]
    ]
    return Report(len(looked), known, [str(each["skip_reason"]) for each in report if "skip_reason" in each])


def npm_packages() -> list[Found]:
    """What is known of the browser's development tools."""
    npm = shutil.which("npm")
    if npm is None:
        print("audit: npm is not installed; what tests/browser/package.json names is for development, and installed by hand only")
        return []
    ended = run([npm, "audit", "--json", "--package-lock-only"], ROOT / "tests/browser")
    try:
        report = json.loads(ended.stdout)
    except json.JSONDecodeError as exc:
        raise NotAskedError(last_line(ended.stderr)) from exc
    if "vulnerabilities" not in report:
        raise NotAskedError(str(report.get("message", "npm gave no report")))
    return [
        Found(name, each.get("range", ""), via.get("url", via.get("title", "")).rpartition("/")[2], "")
        for name, each in report["vulnerabilities"].items()
        for via in each["via"]
        if isinstance(via, dict)
    ]


def read_accepted(path: Path) -> list[Accepted]:
    """What is lived with."""
    entries: list[dict[str, Any]] = tomllib.loads(path.read_text()).get("accepted", []) if path.exists() else []
    return [Accepted(**entry) for entry in entries]


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that asks."""
    try:
        return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=ANSWERS_S)
    except subprocess.TimeoutExpired as exc:
        raise NotAskedError(f"no answer in {ANSWERS_S} s") from exc


def last_line(text: str) -> str:
    """What a program said last."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def warn(text: str) -> None:
    """Say it so that nobody overlooks it, here and in GitHub's summary."""
    print(f"{'=' * 100}\naudit: {text}\n{'=' * 100}", file=sys.stderr)
    if os.environ.get("GITHUB_ACTIONS"):
        print(f"::warning title=audit::{text}")


if __name__ == "__main__":
    sys.exit(main())
