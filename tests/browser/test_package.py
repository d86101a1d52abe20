"""The npm package of the browser client: what it holds, how much a page loads, and that it is the client. (The hooks: `test_react.py`.)"""

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_node import CLIENT, HERE, find_node

from runcast.wire import VERSION

PACK = HERE.parents[1] / "edge/pack.mjs"

GZIPPED_BYTES_MAX = 12 * 1024
"""What every page loads of the client, each module compressed by itself."""

SHARING = ("shared.js", "tab.js")
"""What a page loads besides, where its tabs can share a connection."""

SHARING_BYTES_MAX = 3_200
"""The same, for these."""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package, where the client would be in a checkout."""
    target = tmp_path / CLIENT.relative_to(HERE.parents[1])
    for which in ("client", "react"):
        subprocess.run([find_node(), str(PACK), str(target.parent / which), which], check=True, timeout=50)
    return target


PAGES = ("dashboard.test.mjs", "demo.test.mjs", "following.test.mjs", "gantt.test.mjs", "import.test.mjs")
"""Tests of pages, which are not in the package."""


def test_a_page_loads_at_most_12_kib(package: Path) -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes(), mtime=0)) for path in package.glob("*.js")}
    sharing = sum(sizes.pop(name) for name in SHARING)
    assert sum(sizes.values()) < GZIPPED_BYTES_MAX, sizes
    assert sharing < SHARING_BYTES_MAX
    static = [path.read_text() for path in package.glob("*.js") if path.name not in SHARING]
    assert not any(f'from "./{name}"' in source for source in static for name in SHARING), "every page would load it"


def test_what_is_packed_passes_the_client_s_own_tests(package: Path, tmp_path: Path) -> None:
    shutil.copytree(HERE.parent / "vectors", tmp_path / "tests/vectors")
    shutil.copytree(HERE, tmp_path / "tests/browser", ignore=shutil.ignore_patterns("node_modules", "*.py", "__pycache__", "shots"))
    tests = sorted(path.name for path in (tmp_path / "tests/browser").glob("*.test.mjs") if path.name not in PAGES)
    ended = subprocess.run(
        [find_node(), "--test", "--test-reporter=dot", *tests],
        cwd=tmp_path / "tests/browser",
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert package.is_dir()


def packed(package: Path) -> tuple[tuple[str, str], set[str]]:
    """Name and version, and the files that npm packs of a package."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed; what it packs is listed by package.json's `files`")
    ended = subprocess.run([npm, "pack", "--dry-run", "--json"], cwd=package, capture_output=True, text=True, timeout=50, check=True)
    (told,) = json.loads(ended.stdout)
    return (told["name"], told["version"]), {file["path"] for file in told["files"]}


def test_what_npm_packs(package: Path) -> None:
    modules = {path.name for path in CLIENT.glob("*.js")}
    assert packed(package) == (("@runcast/client", VERSION), {"LICENSE", "README.md", "package.json", "runcast.d.ts", *modules})


def test_nothing_is_imported_from_outside(package: Path) -> None:
    told = json.loads((package / "package.json").read_text())
    assert not {"dependencies", "peerDependencies", "scripts"} & told.keys()
    for path in package.glob("*.js"):
        imported = re.findall(r"""(?:^(?:import|export) .*? from |import\()["']([^"']+)["']""", path.read_text(), re.MULTILINE)
        assert (path.name in ("limits.js", "position.js", "runs.js", "changes.js", "taking.js", "device.js")) == (not imported), path.name
        assert all((package / name).is_file() for name in imported), path.name
