"""InboxService: lets the workers of agent groups in; `runcast.router.worker` serves each (PROTOCOL.md, "What users send")."""

import asyncio
from typing import Any

from google.protobuf.message import DecodeError

from runcast.bus.rpc_status import refuse_call
from runcast.router.auth import Authenticator, admit
from runcast.router.node import Node
from runcast.router.principals import Principals
from runcast.router.status import hello_late
from runcast.router.worker import WorkerStream
from runcast.v1 import inbox_pb2_grpc
from runcast.v1.inbox_pb2 import ReceiveRequest
from runcast.wire import limits
from runcast.wire.errors import RuncastError
from runcast.wire.ids import check_id


class InboxService(inbox_pb2_grpc.InboxServiceServicer):
    """`runcast.v1.InboxService`."""

    def __init__(self, node: Node, authenticator: Authenticator, principals: Principals) -> None:
        self._node = node
        self._authenticator = authenticator
        self._principals = principals

    async def Receive(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: ARG002, N802 # gRPC's names
        """Serve one worker until it goes, or the router stops."""
        node = self._node
        principal = await admit(self._authenticator, context, node.denials)
        try:
            node.admit_stream(node.workers)
            async with asyncio.timeout(limits.HELLO_TIMEOUT_S):
                request = await context.read()
            group, worker, in_flight_max = _read_hello(request)
            principal.scopes.check_group(group)
            node.guard.check(principal.peer)  # again: its hello took its time
        except TimeoutError:
            await refuse_call(context, hello_late())
        except DecodeError as exc:
            await refuse_call(context, RuncastError(f"the first request is not a ReceiveRequest: {exc}", code="hello_expected"))
        except RuncastError as exc:
            if exc.code.name == "permission_denied":
                node.denials.note(principal.name, exc.code.name, exc.message)
            await refuse_call(context, exc)
        stream = WorkerStream(node, context, principal, group, worker, in_flight_max)
        node.workers.add(stream)
        try:
            with self._principals.holding(stream, principal, lambda: principal.scopes.check_group(group)):
                error = await stream.serve()
        finally:
            node.remove(stream)
        if error is not None:
            await refuse_call(context, error)


def _read_hello(request: object) -> tuple[str, str, int]:
    """Group, worker and in_flight_max.

    Raises:
        RuncastError: `hello_expected` or `id_invalid`.
    """
    if not isinstance(request, ReceiveRequest) or not request.HasField("hello"):
        raise RuncastError("the first request carries no hello; say which group's messages you want", code="hello_expected")
    hello = request.hello
    wanted = min(max(hello.in_flight_max, 1), limits.INBOX_IN_FLIGHT_MAX)
    return check_id(hello.group, "group"), check_id(hello.worker, "worker id"), wanted
