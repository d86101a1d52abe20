"""Packages that tests of pages need, which `package-lock.json` pins; installed by npm the first time, and when another is asked for."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent

NPM_TIMEOUT_S = 120.0
"""One `npm ci` of a few small packages, on a slow network."""


def installed(package: str) -> Path:
    """Where a package is. Its tests are of the group "browser": two of `npm ci` at once would be in each other's way.

    Args:
        package: its name.
    """
    place = HERE / "node_modules" / package
    if not place.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.fail(f"{package} is missing, and npm to install it: `make test-tools` brings npm", pytrace=False)
        ended = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"], cwd=HERE, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
        )
        if ended.returncode != 0:
            pytest.fail(f"npm ci in tests/browser ended with {ended.returncode}: {ended.stderr}", pytrace=False)
    return place
