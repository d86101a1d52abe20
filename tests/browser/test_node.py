"""The browser client's pure parts under Node's own test runner, and its constants against those of `runcast.wire`."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import playwright
import pytest

from runcast.wire import codes, eventjson, ids, limits, limits_client, limits_dashboard

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "edge/runcast/edge/static/client"

NODE_TIMEOUT_S = 50.0
"""One run of Node; below pytest's own timeout, so that its output is shown."""


def find_node() -> str:
    """Node: the one in Playwright's wheel, which is pinned and newer than Debian's; where the wheel has none, the one on PATH."""
    bundled = Path(playwright.__file__).parent / "driver" / "node"
    node = str(bundled) if bundled.exists() else shutil.which("node")
    if node is None:
        pytest.fail(
            "there is no Node: Playwright's wheel brings one (`make setup`); otherwise put Node.js 20 or newer on PATH", pytrace=False
        )
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=NODE_TIMEOUT_S, check=False)
    except OSError as exc:
        pytest.fail(f"{node} can't be run: {exc}", pytrace=False)
    if version.returncode != 0:  # such as a library that is missing
        pytest.fail(f"{node} can't be run (`make test-tools` installs what it needs): {version.stderr.strip()}", pytrace=False)
    if int(version.stdout.removeprefix("v").partition(".")[0]) < 20:
        pytest.fail(f"{node} is {version.stdout.strip()}, which is too old: put Node.js 20 or newer on PATH", pytrace=False)
    return node


def run_node(*arguments: str, cwd: Path = HERE, timeout_s: float = NODE_TIMEOUT_S) -> str:
    """Run Node and return what it wrote; fail the test with all of it when it ends with an error."""
    node = find_node()
    ended = subprocess.run([node, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=cwd)
    if ended.returncode != 0:
        pytest.fail(f"node {' '.join(arguments)} ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}", pytrace=False)
    return ended.stdout


def evaluate(module: str, expression: str) -> Any:
    """The value of a JavaScript expression, in which `m` is a module of the client."""
    source = f"import * as m from {json.dumps((CLIENT / module).as_uri())}; console.log(JSON.stringify({expression}))"
    return json.loads(run_node("--input-type=module", "--eval", source))


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_pure_parts(name: str) -> None:
    run_node("--test", "--test-reporter=dot", name)


def test_bounds_are_those_of_the_wire() -> None:
    theirs = evaluate("limits.js", "m.LIMITS")
    assert {
        "backoffFirstMs": limits_client.BACKOFF_FIRST_S * 1000,
        "backoffMaxMs": limits_client.BACKOFF_MAX_S * 1000,
        "connectTimeoutMs": limits_client.CONNECT_TIMEOUT_S * 1000,
        "welcomeTimeoutMs": limits.HELLO_TIMEOUT_S * 1000,
        "pingIntervalMs": limits.PING_INTERVAL_S * 1000,
        "sendsInFlightMax": limits.SENDS_IN_FLIGHT_MAX,
        "resendHorizonMs": limits.RESEND_HORIZON_S * 1000,
        "frameBytesMax": limits.FRAME_BYTES_MAX,
    }.items() <= theirs.items()


def test_a_page_sends_what_the_admin_service_takes() -> None:
    assert evaluate("../../../../../admin/runcast/admin/static/dashboard/import.js", "m.BYTES_MAX") == limits_dashboard.IMPORT_BYTES_MAX


def test_close_codes_mean_the_same() -> None:
    stay_away = evaluate("session.js", "Array.from({length: 4000}, (_, i) => i + 1000).filter((code) => !m.comesBack(code))")
    assert stay_away == [code for code in range(1000, 5000) if not codes.comes_back(code)]


def test_tokens_are_written_the_same() -> None:
    names = ["alice", "Ärger", "a.b*c>d e_f", "日本", "\u0000\u007f", "😀"]
    assert evaluate("runcast.js", f"{json.dumps(names)}.map(m.encodeToken)") == [ids.encode_token(name) for name in names]


def test_every_kind_has_its_type() -> None:
    declared = (CLIENT / "runcast.d.ts").read_text().partition("export type Kind =")[2].partition(";")[0]
    assert set(json.loads("[" + declared.replace("|", "", 1).replace("|", ",") + "]")) == {*eventjson.KINDS, eventjson.UNKNOWN}


def modules_below(module: Path) -> set[Path]:
    """What a module imports, at once or later, and what that imports."""
    found: set[Path] = set()
    todo = [module]
    while todo:
        here = todo.pop()
        source = here.read_text()
        names = re.findall(r'^(?:import|export) .* from "([^"]+)";$', source, re.MULTILINE) + re.findall(
            r'import\("([^"]+)"\)\.then', source
        )
        paths = {(CLIENT.parent / name.lstrip("/") if name.startswith("/") else here.parent / name).resolve() for name in names}
        todo += paths - found
        found |= paths
    return found


def test_the_page_asks_for_all_its_modules_at_once() -> None:
    # What is not named there is found only when what imports it has come: a round trip for each step down.
    demo = CLIENT.parent / "demo"
    named = re.findall(r'<link rel="modulepreload" href="/([^"]+)" />', (demo / "index.html").read_text())
    needed = {str(path.relative_to(CLIENT.parent)) for path in modules_below(demo / "demo.js")}
    assert set(named) == needed, "name in index.html what demo.js leads to, and nothing else"
    assert len(named) == len(set(named))
