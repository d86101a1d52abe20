import asyncio
import sys
from pathlib import Path

import pytest

from runcast.cli.failures import CommandError
from runcast.cli.supervisor import keep_alive
from runcast.testkit import Process
from runcast.wire import limits_client


def child(tmp_path: Path, code: str) -> Process:
    return Process("child", [sys.executable, "-S", "-c", code], directory=tmp_path, ready="^ready")


async def test_what_ends_is_started_again_and_said(tmp_path: Path) -> None:
    process = child(tmp_path, "import time; print('ready', flush=True); time.sleep(60)")
    await process.start()
    first = process.pid
    back = asyncio.Event()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "is back" in text:
            back.set()

    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(keep_alive([process], say))
        await process.kill()
        await back.wait()
        assert process.pid != first
        assert "child ended by signal 9; starting it again in 0.25 s" in said
        keeping.cancel()
    await process.stop()


async def test_a_child_that_keeps_dying_ends_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_client, "CHILD_BACKOFF_S", 0.001)
    process = child(tmp_path, "import sys; print('ready', flush=True); sys.exit('no luck')")
    await process.start()
    said: list[str] = []
    with pytest.raises(CommandError, match=r"(?s)exit status 1 after 5 restarts.*no luck"):
        await keep_alive([process], said.append)
    assert len([line for line in said if "starting it again" in line]) == limits_client.CHILD_RESTARTS_MAX


async def test_a_child_that_cannot_start_as_configured_is_not_tried_again(tmp_path: Path) -> None:
    process = child(tmp_path, "import sys; print('ready', flush=True); print('port taken', file=sys.stderr); sys.exit(2)")
    await process.start()
    said: list[str] = []
    with pytest.raises(CommandError, match=r"(?s)exit status 2, so everything ends.*port taken"):
        await keep_alive([process], said.append)
    assert said == []
