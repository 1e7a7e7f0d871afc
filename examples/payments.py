"""Payments: three tries, then a dead letter; when the bank is back, the dead letters are put back and go through.

The same from a shell: `headrace dead list examples/payments.py` and `headrace dead redrive examples/payments.py`.

`python examples/payments.py` runs on the embedded broker; RABBITMQ_URL names a real one.
"""

import anyio
from pydantic import BaseModel, Field
from showing import arrived, server

from headrace import Engine, Message, Reject, Retry, Topology, graves, redrive


class Payment(BaseModel):
    id: int
    account: str
    amount: float = Field(gt=0)


class Bank:
    """A bank that may be closed."""

    opened = False

    async def pay(self, payment: Payment) -> None:
        if not self.opened:
            raise ConnectionError("the bank does not answer")


bank = Bank()
rabbit = server("RABBITMQ_URL")
topology = Topology("payments")


@topology.publisher(rabbit.queue("payments.done"))
@topology.subscriber(
    rabbit.queue("payments"),
    key="account",  # one account's payments one at a time, in their order
    max_workers=8,
    retry=Retry(attempts=3, first=0.05, factor=2),
)
async def pay(payment: Payment, message: Message) -> Payment:
    if payment.account == "closed":
        raise Reject("the account is closed")  # no retry can help: dead at once
    await bank.pay(payment)
    return payment


async def main() -> None:
    async with rabbit:
        for number, account in enumerate(["ada", "ben", "closed", "ada"]):
            await rabbit.queue("payments").publish(Payment(id=number, account=account, amount=10))
    await Engine(topology.graph()).run(burst=True)

    (grave,) = graves(topology.graph())
    bank.opened = True
    result = await redrive(grave, 100, wanted=lambda letter: "bank" in str((letter.headers or {})["headrace-reason"]))
    print(result.redriven, "put back,", result.left, "left")
    await Engine(topology.graph()).run(burst=True)

    done = [Payment.model_validate_json(each.raw or b"").id for each in await arrived(rabbit.queue("payments.done"))]
    print("done:", sorted(done))
    for message in await arrived(rabbit.queue("payments.dead")):
        headers = message.headers or {}
        print("dead:", headers["headrace-reason"], "after", headers["headrace-attempts"], "tries")


if __name__ == "__main__":
    anyio.run(main)
