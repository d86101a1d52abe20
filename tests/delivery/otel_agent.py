"""An agent that traces, in a process of its own (a tracer provider is for life): `python otel_agent.py ROUTERS USER HOW`.

HOW: `async`, `sync`, or `given` (the run is given a traceparent). It writes one JSON object to stdout: the caller's ids, and all spans.
"""

import asyncio
import contextlib
import json
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import runcast.client
import runcast.client.sync

GIVEN = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


async def work_async(routers: str, user: str, traceparent: str = "") -> None:
    async with runcast.client.Runcast(routers, agent="analyst") as rc:
        async with rc.run(user=user, thread="t-1", run_id="good", traceparent=traceparent) as run:
            async with run.tool("search", args={"secret": 1}):
                with trace.get_tracer("agent").start_as_current_span("query"):
                    await run.thinking("inside")
            async with run.child(agent="helper", run_id="below") as child:
                await child.respond("x")
            await run.respond("y")
        with contextlib.suppress(KeyError):
            async with rc.run(user=user, run_id="bad") as run, run.tool("search"):
                raise KeyError("a secret")
        async with rc.run(user=user, run_id="failed") as run:
            await run.fail("no", category="dependency")


def work_sync(routers: str, user: str) -> None:
    with runcast.client.sync.Runcast(routers, agent="analyst") as rc:
        with rc.run(user=user, thread="t-1", run_id="good") as run:
            with run.tool("search", args={"secret": 1}), trace.get_tracer("agent").start_as_current_span("query"):
                run.thinking("inside")
            with run.child(agent="helper", run_id="below") as child:
                child.respond("x")
            run.respond("y")
        with contextlib.suppress(KeyError), rc.run(user=user, run_id="bad") as run, run.tool("search"):
            raise KeyError("a secret")
        with rc.run(user=user, run_id="failed") as run:
            run.fail("no", category="dependency")


def main(routers: str, user: str, how: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    with trace.get_tracer("caller").start_as_current_span("request") as caller:
        if how == "sync":
            work_sync(routers, user)
        else:
            asyncio.run(work_async(routers, user, GIVEN if how == "given" else ""))
        assert trace.get_current_span() is caller, "what was current before is current again"
    spans = [
        {
            "name": span.name,
            "trace": f"{span.context.trace_id:032x}",
            "id": f"{span.context.span_id:016x}",
            "parent": f"{span.parent.span_id:016x}" if span.parent else "",
            "attributes": dict(span.attributes or {}),
            "status": span.status.status_code.name,
            "description": span.status.description,
            "events": len(span.events),
        }
        for span in exporter.get_finished_spans()
    ]
    sys.stdout.write(json.dumps(spans))


main(*sys.argv[1:])
