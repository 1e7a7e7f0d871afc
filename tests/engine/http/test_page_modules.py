"""The pure parts of the live page, by themselves: rates, flows, the bottleneck, events in pieces, figures in words."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser

from headrace import Engine
from tests.engine.http.browsing import Look, Shop, looking, served

pytestmark = pytest.mark.anyio
MODEL = """
  const { Model, keyOf } = await import('/page/model.js');
  const base = await (await fetch('/api/v1/status')).json();
  const model = new Model();
  model.draw((await (await fetch('/api/v1/graph')).json()).topologies);
  const key = (name) => keyOf('shop', name);
  const told = (at, by, since = 1) => {
    const status = structuredClone(base);
    status.engine.since = since;
    for (const stage of status.stages) Object.assign(stage, by[stage.stage]);
    return model.apply(status, at);
  };
"""


@pytest.fixture(scope="module")
async def look(browser: Browser) -> AsyncIterator[Look]:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        yield look


async def run(look: Look, script: str) -> Any:
    return await look.page.evaluate(f"async () => {{ {script} }}")


async def test_a_rate_is_the_mean_of_three_seconds_and_falls_when_nothing_comes(look: Look) -> None:
    script = """
      for (let at = 0; at <= 6; at++) told(100 + at, { check: { received: at * 50, handled: at * 40 } });
      const stage = model.stages.get(key('check'));
      const busy = [stage.rate, stage.incoming, model.total.rate];
      for (let at = 107; at < 111; at++) model.note(at);
      return [...busy, stage.rate, stage.history.last(4).map(Math.round)];
    """
    assert await run(look, MODEL + script) == [40, 50, 50, 0, [27, 13, 0, 0]]


async def test_what_flows_to_a_stage_is_shared_among_those_before_it(look: Look) -> None:
    script = """
      for (const at of [0, 2]) {
        const large = { published: at * 10 }, small = { published: at * 30 };
        told(10 + at, { check: { received: at * 45 }, by_total: { handled: at * 40 }, large, small });
      }
      const ends = model.flow(undefined, key('check'));
      return [ends, model.flow(key('by_total'), key('large')), model.flow(key('by_total'), key('small'))];
    """
    assert await run(look, MODEL + script) == [45, 10, 30]


async def test_the_bottleneck_is_the_last_full_mailbox(look: Look) -> None:
    script = """
      const all = () => [...model.stages.values()];
      const names = () => all().filter((stage) => stage.bottleneck).map((stage) => stage.status.stage);
      told(1, { check: { depth: 256 }, score: { depth: 16 } });
      const first = names();
      for (let at = 2; at < 9; at++) told(at, { check: { depth: 256 }, score: { depth: 0 } });
      return [first, names()];
    """
    assert await run(look, MODEL + script) == [["score"], ["check"]]


async def test_another_engine_begins_anew_and_history_is_bounded(look: Look) -> None:
    script = """
      for (let at = 0; at < 1000; at++) told(at, { check: { handled: at } });
      const kept = model.stages.get(key('check')).history.last(5000).length;
      const again = told(1001, { check: { handled: 3 } }, 2);
      return [kept, again, model.stages.get(key('check')).rate, model.stages.get(key('check')).history.length];
    """
    assert await run(look, MODEL + script) == [300, True, 0, 1]


async def test_events_are_read_however_they_are_cut(look: Look) -> None:
    script = r"""
      const { parser } = await import('/page/stream.js');
      const text = 'retry: 2000\n\nid: 1.5\nevent: status\ndata: {"a":1}\n\n: still here\n\nevent: end\ndata: {}\n\n';
      const all = new Set();
      for (let size = 1; size <= text.length; size++) {
        const events = [];
        const parse = parser((...event) => events.push(event));
        for (let at = 0; at < text.length; at += size) parse(text.slice(at, at + size));
        all.add(JSON.stringify(events));
      }
      return [...all];
    """
    assert await run(look, script) == ['[["status","{\\"a\\":1}","1.5"],["end","{}",""]]']


async def test_figures_are_short_and_true(look: Look) -> None:
    script = """
      const { age, bytes, count, exact, rate, span } = await import('/page/format.js');
      return [
        rate(0), rate(0.25), rate(7.25), rate(12345), count(9999), span(0.0042), span(0.0999), span(1.25), span(null),
        age(59), age(60), age(3700), age(180000), bytes(999), bytes(1500), exact('a*[b]?'),
      ];
    """
    assert await run(look, script) == [
        *("0", "0.25", "7.3", "12.3K", "9,999", "4.2 ms", "100 ms", "1.3 s", "–"),
        *("59 s", "1 min", "1 h 1 min", "2 d 2 h", "999 B", "1.5 kB", "a[*][[]b][?]"),
    ]
