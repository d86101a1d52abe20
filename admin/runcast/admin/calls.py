"""What the groups of RPCs of AdminService are made of: each group is a class in a file of its own, and `service.py` puts them together."""

from runcast.admin.desk import Desk
from runcast.admin.node import Node
from runcast.v1 import admin_pb2_grpc


class Calls(admin_pb2_grpc.AdminServiceServicer):
    """A group of RPCs; those of no group are UNIMPLEMENTED.

    Args:
        node: of this process.
        desk: lets calls in; each method begins with `async with self._desk.viewing(...)` or `acting(...)`.
    """

    def __init__(self, node: Node, desk: Desk) -> None:
        self._node = node
        self._desk = desk
