"""`runcast demo`: the whole system with an agent that answers questions about a corpus; on a page, or one question in the terminal."""

import asyncio
import json
import sys
import uuid
from pathlib import Path
from typing import Final

import typer

from runcast.cli.failures import FAILED, TIMED_OUT, CommandError, guarded, run_until_signal
from runcast.cli.local import LOUD, at_other_ports, check_nats, describe, local_cluster, say
from runcast.cli.stdin import read_lines
from runcast.cli.supervisor import keep_alive
from runcast.cli.tail import Printer, note
from runcast.testkit import Cluster, Device, Received
from runcast.v1.event_pb2 import Event, InputRequested
from runcast.wire import limits
from runcast.wire.lifecycle import ends_run

GROUP: Final = "demo"
"""The agent group of the demo agent."""

EXAMPLES: Final = """
Examples:

  runcast demo
      prints the address of a page; Ctrl-C ends everything

  runcast demo --corpus ./docs
      the agent answers about the text files of a folder

  runcast demo --ask "how do I read a file line by line?"
      one question in the terminal, through every part; ends by itself; what the agent asks back is answered there, too

Exit status of --ask: 0 completed; 1 error, cancelled or lost; 2 it could not start; 3 --timeout passed.
If a usual port (7400, 7480, 4222) is taken, another one is used and said; a --port that is taken is an error.
"""


@guarded
def demo(
    ask: str = typer.Option("", help="Ask one question in the terminal instead of serving the page."),
    corpus: Path | None = typer.Option(
        None,
        exists=True,
        file_okay=False,
        resolve_path=True,
        help="A folder of text to answer from; default: the documentation of Python's library.",
    ),
    port: int | None = typer.Option(None, min=0, max=65535, help="Of the page. Default 7480, or any free one if that is taken; 0: any."),
    user: str = typer.Option("demo", help="Who asks, with --ask."),
    as_json: bool = typer.Option(False, "--json", help="With --ask: one JSON object a line."),
    timeout: float = typer.Option(60.0, min=1.0, help="With --ask: give up after so many seconds."),
    routers: int = typer.Option(2, min=1, max=16, help="Router processes."),
    edges: int = typer.Option(2, min=1, max=16, help="Edge processes."),
    nats_url: str = typer.Option("", envvar="RUNCAST_NATS_URL", help="Use this NATS instead of starting one."),
    logs: bool = typer.Option(False, "--logs", help="Show every process's log."),
) -> int:
    """Run everything at once: NATS, routers, edges and an agent that answers questions about a corpus."""

    def new_cluster(ports: int | None) -> Cluster:
        return local_cluster(
            routers=routers,
            edges=edges,
            nats_url=nats_url,
            data=None,
            router_port=ports,
            edge_port=port if port is not None else ports,
            nats_port=ports,
            logs=logs,
        )

    async def serve() -> int:
        cluster = new_cluster(None)
        if nats_url:
            await check_nats(nats_url)
        say("Starting Runcast ...")
        async with cluster:
            await _start_agent(cluster, corpus)
            say(f"\n  Open  {cluster.edges[0].http_url}/  and ask something.\n")
            for line in describe(cluster):
                say(line)
            say(f"\n  In the terminal:  {at_other_ports(cluster, 'tail')} --user USER   (the page shows its user's name)")
            say(f"\n{LOUD}\nCtrl-C ends it.")
            try:
                await keep_alive(cluster.processes, say)
            finally:
                say("\nStopping ...")
        return 0

    async def ask_once() -> int:
        if nats_url:
            await check_nats(nats_url)
        async with new_cluster(0) as cluster:
            await _start_agent(cluster, corpus)
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(keep_alive(cluster.processes, lambda _: None))
                status = await _ask(cluster, ask, user, Printer(as_json=as_json), timeout)
                keeping.cancel()
            return status

    if ask:
        return run_until_signal(ask_once(), status=FAILED)
    status = run_until_signal(serve())
    say("Stopped: no process and no port is left.")
    return status


async def _start_agent(cluster: Cluster, corpus: Path | None) -> None:
    args = ["-m", "runcast.cli.demo_agent", "--router", cluster.routers[0].address]
    if corpus is not None:
        args += ["--corpus", str(corpus)]
    await cluster.add("agent", args, ready=rf"^ready agent {GROUP}\b")


async def _ask(cluster: Cluster, question: str, user: str, printer: Printer, timeout: float) -> int:
    """Ask, print every event as it comes, and judge how the run ended."""
    asked = str(uuid.uuid4())
    runs: set[str] = set()
    answered: set[str] = set()

    def ends_or_asks(event: Event) -> bool:
        if event.agent_started.reply_to == asked:
            runs.add(event.run_id)
        asks = event.HasField("input_requested") and event.input_requested.request_id not in answered
        return event.run_id in runs and (asks or ends_run(event))

    def show(received: Received) -> None:
        printer(received)

    client = Device(cluster.ws_urls(), cluster.token(user), device="terminal", position="latest", reconnect=True, on_event=show)
    try:
        async with asyncio.timeout(timeout), client:
            await client.send_message(GROUP, asked, question, id=asked, timeout=timeout)
            while not ends_run(event := await client.wait_for(ends_or_asks, timeout)):
                request = event.input_requested
                answered.add(request.request_id)
                await client.answer(event.run_id, request.request_id, await _choose(request))
    except TimeoutError as exc:
        raise CommandError("timeout", f"no answer in {timeout:g} s; --timeout allows more", status=TIMED_OUT) from exc
    return 0 if event.WhichOneof("kind") == "agent_completed" else FAILED


async def _choose(request: InputRequested) -> object:
    """What is answered to a question of the agent: what is typed; where nobody can type, what the agent assumes."""
    assumed = json.loads(request.default_json)
    if not sys.stdin.isatty():
        note(f"the agent asks, and there is no terminal to answer from: {assumed}")
        return assumed
    options = list(request.options)
    shown = ", ".join(f"{number} {option}" for number, option in enumerate(options, 1))
    note(f"the agent asks; type a number ({shown}), or Enter for: {assumed}")
    async for line in read_lines(sys.stdin.fileno(), limits.TEXT_BYTES_MAX):
        typed = (line or b"").decode(errors="replace").strip()
        if not typed:
            break
        if typed in options:
            return typed
        if typed.isdecimal() and 1 <= int(typed) <= len(options):
            return options[int(typed) - 1]
        note(f"{typed}: type a number from 1 to {len(options)}")
    return assumed


demo.__doc__ = f"{demo.__doc__}\n\n\b{EXAMPLES}"
