/** One stage in detail, beside the picture, with what it can be told. */

import { ask, stagePath, token } from "./api.js";
import { attempt } from "./dialogs.js";
import { curve, el, mark, svg, write } from "./dom.js";
import { age, count, exactly, moment, rate, span } from "./format.js";
import { Letters, table } from "./letters.js";
import { dotted, filled } from "./picture.js";
import { Samples } from "./samples.js";

const EVERY = 3000; // milliseconds between two looks at what the events do not tell
const [WIDE, HIGH] = [360, 64];
const LEAST = 60; // seconds that the curve shows at least; it grows to five minutes

const FIGURES = [
  ["received", "received"],
  ["handled", "handled"],
  ["published", "published"],
  ["settled", "settled"],
  ["retried", "retries"],
  ["waiting_for_retry", "wait for a retry"],
  ["failed", "failures"],
  ["dead", "dead letters"],
  ["dropped", "dropped"],
  ["redelivered", "redelivered"],
  ["duplicates", "duplicates"],
  ["restarts", "restarts"],
];

export class Panel {
  constructor(place, model, closed) {
    Object.assign(this, { place, model, closed, key: null });
    place.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    addEventListener("token", () => this.load());
    document.addEventListener("visibilitychange", () => this.load());
  }

  /** Shows a stage. `back` gets the focus when it is closed. */
  open(key, back) {
    this.leave();
    Object.assign(this, { key, back, known: {}, letters: null });
    const { topology, stage } = this.model.stages.get(key).status;
    this.path = stagePath(topology, stage);
    this.samples = new Samples(topology, stage);
    this.build(topology, stage);
    this.place.hidden = false;
    this.place.scrollTop = 0;
    this.update();
    this.load();
    this.part.close.focus({ preventScroll: true });
  }

  close() {
    if (this.key === null) return;
    const key = this.key;
    this.leave();
    this.place.hidden = true;
    this.place.replaceChildren();
    this.closed(key, this.back);
  }

  leave() {
    clearTimeout(this.timer);
    this.loading?.abort();
    this.samples?.end();
    this.key = this.samples = null;
  }

  build(topology, name) {
    const { status } = this.model.stages.get(this.key);
    mark(this.place, "class", `panel ${status.kind}`);
    const part = (this.part = {
      close: el("button.close", { type: "button", "aria-label": "Close", onclick: () => this.close() }, "✕"),
      badge: el("span.badge"),
      told: el("p.sentence"),
      about: el("p.about"),
      place: el("code"),
      rate: el("b"),
      most: el("span.dim"),
      line: svg("path.line"),
      area: svg("path.area"),
      since: el("span"),
      dots: el("span.dots"),
      of: el("span.of"),
      fill: el("i"),
      depth: el("span.of"),
      latency: el("p.dim"),
      figures: el("dl.figures"),
      actions: el("div.actions"),
      links: el("ul.links"),
      pool: el("div"),
      errors: el("ul.errors"),
      settings: el("div"),
      graves: el("div"),
    });
    const picture = svg("svg.spark", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": "Rate over the last minutes" }, part.area, part.line);
    this.place.replaceChildren(
      el("header", {}, el("div", {}, el("span.kind", {}, `${topology} · ${status.kind}`), part.badge, el("h2", { id: "panel-name" }, name)), part.close),
      part.told,
      part.about,
      el("p.code", {}, part.place),
      el("section", { "aria-label": "Rate" }, el("p.speed", {}, part.rate, el("span", {}, " /s"), part.most), picture, el("p.scale", {}, part.since, el("span", {}, "now"))),
      el("section.load", { "aria-label": "Load" }, el("p.row", {}, el("span", {}, "workers"), part.dots, part.of), el("p.row", {}, el("span", {}, "mailbox"), el("span.fill", {}, part.fill), part.depth), part.latency),
      part.actions,
      section("Counts", part.figures),
      (this.errorsSection = section("Recent errors", part.errors)),
      (this.gravesSection = section("Dead letters", part.graves)),
      section("Messages", this.samples.node),
      section("Connections", part.links),
      section("Supervisor and workers", part.pool),
      section("Settings", part.settings),
    );
    this.actions(status);
  }

  /** What it can be told. Pausing is for those that fetch; for others it is said whom to pause. */
  actions(status) {
    const send = (what, body, done) => async () => {
      await attempt(() => ask(`${this.path}/${what}`, { body: body?.(), method: "POST", guarded: true }), done);
      await this.load();
    };
    const field = el("input", { type: "number", min: 1, max: 1024, value: status.workers, "aria-label": "Workers", inputmode: "numeric" });
    const step = (by) => () => (field.value = Math.max(1, Math.min(1024, Number(field.value) + by)));
    const scale = send("scale", () => ({ workers: Number(field.value) }), (done) => `${done.stage} has ${done.workers} workers`);
    this.part.pause = el("button", { type: "button", onclick: send("pause", null, (done) => `${done.stage} is paused`) }, "Pause");
    this.part.resume = el("button.main", { type: "button", onclick: send("resume", null, (done) => `${done.stage} goes on`) }, "Resume");
    this.part.auto = el("button", { type: "button", hidden: true, onclick: send("scale", () => ({ workers: "auto" }), "it finds its own size again") }, "Auto");
    this.part.field = field;
    const form = el(
      "form.scale",
      { onsubmit: (event) => (event.preventDefault(), scale()) },
      el("button", { type: "button", "aria-label": "One worker less", onclick: step(-1) }, "−"),
      field,
      el("button", { type: "button", "aria-label": "One worker more", onclick: step(1) }, "+"),
      el("button", { type: "submit" }, "Scale"),
    );
    this.part.actions.replaceChildren(this.part.pause, this.part.resume, form, this.part.auto);
  }

  /** The newest figures, from the events. */
  update() {
    const stage = this.key === null ? null : this.model.stages.get(this.key);
    if (this.key !== null && !stage) return this.close();
    if (!stage) return;
    const { part } = this;
    const { status, states } = stage;
    mark(this.place, "data-state", states[0] ?? null);
    write(part.badge, states.join(", "));
    const news = states.length > 0 || status.health?.waiting_for;
    write(part.told, news ? sentenceOf(stage) : "");
    write(part.rate, rate(stage.rate));
    const points = stage.history.last();
    const shown = Math.max(LEAST, points.length);
    const { line, area } = curve(points, WIDE, HIGH, shown);
    write(part.since, `${age(shown)} ago`);
    mark(part.line, "d", line);
    mark(part.area, "d", area);
    write(part.most, `  at most ${rate(Math.max(0, ...points))}`);
    dotted(part.dots, status.busy, status.workers);
    write(part.of, `${status.busy} of ${status.workers} busy`);
    filled(part.fill, stage);
    write(part.depth, `${exactly(status.depth)} of ${exactly(status.capacity)}`);
    write(part.latency, latencyOf(status));
    const figures = FIGURES.filter(([name]) => status[name] > 0 || name === "handled");
    this.once("figures", figures.map(([name]) => status[name]), part.figures, () =>
      figures.map(([name, word]) => el(`div.${name}`, {}, el("dt", {}, word), el("dd", {}, exactly(status[name])))),
    );
    const fetches = this.fetches ?? status.received > 0;
    part.pause.hidden = status.paused || !fetches;
    part.resume.hidden = !status.paused;
  }

  /** The rest, from the stage itself; again and again while it is open. */
  async load() {
    clearTimeout(this.timer);
    if (this.key === null || document.hidden) return;
    this.loading?.abort();
    const { signal } = (this.loading = new AbortController());
    try {
      this.detail(await ask(this.path, { signal }));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status !== 0) write(this.part.about, error.message);
    }
    if (!signal.aborted) this.timer = setTimeout(() => this.load(), EVERY);
  }

  detail(found) {
    const { part } = this;
    this.fetches = found.sources.length > 0;
    write(part.about, found.description);
    write(part.place, found.place);
    part.auto.hidden = typeof found.settings.max_workers === "number";
    if (document.activeElement !== part.field && part.field.dataset.had !== String(found.status.workers)) {
      part.field.value = part.field.dataset.had = found.status.workers;
    }
    this.once("settings", [found.settings, found.sources, found.upstream, found.downstream], part.settings, () => [settings(found)]);
    this.once("links", found.links, part.links, () => found.links.map(linkItem));
    this.once("pool", found.supervisor, part.pool, () => supervisor(found.supervisor));
    this.once("errors", [found.errors, Boolean(token.get())], part.errors, () => this.errors(found.errors));
    this.errorsSection.hidden = found.errors.length === 0;
    this.gravesSection.hidden = !this.fetches;
    if (!this.letters && this.fetches) {
      const { topology } = found.status;
      this.letters = found.sources.map((source) => new Letters(topology, source));
      part.graves.replaceChildren(...this.letters.map((each) => each.node));
    }
    this.update();
  }

  errors(errors) {
    const open = new Set([...this.part.errors.querySelectorAll("details[open]")].map((each) => each.dataset.key));
    return errors.map((error) => {
      const key = `${error.type} ${error.place}`;
      const when = el("time", {}, `${count(error.count)} ×, last ${moment(error.last)}`);
      const summary = el("summary", {}, el("b", {}, error.type), when, el("code", {}, error.place));
      const unlock = el("p.dim", {}, "Its words may quote messages: they are shown with the token.");
      const inside = error.text === null ? [unlock] : [el("p.text", {}, error.text), el("pre", { tabindex: "0" }, error.traceback)];
      return el("li", {}, el("details", { "data-key": key, open: open.has(key) || errors.length === 1 }, summary, inside));
    });
  }

  /** Makes a part anew where what it shows has changed: what somebody reads or has opened stays as it is. */
  once(name, value, place, make) {
    const now = JSON.stringify(value);
    if (this.known[name] === now) return;
    this.known[name] = now;
    place.replaceChildren(...make());
  }
}

function section(title, ...inside) {
  return el("section", {}, el("h3", {}, title), inside);
}

function sentenceOf({ status, bottleneck }) {
  const told = status.health?.told ?? "";
  if (!bottleneck || status.health?.waiting_for) return told;
  return "Its mailbox is full and there is room behind it: what comes before it waits for this stage. More workers, or a faster handler, would help.";
}

function latencyOf({ latency_p50: half, latency_p99: most, oldest }) {
  const parts = [];
  if (most !== null) parts.push(`from fetched to settled: p50 ${span(half)}, p99 ${span(most)}`);
  if (oldest !== null) parts.push(`the oldest open is ${oldest < 60 ? span(oldest) : age(oldest)} old`);
  return parts.join(" · ");
}

function settings(found) {
  const plain = (value) => {
    if (value === null || typeof value !== "object") return value === null ? null : String(value);
    if (Array.isArray(value)) return value.map(plain).join(" to ");
    return Object.entries(value).filter(([, each]) => each !== null).map(([name, each]) => `${name} ${plain(each)}`).join(", ");
  };
  const facts = Object.fromEntries(Object.entries(found.settings).map(([name, value]) => [name.replaceAll("_", " "), plain(value)]));
  return table({
    "takes from": [...found.sources, ...found.upstream].join(", "),
    "goes to": found.destination ?? found.downstream.join(", "),
    ...facts,
  });
}

function linkItem(link) {
  const away = link.failures ? ` after ${exactly(link.failures)} tries` : "";
  const state = link.connected ? "connected" : `not connected${away}`;
  return el("li", { "data-state": link.connected ? "ready" : "disconnected" }, el("i"), el("b", {}, link.what), el("span", {}, state), link.error && el("p.bad", {}, link.error));
}

function supervisor({ strategy, intensity, period, restarts, workers }) {
  const words = `${strategy.replaceAll("_", " ")}: gives up after more than ${intensity} restarts within ${period} s. ${exactly(restarts)} so far.`;
  const shown = workers.slice(0, 64).map((each) =>
    el("li", { "data-state": each.state }, el("i"), el("b", {}, each.name), el("span", {}, each.state), each.restarts > 0 && el("em", {}, `⟲ ${exactly(each.restarts)}`)),
  );
  const more = workers.length - shown.length;
  return [el("p.dim", {}, words), el("ul.workers", {}, shown), more > 0 ? el("p.dim", {}, `and ${more} more`) : ""];
}
