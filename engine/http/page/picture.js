/** The topology as a picture: boxes and lines where the engine has placed them. Only what is in view is there. */

import { el, mark, svg, write } from "./dom.js";
import { count, rate, span } from "./format.js";
import { keyOf } from "./model.js";

const [MARGIN, TITLE, AHEAD] = [28, 40, 300];
const DOTS = 24; // workers that have a dot of their own; of larger pools a dot is a share
const LIVELY = 160; // lines that may move at once
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Picture {
  constructor(place, model, openStage) {
    this.place = place;
    this.model = model;
    this.openStage = openStage;
    this.zoom = 1;
    this.items = [];
    this.shown = new Map();
    this.matches = null;
    this.lines = svg("svg.lines", { "aria-hidden": "true" });
    this.canvas = el("div.canvas", {}, this.lines);
    this.room = el("div.room", {}, this.canvas);
    place.append(this.room);
    place.addEventListener("scroll", () => this.update(), { passive: true });
    place.addEventListener("keydown", (event) => this.onKey(event));
    calm.addEventListener("change", () => this.redraw());
    new ResizeObserver(() => (this.fitted ? this.fit() : this.update())).observe(place);
  }

  /** Places everything anew, as the graphs say. */
  draw(graphs) {
    this.clear();
    this.items = [];
    this.boxes = new Map();
    let [top, wide] = [MARGIN, 0];
    for (const graph of graphs) {
      const [x, y] = [MARGIN, top + (graphs.length > 1 ? TITLE : 0)];
      if (graphs.length > 1) this.items.push(new Title(graph.name, x, top));
      this.take(graph, x, y);
      wide = Math.max(wide, graph.width);
      top = y + graph.height + 2 * MARGIN;
    }
    [this.width, this.height] = [wide + 2 * MARGIN, top];
    mark(this.lines, "width", this.width);
    mark(this.lines, "height", this.height);
    this.lively = this.items.filter((item) => item instanceof Line).length <= LIVELY;
    this.current = this.boxes.keys().next().value ?? null;
    this.fit();
  }

  take(graph, x, y) {
    const known = new Map();
    for (const each of graph.endpoints) known.set(each.id, new End(each, x, y, graph));
    for (const each of graph.stages) {
      const box = new Box(keyOf(graph.name, each.name), each, x, y, this);
      known.set(each.id, box);
      this.boxes.set(box.key, box);
    }
    for (const edge of graph.edges) {
      const [from, to] = [known.get(edge.start), known.get(edge.end)];
      this.items.push(new Line(edge, from.key, to.key, x, y));
      if (from instanceof End) from.keys.push(to.key);
      if (to instanceof End) to.keys.push(from.key);
    }
    this.items.push(...known.values());
  }

  /** As large as it can be seen whole in its width, but not so small that nothing can be read. */
  fit() {
    const width = this.place.clientWidth || innerWidth;
    this.scale(Math.max(width < 640 ? 0.85 : 0.7, Math.min(1, width / (this.width || 1))), true);
  }

  /** `fitted`: it goes on fitting when the room changes, as when a stage is opened beside it. */
  scale(zoom, fitted = false) {
    this.fitted = fitted;
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.place;
    const [x, y] = [(scrollLeft + clientWidth / 2) / this.zoom, (scrollTop + clientHeight / 2) / this.zoom];
    const before = this.zoom;
    this.zoom = Math.max(0.3, Math.min(1.6, zoom));
    this.canvas.style.transform = `scale(${this.zoom})`;
    this.room.style.width = `${this.width * this.zoom}px`;
    this.room.style.height = `${this.height * this.zoom}px`;
    if (before !== this.zoom) this.place.scrollTo(x * this.zoom - clientWidth / 2, y * this.zoom - clientHeight / 2);
    this.update();
  }

  redraw() {
    this.clear();
    this.update();
  }

  clear() {
    for (const node of this.shown.values()) node.gone();
    this.shown.clear();
  }

  /** Makes what has come into view, lets go of what has left it, and writes the newest figures into the rest. */
  update() {
    if (this.place.hidden || !this.model.engine) return;
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.place;
    const left = scrollLeft / this.zoom - AHEAD;
    const top = scrollTop / this.zoom - AHEAD;
    const right = (scrollLeft + clientWidth) / this.zoom + AHEAD;
    const bottom = (scrollTop + clientHeight) / this.zoom + AHEAD;
    for (const item of this.items) {
      const inView = item.x < right && item.x + item.width > left && item.y < bottom && item.y + item.height > top;
      const there = this.shown.get(item);
      if (inView || (there && item.node?.contains(document.activeElement))) {
        if (!there) {
          item.make(this);
          this.shown.set(item, item);
          this.canvas.append(...(item.node && !(item instanceof Line) ? [item.node] : []));
        }
        item.update(this.model, this);
      } else if (there) {
        item.gone();
        this.shown.delete(item);
      }
    }
  }

  /** Dims what does not match; `keys` null: nothing. */
  find(keys) {
    this.matches = keys;
    this.update();
    if (keys?.size && ![...this.shown.keys()].some((item) => keys.has(item.key))) this.show([...keys][0]);
  }

  /** Brings a stage into view; with `focus`, puts the focus on it. */
  show(key, focus = false) {
    const box = this.boxes?.get(key);
    if (!box) return;
    const { clientWidth, clientHeight, scrollLeft, scrollTop } = this.place;
    const [x, y] = [box.x * this.zoom, box.y * this.zoom];
    const [w, h] = [box.width * this.zoom, box.height * this.zoom];
    const goX = x < scrollLeft || x + w > scrollLeft + clientWidth;
    const goY = y < scrollTop || y + h > scrollTop + clientHeight;
    this.place.scrollTo({
      left: goX ? x - (clientWidth - w) / 2 : scrollLeft,
      top: goY ? y - (clientHeight - h) / 2 : scrollTop,
    });
    this.current = key;
    this.update();
    if (focus) box.node?.focus({ preventScroll: true });
  }

  onKey(event) {
    const box = this.boxes.get(this.current);
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
    const { behind, before } = this.model;
    const same = [...this.boxes.values()].filter((each) => each.x === box.x).sort((a, b) => a.y - b.y);
    const at = same.indexOf(box);
    const all = [...this.boxes.keys()];
    const nearest = (keys) => keys?.map((key) => this.boxes.get(key)).sort((a, b) => Math.abs(a.y - box.y) - Math.abs(b.y - box.y))[0]?.key;
    const next = {
      ArrowRight: () => nearest(behind.get(box.key)),
      ArrowLeft: () => nearest(before.get(box.key)),
      ArrowDown: () => same[at + 1]?.key,
      ArrowUp: () => same[at - 1]?.key,
      Home: () => all[0],
      End: () => all.at(-1),
    }[event.key];
    if (!next) return;
    event.preventDefault();
    const key = next();
    if (key) this.show(key, true);
  }
}

class Title {
  constructor(name, x, y) {
    Object.assign(this, { name, x, y, width: 800, height: TITLE });
  }

  make() {
    this.node = placed(el("h2.topology", {}, this.name), this);
  }

  update() {}

  gone() {
    this.node.remove();
    this.node = null;
  }
}

/** A stage. */
class Box {
  constructor(key, stage, x, y, picture) {
    Object.assign(this, { key, stage, x: x + stage.x, y: y + stage.y, width: stage.width, height: stage.height });
    this.picture = picture;
  }

  make() {
    const { stage } = this;
    this.part = {
      badge: el("span.badge"),
      rate: el("b"),
      latency: el("span.latency"),
      dots: el("span.dots"),
      workers: el("span.of"),
      fill: el("i"),
      depth: el("span.of"),
      marks: el("span.marks"),
    };
    const { badge, rate: speed, latency, dots, workers, fill, depth, marks } = this.part;
    this.node = placed(
      el(
        `button.box.${stage.kind}`,
        {
          type: "button",
          onclick: () => this.picture.openStage(this.key, this.node),
          onfocus: () => this.picture.focused(this.key),
        },
        el("span.first", {}, el("span.kind", {}, stage.kind), badge),
        el("span.name", {}, stage.name),
        el("span.figures", {}, el("span.rate", {}, speed, " /s"), latency),
        el("span.row", {}, dots, workers),
        el("span.row", {}, el("span.fill", {}, fill), depth),
        marks,
      ),
      this,
    );
  }

  update(model, picture) {
    const stage = model.stages.get(this.key);
    mark(this.node, "tabindex", picture.current === this.key ? "0" : "-1");
    mark(this.node, "aria-expanded", String(picture.open === this.key));
    this.node.classList.toggle("dim", Boolean(picture.matches && !picture.matches.has(this.key)));
    if (!stage) return;
    const { status } = stage;
    const [state = "", ...others] = stage.states;
    mark(this.node, "data-state", state || null);
    const told = status.health?.told ?? "";
    mark(this.node, "title", [this.stage.name, told, this.stage.place].filter(Boolean).join("\n"));
    mark(this.node, "aria-label", spoken(stage));
    write(this.part.badge, [state, ...others.filter((each) => each !== "bottleneck")].filter(Boolean).join(", "));
    write(this.part.rate, rate(stage.rate));
    const latency = status.latency_p99 === null ? "" : `p50 ${span(status.latency_p50)}  p99 ${span(status.latency_p99)}`;
    write(this.part.latency, latency);
    dotted(this.part.dots, status.busy, status.workers);
    write(this.part.workers, `${status.busy}/${status.workers}`);
    filled(this.part.fill, stage);
    write(this.part.depth, `${count(status.depth)}/${count(status.capacity)}`);
    marked(this.part.marks, status);
  }

  gone() {
    this.node.remove();
    this.node = this.part = null;
  }
}

/** Where messages come from, or go to: an endpoint of a broker. */
class End {
  constructor(endpoint, x, y) {
    Object.assign(this, { endpoint, x: x + endpoint.x, y: y + endpoint.y, width: endpoint.width, height: endpoint.height });
    this.keys = [];
    this.key = null;
  }

  make() {
    const { endpoint } = this;
    this.state = el("span.badge");
    this.node = placed(
      el(
        `div.end.${endpoint.side}`,
        { "data-system": endpoint.system, title: `${endpoint.name}\n${endpoint.system}` },
        el("span.first", {}, el("span.kind", {}, endpoint.system), this.state),
        el("span.name", {}, endpoint.name),
      ),
      this,
    );
  }

  update(model) {
    const away = this.keys.some((key) => isAway(model.stages.get(key), this.endpoint, model.near?.get(key)));
    write(this.state, away ? "away" : "");
    mark(this.node, "data-state", away ? "disconnected" : null);
  }

  gone() {
    this.node.remove();
    this.node = null;
  }
}

/** A line, and what flows along it. */
class Line {
  constructor(edge, from, to, x, y) {
    const points = edge.points.map(([px, py]) => [px + x, py + y]);
    const [xs, ys] = [points.map(([px]) => px), points.map(([, py]) => py)];
    Object.assign(this, { x: Math.min(...xs), y: Math.min(...ys) - 8, from, to, dead: edge.kind === "dead" });
    this.width = Math.max(...xs) - this.x;
    this.height = Math.max(...ys) - this.y + 16;
    this.path = pathOf(points);
  }

  make(picture) {
    const kind = this.dead ? "g.line.dead" : "g.line";
    this.bed = svg("path.bed", { d: this.path });
    this.stream = svg("path.stream", { d: this.path });
    this.node = svg(kind, {}, this.bed, this.stream);
    picture.lines.append(this.node);
    this.moving =
      picture.lively && !calm.matches && !this.dead
        ? this.stream.animate([{ strokeDashoffset: 16 }, { strokeDashoffset: 0 }], { duration: 1000, iterations: Infinity })
        : null;
    this.moving?.pause();
    this.speed = 0;
  }

  update(model) {
    const flow = this.dead ? 0 : model.flow(this.from, this.to);
    const size = flow > 0 ? 1.4 + Math.min(5, 1.1 * Math.log10(1 + flow)) : 0;
    mark(this.stream, "stroke-width", size.toFixed(1));
    mark(this.bed, "stroke-width", (this.dead ? 1.5 : size ? size + 4 : 2).toFixed(1));
    mark(this.node, "data-flow", size > 0);
    const speed = flow > 0 ? Math.round(10 * (0.4 + Math.min(3.2, 0.75 * Math.log10(1 + flow)))) / 10 : 0;
    if (!this.moving || speed === this.speed) return;
    this.speed = speed;
    if (speed) {
      this.moving.updatePlaybackRate(speed);
      this.moving.play();
    } else this.moving.pause();
  }

  gone() {
    this.moving?.cancel();
    this.node.remove();
    this.node = this.bed = this.stream = this.moving = null;
  }
}

function placed(node, { x, y, width, height }) {
  Object.assign(node.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  return node;
}

function pathOf(points) {
  let [[x, y]] = points;
  let path = `M${x} ${y}`;
  points.slice(1).forEach(([nextX, nextY], at) => {
    const bend = (nextX - x) / 2;
    path += at % 2 ? `H${nextX}` : `C${x + bend} ${y} ${nextX - bend} ${nextY} ${nextX} ${nextY}`;
    [x, y] = [nextX, nextY];
  });
  return path;
}

/** Whether a stage's broker is away; of several sources, the one that its health names. */
function isAway(stage, endpoint, near) {
  if (!stage || stage.status.connected) return false;
  return near.length === 1 || (stage.status.health?.told ?? "").includes(endpoint.name);
}

/** A dot for each worker, or for a share of them, as many full as are busy. */
export function dotted(place, busy, workers) {
  const dots = Math.min(workers, DOTS);
  const full = workers > DOTS ? Math.ceil((busy / workers) * dots) : busy;
  while (place.childElementCount > dots) place.lastChild.remove();
  while (place.childElementCount < dots) place.append(el("i"));
  for (let at = 0; at < dots; at++) mark(place.children[at], "class", at < full ? "busy" : null);
}

/** How full a mailbox is, as a bar. */
export function filled(bar, stage) {
  bar.style.transform = `scaleX(${stage.fill.toFixed(3)})`;
  mark(bar, "class", stage.bottleneck ? "full" : stage.fill >= 0.8 ? "waits" : stage.fill >= 0.5 ? "high" : null);
}

const MARKS = [
  ["retried", "↻", "retry", "retries"],
  ["dead", "✕", "dead", "dead"],
  ["restarts", "⟲", "restart", "restarts"],
];
const marksOf = (status) =>
  MARKS.filter(([name]) => status[name] > 0).map(([name, sign, one, many]) => [name, sign, `${count(status[name])} ${status[name] === 1 ? one : many}`]);

function marked(place, status) {
  const there = marksOf(status);
  const shape = there.map(([name]) => name).join(" ");
  if (place.dataset.shape !== shape) {
    place.dataset.shape = shape;
    place.replaceChildren(...there.map(([name]) => el(`span.${name}`)));
  }
  there.forEach(([, sign, words], at) => write(place.children[at], `${sign} ${words}`));
}

/** A stage in a sentence, for those who hear it. */
function spoken({ status, states, rate: speed }) {
  const parts = [`${status.kind} ${status.stage}`, ...states, `${rate(speed)} messages a second`];
  parts.push(`${status.busy} of ${status.workers} workers busy`, `mailbox ${status.depth} of ${status.capacity}`);
  return [...parts, ...marksOf(status).map(([, , words]) => words)].join(", ");
}
