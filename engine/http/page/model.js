/** What is known of the engine: the newest status, rates made of the last ones, and a history of bounded length. */

export const KEPT = 300; // points of history: one a second, five minutes
const OVER = 3; // seconds that a rate is the mean of
const FULL = 0.8;

export const keyOf = (topology, stage) => `${topology}\u0000${stage}`;

/** The last `KEPT` numbers. */
export class History {
  constructor() {
    this.numbers = new Float32Array(KEPT);
    this.next = 0;
    this.length = 0;
  }

  add(number) {
    this.numbers[this.next] = number;
    this.next = (this.next + 1) % KEPT;
    this.length = Math.min(this.length + 1, KEPT);
  }

  /** The newest ones, oldest first. */
  last(most = KEPT) {
    const size = Math.min(most, this.length);
    return Array.from({ length: size }, (_, at) => this.numbers[(this.next - size + at + KEPT) % KEPT]);
  }
}

/** One stage: its status as the engine told it, and what the page makes of several of them. */
class Stage {
  constructor(status) {
    this.key = keyOf(status.topology, status.stage);
    this.history = new History();
    this.seen = [];
    this.fill = 0;
    this.bottleneck = false;
    this.update(status);
  }

  update(status) {
    this.status = status;
    this.done = status.kind === "publisher" ? status.published : status.handled;
  }

  /** Takes the counts of a moment into account. */
  note(at) {
    this.seen.push([at, this.done, this.status.received]);
    while (this.seen.length > 2 && at - this.seen[0][0] > OVER) this.seen.shift();
    const [since, done, received] = this.seen[0];
    const past = at - since;
    this.rate = past > 0 ? Math.max(0, this.done - done) / past : 0;
    this.incoming = past > 0 ? Math.max(0, this.status.received - received) / past : 0;
    const fill = this.status.capacity ? Math.min(1, this.status.depth / this.status.capacity) : 0;
    this.fill = this.history.length ? this.fill * 0.6 + fill * 0.4 : fill;
    this.history.add(this.rate);
  }

  /** What is not as usual, the worst first. */
  get states() {
    const { connected, paused, health } = this.status;
    const found = [];
    if (!connected) found.push("disconnected");
    if (health?.stalled) found.push("stalled");
    if (paused) found.push("paused");
    if (this.bottleneck) found.push("bottleneck");
    return found;
  }
}

export class Model {
  constructor() {
    this.stages = new Map();
    this.graphs = null;
    this.engine = null;
    this.at = 0;
    this.heard = 0;
    this.restarts = 0;
    this.rates = new History();
  }

  /** Takes a status in, told at `at` (seconds since the epoch). True if it is of another engine than the last. */
  apply(status, at) {
    const another = this.engine !== null && this.engine.since !== status.engine.since;
    if (another || this.stages.size === 0) this.forget();
    this.engine = status.engine;
    this.topologies = status.topologies;
    const there = new Set();
    for (const each of status.stages) {
      const key = keyOf(each.topology, each.stage);
      there.add(key);
      const known = this.stages.get(key);
      if (known) known.update(each);
      else this.stages.set(key, new Stage(each));
    }
    if (there.size < this.stages.size) for (const key of this.stages.keys()) if (!there.has(key)) this.stages.delete(key);
    this.heard = performance.now();
    this.told = at;
    this.note(at);
    return another;
  }

  /** Nothing was told because nothing has changed: time goes on all the same, and rates fall. */
  idle() {
    if (this.engine) this.note(this.now);
  }

  /** The engine's time now, as far as it can be known from here. */
  get now() {
    return this.told + (performance.now() - this.heard) / 1000;
  }

  note(at) {
    if (at <= this.at) return;
    this.at = at;
    const total = { rate: 0, flight: 0, settled: 0, dead: 0 };
    for (const stage of this.stages.values()) {
      stage.note(at);
      const { received, settled, returned, dead } = stage.status;
      total.rate += stage.incoming;
      total.flight += Math.max(0, received - settled - returned);
      total.settled += settled;
      total.dead += dead;
    }
    this.total = total;
    this.rates.add(total.rate);
    this.judge();
  }

  /** The bottleneck: a full mailbox of a stage that has room behind it. */
  judge() {
    for (const stage of this.stages.values()) {
      const behind = this.behind?.get(stage.key) ?? [];
      stage.bottleneck = stage.fill >= FULL && !behind.some((key) => (this.stages.get(key)?.fill ?? 0) >= FULL);
    }
  }

  /** Takes in how the stages hang together. */
  draw(graphs) {
    this.graphs = graphs;
    this.behind = new Map();
    this.before = new Map();
    this.near = new Map();
    for (const graph of graphs) {
      const names = new Map(graph.stages.map((stage) => [stage.id, keyOf(graph.name, stage.name)]));
      const ends = new Map(graph.endpoints.map((each) => [each.id, each]));
      for (const edge of graph.edges) {
        const [start, end] = [names.get(edge.start), names.get(edge.end)];
        if (start && end) {
          add(this.behind, start, end);
          add(this.before, end, start);
        } else add(this.near, start ?? end, ends.get(start ? edge.end : edge.start));
      }
    }
  }

  /** How many messages a second go along an edge of the drawing: what its end takes, shared among those before it. */
  flow(start, end) {
    const [from, to] = [this.stages.get(start), this.stages.get(end)];
    if (!to) return from ? from.rate : 0;
    if (!from) return to.incoming / this.near.get(end).filter((each) => each.side === "source").length;
    const before = this.before.get(end) ?? [start];
    if (before.length === 1) return to.status.received ? Math.max(0, to.rate - to.incoming) : to.rate;
    const all = before.reduce((sum, key) => sum + (this.stages.get(key)?.rate ?? 0), 0);
    return all > 0 ? (to.rate * from.rate) / all : 0;
  }

  forget() {
    this.stages.clear();
    this.rates = new History();
    this.at = 0;
    this.total = { rate: 0, flight: 0, settled: 0, dead: 0 };
  }
}

function add(map, key, value) {
  if (map.has(key)) map.get(key).push(value);
  else map.set(key, [value]);
}
