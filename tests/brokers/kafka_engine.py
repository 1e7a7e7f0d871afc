"""A process with an engine, to be killed: sixteen workers on one partition, three of which may get stuck."""

import json
import sys

import anyio
from pydantic import BaseModel

from actors import Message
from engine import Engine
from engine.kafka.broker import Kafka
from topologies import Topology


class Numbered(BaseModel):
    id: int


servers, name, manner = sys.argv[1:]
kafka = Kafka(servers, commit_interval=0.1, session_timeout=10, group_instance_id="the-process")
topology = Topology("killed")


@topology.publisher(kafka.topic(f"{name}.out"))
@topology.subscriber(kafka.topic(name), max_workers=16)
async def handle(number: Numbered, message: Message) -> Numbered:
    if manner == "stuck" and number.id in (0, 700, 1500):
        await anyio.sleep_forever()
    if manner == "free":
        print(json.dumps([number.id, message.attempt]), flush=True)
    return number


anyio.run(lambda: Engine(topology.graph()).run(burst=manner == "free"))
