"""Services for handlers: set up once by a lifespan, injected by annotation, and timed by a middleware.

`python examples/dependencies.py` runs on the embedded broker; NATS_URL names a real one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Annotated, Any

import anyio
from pydantic import BaseModel
from showing import arrived, server

from headrace import Context, Depends, Engine, Header, Logger, Message, Topology


class Order(BaseModel):
    id: int
    total: float


class Priced(Order):
    price: float
    tenant: str


class Rates:
    """A service with a connection, made once."""

    async def of(self, tenant: str) -> float:
        return 1.21 if tenant == "be" else 1.19


nats = server("NATS_URL")
topology = Topology("dependencies")
timings: list[float] = []


@topology.lifespan
async def resources(context: dict[str, Any]) -> AsyncIterator[None]:
    context["rates"] = Rates()
    yield
    context.clear()


@topology.middleware
async def timing(call_next: Callable[[Message], Awaitable[Any]], message: Message) -> Any:
    began = perf_counter()
    try:
        return await call_next(message)
    finally:
        timings.append(perf_counter() - began)


async def rate(
    rates: Annotated[Rates, Context("rates")],
    tenant: Annotated[str, Header("x-tenant")] = "de",
) -> float:
    return await rates.of(tenant)


@topology.publisher(nats.stream("ORDERS", subject="orders.priced"))
@topology.subscriber(nats.stream("ORDERS", subject="orders.new"), max_workers=4)
async def price(
    order: Order,
    factor: Annotated[float, Depends(rate)],
    logger: Logger,
    tenant: Annotated[str, Header("x-tenant")] = "de",
) -> Priced:
    logger.debug("priced by %s", factor)
    return Priced(**order.model_dump(), price=round(order.total * factor, 2), tenant=tenant)


async def main() -> None:
    async with nats:
        for number in range(4):
            headers = {"x-tenant": "be"} if number % 2 else {}
            order = Order(id=number, total=100)
            await nats.stream("ORDERS", subject="orders.new").publish(order, headers=headers)
    await Engine(topology.graph()).run(burst=True)
    for message in await arrived(nats.stream("ORDERS", subject="orders.priced")):
        print((message.raw or b"").decode())
    print(len(timings), "calls timed")


if __name__ == "__main__":
    anyio.run(main)
