"""Payments told twice: a payment service tells of each payment until it is answered, and money is booked once.

The service repeats itself under a new message id and with a new time, so that what makes two of its messages one is the
payment's reference. One that cannot be booked yet is tried again, while its duplicate waits for what becomes of it.

`python examples/duplicates.py` runs on the embedded broker; RABBITMQ_URL names a real one.
"""

import anyio
from pydantic import BaseModel
from showing import arrived, server

from headrace import Deduplicate, Engine, Message, Retry, Topology


class Paid(BaseModel):
    reference: str
    amount: float
    told: int


rabbit = server("RABBITMQ_URL")
topology = Topology("bookkeeping")


@topology.publisher(rabbit.queue("booked"))
@topology.subscriber(
    rabbit.queue("paid"),
    deduplicate=Deduplicate(window=24 * 3600, by="reference"),
    max_workers=4,
    retry=Retry(attempts=3, first=0.05),
)
async def book(paid: Paid, message: Message) -> Paid:
    if paid.reference == "inv-2" and message.attempt == 1:
        raise ConnectionError("the ledger is being closed for the day")
    return paid


async def main() -> None:
    told = [("inv-1", 30.0), ("inv-2", 5.5), ("inv-1", 30.0), ("inv-2", 5.5), ("inv-3", 12.0), ("inv-1", 30.0)]
    async with rabbit:
        for number, (reference, amount) in enumerate(told):
            paid = Paid(reference=reference, amount=amount, told=number)
            await rabbit.queue("paid").publish(paid, id=f"notice-{number}")
        await rabbit.queue("paid").publish(Paid(reference="inv-3", amount=12, told=9))
    engine = Engine(topology.graph())
    await engine.run(burst=True)

    booked = [Paid.model_validate_json(each.raw or b"") for each in await arrived(rabbit.queue("booked"))]
    print("booked:", sorted((paid.reference, paid.amount) for paid in booked))
    print("left out:", engine.status()[0].duplicates)


if __name__ == "__main__":
    anyio.run(main)
