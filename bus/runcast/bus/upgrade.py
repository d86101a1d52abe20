"""What streams of older deployments lack, and get when a router finds them: times to live of single messages (NATS ADR-43).

Rule: a role that may not update streams (deploy/nats/permissions.conf) says what an operator has to do, and goes on: only tenants whose
retention is shorter than the stream's age need it, and nothing of theirs is stored until then.
"""

import msgspec
import nats.errors
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.wire import limits
from runcast.wire.errors import UnavailableError


class _Error(msgspec.Struct):
    description: str = ""


class _Answer(msgspec.Struct):
    error: _Error | None = None


class _Info(msgspec.Struct):
    config: dict[str, object]


async def allow_message_ttl(bus: Bus, stream: str, log: BoundLogger) -> bool:
    """Let messages of a stream have times to live of their own; whether they may now. Nothing else of the stream is changed.

    Args:
        bus: an open connection.
        stream: which; it is there.
        log: told what came of it.

    Raises:
        UnavailableError: its leader did not answer.
    """
    info = msgspec.json.decode(await bus.leaders.info(stream, limits.LEADER_WAIT_S), type=_Info)
    wanted = msgspec.json.encode({**info.config, "allow_msg_ttl": True})
    try:
        answer = await bus.replies.request(f"$JS.API.STREAM.UPDATE.{stream}", wanted, None, limits.LEADER_ATTEMPT_S)
        error = msgspec.json.decode(answer.data, type=_Answer).error
        why = error.description if error is not None else ""
    except (nats.errors.Error, UnavailableError, msgspec.DecodeError) as exc:
        why = f"{exc or type(exc).__name__}; it may be that this role may not update streams"
    if why:
        log.warning(
            "message_ttl_not_allowed",
            stream=stream,
            reason=why,
            advice=f"for shorter retentions: nats stream edit {stream} --allow-msg-ttl",
        )
    else:
        log.info("message_ttl_allowed", stream=stream)
    return not why
