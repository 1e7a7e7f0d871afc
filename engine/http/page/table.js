/** All stages as a table: sorted as one likes, with rows only where one looks. */

import { el, mark, write } from "./dom.js";
import { count, rate, span } from "./format.js";
import { dotted, filled } from "./picture.js";

const AHEAD = 8; // rows above and below those in view

/** `words` are sorted from A to Z first, figures from the highest; `more`: left out where there is little room. */
const COLUMNS = [
  { name: "stage", title: "Stage", of: (stage) => stage.status.stage, words: true },
  { name: "state", title: "State", of: (stage) => stage.states.join(", ") || "~", words: true },
  { name: "workers", title: "Workers", of: (stage) => stage.status.busy, more: true },
  { name: "mailbox", title: "Mailbox", of: (stage) => stage.fill },
  { name: "rate", title: "Rate /s", of: (stage) => stage.rate },
  { name: "p50", title: "p50", of: (stage) => stage.status.latency_p50 ?? -1, more: true },
  { name: "p99", title: "p99", of: (stage) => stage.status.latency_p99 ?? -1, more: true },
  { name: "retried", title: "Retries", of: (stage) => stage.status.retried, more: true },
  { name: "dead", title: "Dead", of: (stage) => stage.status.dead },
  { name: "restarts", title: "Restarts", of: (stage) => stage.status.restarts, more: true },
];

export class Table {
  constructor(place, model, openStage) {
    Object.assign(this, { place, model, openStage, by: null, down: false, matches: null, rows: new Map() });
    this.heads = COLUMNS.map((column) => this.head(column));
    this.body = el("tbody");
    this.table = el("table", {}, el("caption.hidden", {}, "Stages"), el("thead", {}, el("tr", {}, this.heads)), this.body);
    this.room = el("div.rows", {}, this.table);
    place.append(this.room);
    place.addEventListener("scroll", () => this.update(), { passive: true });
    place.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.update()).observe(place);
  }

  head(column) {
    const press = () => {
      this.down = this.by === column ? !this.down : !column.words;
      this.by = column;
      this.place.scrollTop = 0;
      this.update();
    };
    const more = column.more ? ".more" : "";
    return el(`th.${column.name}${more}`, { scope: "col" }, el("button", { type: "button", onclick: press }, column.title));
  }

  /** Shows those stages only; `keys` null: all. */
  find(keys) {
    this.matches = keys;
    this.place.scrollTop = 0;
    this.update();
  }

  show(key, focus = false) {
    this.update();
    const at = this.order.findIndex((stage) => stage.key === key);
    if (at < 0) return;
    const [top, height] = [at * this.high, this.place.clientHeight - this.high];
    if (top < this.place.scrollTop || top > this.place.scrollTop + height - this.high) this.place.scrollTop = top - height / 2;
    this.update();
    if (focus) this.rows.get(key)?.name.focus({ preventScroll: true });
  }

  get high() {
    return this.tall ?? 44;
  }

  update() {
    if (this.place.hidden || !this.model.engine) return;
    this.order = this.ordered();
    COLUMNS.forEach((column, at) => {
      mark(this.heads[at], "aria-sort", this.by === column ? (this.down ? "descending" : "ascending") : null);
    });
    const first = Math.max(0, Math.floor(this.place.scrollTop / this.high) - AHEAD);
    const last = Math.ceil((this.place.scrollTop + this.place.clientHeight) / this.high) + AHEAD;
    const inView = this.order.slice(first, last);
    mark(this.table, "aria-rowcount", this.order.length + 1);
    this.room.style.height = `${(this.order.length + 1) * this.high}px`;
    this.body.style.setProperty("--above", `${first * this.high}px`);
    this.fill(inView, first);
  }

  ordered() {
    const all = [...this.model.stages.values()];
    const some = this.matches ? all.filter((stage) => this.matches.has(stage.key)) : all;
    if (!this.by) return some;
    const sign = this.down ? -1 : 1;
    const value = new Map(some.map((stage) => [stage, this.by.of(stage)]));
    const less = (a, b) => (value.get(a) < value.get(b) ? -1 : value.get(a) > value.get(b) ? 1 : 0);
    return some.sort((a, b) => sign * less(a, b));
  }

  fill(stages, first) {
    const wanted = new Set(stages.map((stage) => stage.key));
    for (const [key, row] of this.rows) {
      if (wanted.has(key)) continue;
      if (row.node.contains(document.activeElement)) this.place.focus();
      row.node.remove();
      this.rows.delete(key);
    }
    let before = null;
    stages.forEach((stage, at) => {
      let row = this.rows.get(stage.key);
      if (!row) this.rows.set(stage.key, (row = new Row(stage, this)));
      const next = before ? before.nextSibling : this.body.firstChild;
      if (next !== row.node) this.body.insertBefore(row.node, next);
      before = row.node;
      mark(row.node, "aria-rowindex", first + at + 2);
      row.update(stage, this.open === stage.key);
    });
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    const key = document.activeElement?.closest("tr")?.dataset.key;
    if (!step || !key) return;
    event.preventDefault();
    const at = this.order.findIndex((stage) => stage.key === key);
    const to = Math.max(0, Math.min(this.order.length - 1, at + step));
    this.show(this.order[to].key, true);
  }
}

class Row {
  constructor(stage, table) {
    const { topology, stage: name, kind } = stage.status;
    const open = () => table.openStage(stage.key, this.name);
    const both = table.model.topologies.length > 1 ? `${topology} · ${kind}` : kind;
    this.name = el("button.name", { type: "button", onclick: open }, name);
    this.cells = {};
    this.bar = el("i");
    this.depth = el("span.of");
    this.dots = el("span.dots");
    this.of = el("span.of");
    const inside = {
      stage: [this.name, el("small", {}, both)],
      mailbox: [el("span.fill", {}, this.bar), this.depth],
      workers: [this.dots, this.of],
    };
    const cell = ({ name, more }) =>
      (this.cells[name] = el(`td.${name}${more ? ".more" : ""}`, {}, inside[name] ?? []));
    this.node = el(`tr.${kind}`, { "data-key": stage.key, onclick: (event) => event.target === this.name || open() }, COLUMNS.map(cell));
  }

  update(stage, open) {
    const { status, states } = stage;
    mark(this.node, "data-state", states[0] ?? null);
    mark(this.name, "aria-expanded", String(open));
    mark(this.cells.state, "title", status.health?.told ?? null);
    write(this.cells.state, states.join(", ") || "–");
    dotted(this.dots, status.busy, status.workers);
    write(this.of, `${status.busy}/${status.workers}`);
    filled(this.bar, stage);
    write(this.depth, `${count(status.depth)}/${count(status.capacity)}`);
    write(this.cells.rate, rate(stage.rate));
    write(this.cells.p50, span(status.latency_p50));
    write(this.cells.p99, span(status.latency_p99));
    for (const name of ["retried", "dead", "restarts"]) {
      write(this.cells[name], count(status[name]));
      mark(this.cells[name], "data-some", status[name] > 0 ? name : null);
    }
  }
}
