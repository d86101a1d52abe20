"""npm's packages for tests, which `package-lock.json` pins; installed the first time one is wanted."""

import fcntl
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
MODULES: Final = HERE / "node_modules"
NPM_TIMEOUT_S: Final = 120.0
"""One `npm ci` of a few small packages, on a slow network."""
_INSTALLED: Final = MODULES / ".package-lock.json"


def find_package(path: str) -> Path:
    """A file of an installed package, by its path in `node_modules`."""
    if not (MODULES / path).exists() or not _current():
        with (HERE / "package.json").open() as file:  # several processes of one suite may want it at once
            fcntl.flock(file, fcntl.LOCK_EX)
            if not (MODULES / path).exists() or not _current():
                _install()
    return MODULES / path


def _current() -> bool:
    """What is installed is what is locked: npm writes its own note of it last."""
    return _INSTALLED.exists() and _INSTALLED.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime


def _install() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is missing, which brings what this test needs: `make test-tools`", pytrace=False)
    ended = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"], cwd=HERE, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
    )
    if ended.returncode != 0:
        pytest.fail(f"npm ci in tests/browser ended with {ended.returncode}: {ended.stderr}", pytrace=False)
