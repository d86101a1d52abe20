"""Real servers, real processes and real devices, for tests, for `runcast up`, `runcast demo` and `runcast bench`: nothing is imitated.

`Cluster` starts nats-server, routers and edges, and breaks them on purpose; `Device` is a WebSocket client that checks what it is given;
`UserDevice` judges it, too. The pytest plugin (`runcast.testkit.plugin`) offers all of it as fixtures; TESTKIT.md shows how. Needs the
extras `server` and `local`.

Names are imported when they are first used: pytest loads this package in every project that has Runcast installed.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runcast.testkit.cluster import Cluster
    from runcast.testkit.cluster_tls import ClusterTls
    from runcast.testkit.device import Device
    from runcast.testkit.device_link import DeviceClosedError
    from runcast.testkit.device_session import ChainBrokenError, Received
    from runcast.testkit.node import Node
    from runcast.testkit.processes import Process, ProcessError
    from runcast.testkit.quality import Quality, judge
    from runcast.testkit.recording import Recording
    from runcast.testkit.stress import StressOutcome, stress
    from runcast.testkit.user_device import UserDevice, verify_together
    from runcast.testkit.validators import Violation, Want
    from runcast.testkit.verification import VerificationError, check_history, inspect
    from runcast.testkit.waits import Timing, measure, timing_table

_HOMES = {
    "ChainBrokenError": "device_session",
    "Cluster": "cluster",
    "ClusterTls": "cluster_tls",
    "Device": "device",
    "DeviceClosedError": "device_link",
    "Node": "node",
    "Process": "processes",
    "ProcessError": "processes",
    "Quality": "quality",
    "Received": "device_session",
    "Recording": "recording",
    "StressOutcome": "stress",
    "Timing": "waits",
    "UserDevice": "user_device",
    "VerificationError": "verification",
    "Violation": "validators",
    "Want": "validators",
    "check_history": "verification",
    "inspect": "verification",
    "judge": "quality",
    "measure": "waits",
    "stress": "stress",
    "timing_table": "waits",
    "verify_together": "user_device",
}

__all__ = [
    "ChainBrokenError",
    "Cluster",
    "ClusterTls",
    "Device",
    "DeviceClosedError",
    "Node",
    "Process",
    "ProcessError",
    "Quality",
    "Received",
    "Recording",
    "StressOutcome",
    "Timing",
    "UserDevice",
    "VerificationError",
    "Violation",
    "Want",
    "check_history",
    "inspect",
    "judge",
    "measure",
    "stress",
    "timing_table",
    "verify_together",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
