"""Real servers, real processes and real devices, for tests, for `runcast up`, `runcast demo` and `runcast bench`: nothing is imitated.

`Cluster` starts nats-server, routers and edges; `Device` is a WebSocket client that checks what it is given. The pytest plugin
(`runcast.testkit.plugin`) offers both as fixtures. Needs the extras `server` and `local`.
"""

from runcast.testkit.cluster import Cluster, Node
from runcast.testkit.device import Device
from runcast.testkit.device_link import DeviceClosedError
from runcast.testkit.device_session import ChainBrokenError, Received
from runcast.testkit.processes import Process, ProcessError

__all__ = ["ChainBrokenError", "Cluster", "Device", "DeviceClosedError", "Node", "Process", "ProcessError", "Received"]
