"""`runcast soak`, for some seconds: that it loads, checks and measures. The long one is `make soak`."""

import json
import subprocess
import sys


def test_a_short_soak_loses_nothing_and_measures_every_process() -> None:
    command = [sys.executable, "-c", "from runcast.cli.main import app; app()", "soak", "--json"]
    ended = subprocess.run([*command, "--minutes", "0.1", "--rate", "200", "--users", "4"], capture_output=True, text=True, check=False)
    assert ended.stdout, ended.stderr
    soaked = json.loads(ended.stdout)
    assert (soaked["lost_runs"], soaked["holes"], soaked["chain_breaks"]) == (0, 0, [])
    assert soaked["runs"] >= 4
    assert soaked["answers"] >= soaked["messages"]
    assert [growth["name"] for growth in soaked["growth"]] == ["nats", "router-0", "router-1", "edge-0", "edge-1", "devices", "agents"]
    assert all(10 < growth["last_mib"] < 500 for growth in soaked["growth"])
    assert ended.returncode == (0 if all(growth["flat"] for growth in soaked["growth"]) else 1)
