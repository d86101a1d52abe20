"""How an error of the tree ends an RPC: gRPC status and text, and the code in the trailing metadata."""

from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from runcast.wire.errors import RuncastError

CODE_KEY: Final = "runcast-code"
"""Trailing metadata: the name in the code table."""
RETRY_AFTER_KEY: Final = "runcast-retry-after-ms"
"""Trailing metadata: do not come back sooner."""


async def refuse_call(context: "grpc.aio.ServicerContext[Any, Any]", error: RuncastError) -> NoReturn:
    """End an RPC with `error`; `<code>: <message>` is the status text."""
    metadata = ((CODE_KEY, error.code.name), (RETRY_AFTER_KEY, str(round(error.retry_after_s * 1000))))
    await context.abort(grpc.StatusCode[error.code.grpc], str(error), trailing_metadata=metadata)
    raise AssertionError  # abort always raises
