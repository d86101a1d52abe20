"""An agent that heeds no limit, in a process of its own: `python hostile_agent.py ROUTER TENANT RUNS SECONDS`.

It begins run after run of large batches as fast as its window lets it, and sends at once again what was refused. What became of it goes to
stdout as JSON: answers by code, and how many events were stored.
"""

import asyncio
import json
import sys
import time
from collections import Counter

import grpc.aio

from runcast.v1.event_pb2 import Batch, Event, User
from runcast.v1.ingest_pb2 import ProducerHello, PublishRequest
from runcast.v1.ingest_pb2_grpc import IngestServiceStub
from runcast.wire import limits

EVENTS = 200
AT_ONCE = 64
"""Batches unanswered: well within the window."""


def make_batch(producer: str, tenant: str, number: int) -> Batch:
    name = f"{producer}-{number}"
    batch = Batch(user=User(tenant=tenant, id=f"u{number % 50}"), producer=producer, run_id=name, attempt=1, number=1)
    for seq in range(1, EVENTS + 1):
        event = batch.events.add(id=f"{name}.1.{seq}", run_id=name, attempt=1, seq=seq, agent="hostile")
        if seq == 1:
            event.agent_started.SetInParent()
        elif seq == EVENTS:
            event.agent_completed.SetInParent()
        else:
            event.CopyFrom(Event(id=event.id, run_id=name, attempt=1, seq=seq, agent="hostile"))
            event.agent_thinking.text = "x" * 50
    return batch


async def flood(router: str, tenant: str, producer: str, until: float, told: Counter[str]) -> None:
    batches = [make_batch(producer, tenant, number) for number in range(AT_ONCE)]
    free = {batch.run_id: batch for batch in batches}
    async with grpc.aio.insecure_channel(router) as channel:
        call = IngestServiceStub(channel).Publish(wait_for_ready=True)
        await call.write(PublishRequest(hello=ProducerHello(producer=producer, agent="hostile")))
        await call.read()
        made = AT_ONCE
        while time.monotonic() < until:
            waiting = list(free.values())[:32]
            for batch in waiting:
                del free[batch.run_id]
            if waiting:
                await call.write(PublishRequest(batches=waiting))
                told["sent"] += len(waiting)
            response = await call.read()
            for refusal in response.refusals:
                told[refusal.code] += 1
                free[refusal.run_id] = batches[int(refusal.run_id.rpartition("-")[2]) % AT_ONCE]
            for ack in response.acks:
                told["events_stored"] += EVENTS
                place = int(ack.run_id.rpartition("-")[2]) % AT_ONCE
                batches[place] = make_batch(producer, tenant, made - made % AT_ONCE + place)
                free[batches[place].run_id] = batches[place]
                made += AT_ONCE
        call.cancel()


async def main(router: str, tenant: str, streams: int, seconds: float) -> None:
    assert AT_ONCE * 32 * limits.KIB < limits.STREAM_WINDOW_BYTES
    told: Counter[str] = Counter()
    until = time.monotonic() + seconds
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(*(flood(router, tenant, f"hostile{number}", until, told) for number in range(streams)))
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
