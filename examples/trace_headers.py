"""Inside a batch, each message keeps its own: the trace header, the key, the position, the client's raw record.

`python examples/trace_headers.py` runs on the embedded broker; KAFKA_URL names a real one.
"""

from collections.abc import Iterator

import anyio
from pydantic import BaseModel
from showing import arrived, server

from headrace import Batch, Engine, Message, Topology


class Reading(BaseModel):
    sensor: str
    celsius: float


class Fahrenheit(BaseModel):
    sensor: str
    fahrenheit: float


kafka = server("KAFKA_URL")
topology = Topology("traces")


@topology.publisher(kafka.topic("readings.fahrenheit"))
@topology.subscriber(kafka.topic("readings"), batch=Batch(size=50, wait=0.1))
def convert(readings: list[Reading], messages: list[Message]) -> Iterator[Message]:
    for reading, message in zip(readings, messages, strict=True):
        trace = (message.headers or {}).get("traceparent", "")
        body = Fahrenheit(sensor=reading.sensor, fahrenheit=reading.celsius * 9 / 5 + 32)
        headers = {"traceparent": trace, "read-at": f"{message.partition}:{message.offset}"}
        yield Message(body, key=message.key, headers=headers)


async def main() -> None:
    async with kafka:
        for number in range(5):
            await kafka.topic("readings").publish(
                Reading(sensor=f"s{number}", celsius=20.0 + number),
                key=f"s{number}",
                headers={"traceparent": f"00-{number:032x}-{number:016x}-01"},
            )
    await Engine(topology.graph()).run(burst=True)
    for message in await arrived(kafka.topic("readings.fahrenheit")):
        headers = message.headers or {}
        print(message.key, headers["traceparent"], (message.raw or b"").decode())


if __name__ == "__main__":
    anyio.run(main)
