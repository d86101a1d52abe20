import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from runcast.testkit.processes import Process, ProcessError


def python(tmp_path: Path, code: str, **more: object) -> Process:
    return Process("child", [sys.executable, "-c", code], directory=tmp_path, ready="^ready", **more)  # type: ignore[arg-type]


WAITS = "import sys, time; print('log line', file=sys.stderr, flush=True); print('ready now', flush=True); time.sleep(60)"


async def test_starts_when_ready_and_stops(tmp_path: Path) -> None:
    child = python(tmp_path, WAITS)
    assert await child.start() == "ready now"
    assert child.running
    pid = child.pid
    assert await child.stop() == -signal.SIGTERM
    assert not child.running
    assert not psutil.pid_exists(pid)
    assert "log line" in child.tail()
    assert "ready now\n" in child.log_path.read_text()


async def test_early_end_carries_the_last_words(tmp_path: Path) -> None:
    child = python(tmp_path, "import sys; sys.exit('port 7400 is taken')")
    with pytest.raises(ProcessError, match=r"(?s)exit status 1 before.*port 7400 is taken"):
        await child.start()


async def test_not_ready_in_time_is_killed(tmp_path: Path) -> None:
    child = python(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(ProcessError, match=r"not ready in 0\.3 s"):
        await child.start(ready_s=0.3)
    assert not child.running


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    child = Process("ghost", ["/nonexistent/program"], directory=tmp_path, ready="x")
    with pytest.raises(ProcessError, match="/nonexistent/program can't be run"):
        await child.start()


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    child = python(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await child.start()
    assert await child.wait() == -signal.SIGKILL


async def test_deaf_child_is_killed_after_the_bound(tmp_path: Path) -> None:
    child = python(tmp_path, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITS)
    await child.start()
    assert await child.stop(bound_s=0.2) == -signal.SIGKILL


async def test_paused_child_can_be_stopped(tmp_path: Path) -> None:
    child = python(tmp_path, WAITS)
    await child.start()
    await child.pause()
    assert psutil.Process(child.pid).status() == psutil.STATUS_STOPPED
    assert await child.stop() == -signal.SIGTERM


async def test_lives_again_and_is_seen_ending(tmp_path: Path) -> None:
    child = python(tmp_path, WAITS)
    await child.start()
    first = child.pid
    await child.kill()
    await child.start()
    assert child.pid != first
    os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL


async def test_stderr_is_echoed_with_the_name(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []
    child = python(tmp_path, WAITS, echo=lambda name, line: lines.append((name, line)))
    await child.start()
    await child.stop()
    assert ("child", "log line") in lines


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    code = f"""
import asyncio, pathlib, sys
from runcast.testkit.processes import Process
async def main():
    child = Process("child", [sys.executable, "-c", {WAITS!r}], directory=pathlib.Path({str(tmp_path)!r}), ready="^ready")
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(5)
