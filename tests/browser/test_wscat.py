"""The line for `wscat` in PROTOCOL.md, run as it stands there with npm's wscat. (Those for curl: `tests/delivery/test_http.py`.)"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from packages import HERE, MODULES, find_package
from test_node import find_node

from runcast.testkit import Cluster

PROTOCOL = HERE.parents[1] / "PROTOCOL.md"
BOUND_S = 30.0


async def test_the_line_for_wscat_in_the_protocol(runcast_cluster: Cluster, user: str, tmp_path: Path) -> None:
    find_package(".bin/wscat")
    (line,) = [line for line in PROTOCOL.read_text().splitlines() if line.startswith("wscat ")]
    (tmp_path / "node").symlink_to(find_node())
    async with runcast_cluster.connect() as rc, rc.run(user=user) as run:
        await run.respond("hello")
    wscat = await asyncio.create_subprocess_shell(
        "exec " + line.replace(" -w 2", " -w 60"),  # it is ended when it has shown what it is to show
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{MODULES / '.bin'}:{os.environ['PATH']}",
            "EDGE": runcast_cluster.edges[0].http_url,
            "TOKEN": runcast_cluster.token(user),
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert wscat.stdout is not None
    try:
        frames: list[dict[str, Any]] = []
        while "agent_completed" not in [event["kind"] for frame in frames for event in frame.get("events", [])]:
            said = await asyncio.wait_for(wscat.stdout.readline(), BOUND_S)
            assert said, "it ended before that"
            frames += [json.loads(said)] if said.startswith(b"{") else []
        assert [frame["type"] for frame in frames][:2] == ["welcome", "batch"]
    finally:
        wscat.kill()
        await wscat.wait()
