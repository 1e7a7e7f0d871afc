"""Slow calls behind a queue: five at a time, a few waiting at hand, the rest at the broker; order is not asked for.

`python examples/model_calls.py` runs on the embedded broker; REDIS_URL names a real one.
"""

import anyio
from pydantic import BaseModel
from showing import arrived, server

from headrace import Engine, Retry, Topology


class Prompt(BaseModel):
    id: int
    text: str


class Answer(BaseModel):
    id: int
    text: str


class Model:
    """Stands for a model behind an API that allows five calls at once, and says so when there are more."""

    def __init__(self) -> None:
        self.calls = self.most = 0

    async def answer(self, prompt: Prompt) -> str:
        self.calls += 1
        self.most = max(self.most, self.calls)
        try:
            if self.calls > 5:
                raise Retry.after(1)
            await anyio.sleep(0.02)
            return prompt.text[::-1]
        finally:
            self.calls -= 1


model = Model()
redis = server("REDIS_URL")
topology = Topology("model")


@topology.publisher(redis.stream("answers"))
@topology.subscriber(redis.stream("prompts"), max_workers=5, mailbox=5, timeout=30, retry=Retry(attempts=3))
async def call_model(prompt: Prompt) -> Answer:
    return Answer(id=prompt.id, text=await model.answer(prompt))


async def main() -> None:
    async with redis:
        for number in range(50):
            await redis.stream("prompts").publish(Prompt(id=number, text=f"prompt {number}"))
    await Engine(topology.graph()).run(burst=True)
    print(len(await arrived(redis.stream("answers"))), "answers, at most", model.most, "calls at once")


if __name__ == "__main__":
    anyio.run(main)
