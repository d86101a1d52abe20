"""OpenTelemetry, for programs that use it: a span per run and per tool call, and the trace context of what agents emit.

Rules.
1. Nothing is imported: a program that traces has `opentelemetry` loaded already (it set a provider up, or something instruments it). In any
   other, all of this does nothing, and costs a look into a dictionary.
2. `invoke_agent <agent>` is current within a run's block, `execute_tool <tool>` within a tool call's; names and attributes are those of the
   GenAI conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/). Neither values nor texts of exceptions are
   put into spans: the class of an exception is, and the category that the user was told.
3. An event carries the `traceparent` of the span that is current where it is emitted, unless the run was given one: then that one, which is
   the parent of the run's span too.

Never imports asyncio, grpc, or OpenTelemetry.
"""

import sys
from typing import TYPE_CHECKING, Final

from runcast.v1.event_pb2 import SEVERITY_FATAL, TOOL_STATUS_ERROR, Event
from runcast.wire import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry import trace as otel
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

_TRACE: Final = "opentelemetry.trace"
_last: "tuple[SpanContext | None, str]" = (None, "")  # the same span is current for many events


def current_traceparent() -> str:
    """W3C trace context of the span that is current here; "" when there is none."""
    global _last  # noqa: PLW0603 # a cache of one
    trace = _loaded()
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    known, text = _last
    if context is not known:
        text = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}" if context.is_valid else ""
        _last = (context, text)
    return text


def begin_run(agent: str, thread: str, run_id: str, attempt: int, traceparent: str) -> "Span | None":
    """The span of a run, current from now on; None when nothing traces.

    Args:
        agent: its name.
        thread: the conversation; "" for none.
        run_id: the run's.
        attempt: from 1.
        traceparent: its parent; "" for the span that is current.
    """
    if _loaded() is None:
        return None
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": agent,
        "runcast.run.id": run_id,
        "runcast.run.attempt": attempt,
    }
    if thread:
        attributes["gen_ai.conversation.id"] = thread
    return _begin(f"invoke_agent {agent}", attributes, traceparent)


def begin_tool(tool: str, call_id: str) -> "Span | None":
    """The span of a tool call, current from now on; None when nothing traces."""
    if _loaded() is None:
        return None
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.call.id": call_id,
        "gen_ai.tool.type": "function",
    }
    return _begin(f"execute_tool {tool}", attributes, "")


class Span:
    """A span that is current until it ends, in the context in which it began."""

    def __init__(self, span: "otel.Span", context: "Context") -> None:
        from opentelemetry.context import attach, get_current  # noqa: PLC0415 # loaded already

        self._span = span
        self._context = context
        self._before = get_current()
        attach(context)
        self._failed = ""

    def note(self, event: Event) -> None:
        """An event of the run or call: an error that ends it is the span's."""
        if event.HasField("agent_error") and event.agent_error.severity == SEVERITY_FATAL:
            self._failed = event.agent_error.category or "unknown"
        elif event.HasField("tool_completed") and event.tool_completed.status == TOOL_STATUS_ERROR:
            self._failed = "tool_error"

    def end(self, exc: BaseException | None = None) -> None:
        """It is over; `exc` is what the block raised."""
        from opentelemetry.context import attach, get_current  # noqa: PLC0415 # loaded already
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 # loaded already

        if get_current() is self._context:  # not where the block was left in another task
            attach(self._before)  # `detach` would log an error where that task has a copy of this context
        if isinstance(exc, Exception) or self._failed:
            kind = f"{type(exc).__module__}.{type(exc).__qualname__}" if isinstance(exc, Exception) else self._failed
            self._span.set_attribute("error.type", kind.removeprefix("builtins."))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


def _loaded() -> "otel | None":  # type: ignore[valid-type] # a module
    return sys.modules.get(_TRACE)


def _begin(name: str, attributes: "Mapping[str, str | int]", traceparent: str) -> Span:
    from opentelemetry.trace import get_tracer, set_span_in_context  # noqa: PLC0415 # loaded already
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 # of the same package

    parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent}) if traceparent else None
    span = get_tracer("runcast", VERSION).start_span(name, parent, attributes=attributes)
    return Span(span, set_span_in_context(span, parent))
