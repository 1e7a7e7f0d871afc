/** The live page: listens to the engine, and shows what it says as a picture, as a table, and one stage in detail. */

import { ask } from "./api.js";
import { tell, tokenButton } from "./dialogs.js";
import { byId, curve, el, mark, write } from "./dom.js";
import { age, clock, count, exactly, rate } from "./format.js";
import { Model } from "./model.js";
import { Panel } from "./panel.js";
import { Picture } from "./picture.js";
import { follow } from "./stream.js";
import { Table } from "./table.js";

const model = new Model();
const picture = new Picture(byId("picture"), model, openStage);
const table = new Table(byId("table"), model, openStage);
const panel = new Panel(byId("panel"), model, closed);
const narrow = matchMedia("(max-width: 40rem)");
const MANY = 400; // stages from which on the table is what one sees first

let gone = null; // when the connection broke; null while it is there
let view = null;
let drawing = false;

function openStage(key, back) {
  picture.open = table.open = key;
  picture.current = key;
  panel.open(key, back);
  requestAnimationFrame(() => requestAnimationFrame(() => picture.show(key))); // once it has its new width
  render();
}

function closed(key, back) {
  picture.open = table.open = null;
  render();
  if (back?.isConnected) back.focus();
  else shownView().show(key, true);
}

picture.focused = (key) => {
  picture.current = key;
};

const shownView = () => (view === "table" ? table : picture);

/** Draws in the next frame, once, and only if somebody looks. */
function render() {
  if (drawing || document.hidden) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const began = performance.now();
    header();
    attention();
    shownView().update();
    panel.update();
    document.documentElement.dataset.update = (performance.now() - began).toFixed(1);
  });
}

function header() {
  const { engine, total } = model;
  if (!engine) return;
  const [state, words] = stateOf(engine);
  mark(byId("state"), "data-state", state);
  write(byId("state").lastElementChild, words);
  write(byId("names"), model.topologies.length > 3 ? `${model.topologies.length} topologies` : model.topologies.join(" · "));
  write(byId("rate"), rate(total.rate));
  write(byId("flight"), count(total.flight));
  write(byId("settled"), count(total.settled));
  write(byId("dead"), count(total.dead));
  mark(byId("dead"), "data-some", total.dead > 0 ? "dead" : null);
  write(byId("uptime"), age(model.now - engine.since));
  const rates = model.rates.last(120);
  const { line, area } = curve(rates, 132, 30, Math.max(30, rates.length));
  mark(byId("curve"), "d", line);
  mark(byId("curve-fill"), "d", area);
  document.title = `${state === "ready" ? "" : `${words} · `}${model.topologies.slice(0, 3).join(", ")} · Headrace`;
}

function stateOf(engine) {
  if (gone) return ["gone", "disconnected"];
  if (!engine.alive) return ["dead", "not alive"];
  if (engine.draining) return ["draining", "draining"];
  if (!engine.started) return ["waiting", "starting"];
  return engine.ready ? ["ready", "ready"] : ["unready", "not ready"];
}

/** Why it is not ready, and which stages stand still, in the engine's own sentences. */
function attention() {
  const still = [...model.stages.values()].filter(({ status }) => status.health && (status.health.stalled || !status.connected));
  // A stage whose broker is away says so itself, and better.
  const reasons = (model.engine?.reasons ?? []).filter((reason) => !still.length || !reason.startsWith("waits for "));
  const all = [...reasons.map((reason) => [reason, null]), ...still.map((stage) => [stage.status.health.told, stage.key])];
  const place = byId("attention");
  const now = JSON.stringify(all);
  if (place.dataset.known === now) return;
  place.dataset.known = now;
  place.hidden = all.length === 0;
  const items = all.slice(0, 6).map(([words, key]) =>
    el("li", {}, key === null ? words : el("button", { type: "button", onclick: (event) => openStage(key, event.target) }, words)),
  );
  if (all.length > 6) items.push(el("li.dim", {}, `and ${all.length - 6} more`));
  place.firstElementChild.replaceChildren(...items);
}

/** Takes a status in; with another engine, or at first, how its stages hang together too. */
export async function heard(status, at) {
  const known = model.engine?.version;
  const another = model.apply(status, at);
  if (known && known !== status.engine.version) return location.reload();
  if (another) {
    tell("The engine was started again.");
    model.graphs = null;
  }
  if (!model.graphs && !heard.asking) {
    heard.asking = true;
    try {
      model.draw((await ask("graph")).topologies);
      drawn();
    } catch (error) {
      tell(error.message, true);
    } finally {
      heard.asking = false;
    }
  }
  render();
}

function drawn() {
  byId("empty").hidden = true;
  if (view === null) choose(narrow.matches || model.stages.size > MANY ? "table" : "picture");
  picture.draw(model.graphs);
  search();
}

function choose(which) {
  view = which;
  byId("picture").hidden = which !== "picture";
  byId("table").hidden = which !== "table";
  mark(byId("as-picture"), "aria-pressed", String(which === "picture"));
  mark(byId("as-table"), "aria-pressed", String(which === "table"));
  document.body.dataset.view = which;
  if (which === "picture" && model.graphs && !picture.seen) {
    picture.seen = true;
    picture.fit();
  }
  render();
}

function search() {
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) {
    write(byId("found"), "");
    picture.find(null);
    table.find(null);
    return;
  }
  const keys = new Set();
  for (const stage of model.stages.values()) {
    const ends = (model.near?.get(stage.key) ?? []).map((end) => `${end.system} ${end.name}`);
    const { topology, stage: name, kind } = stage.status;
    const text = [topology, name, kind, ...stage.states, ...ends].join(" ").toLowerCase();
    if (words.every((word) => text.includes(word))) keys.add(stage.key);
  }
  write(byId("found"), `${exactly(keys.size)} of ${exactly(model.stages.size)}`);
  picture.find(keys);
  table.find(keys);
}

function lost(why, seconds) {
  gone ??= Date.now() / 1000;
  const place = byId("gone");
  place.hidden = false;
  const again = `Trying again${seconds >= 2 ? ` in ${Math.round(seconds)} s` : ""} …`;
  write(place, `Disconnected since ${clock(gone)}: ${why}. ${seconds === null ? "Give it above." : `What is shown is from then. ${again}`}`);
  document.body.classList.add("stale");
  render();
}

function found() {
  if (gone) tell(`Connected again, after ${age(Date.now() / 1000 - gone)}.`);
  gone = null;
  byId("gone").hidden = true;
  document.body.classList.remove("stale");
}

/** Nothing is told while nothing changes: the page's own clock lets rates fall and ages grow. */
function ticked() {
  if (gone || document.hidden || !model.engine) return;
  if (performance.now() - model.heard > 1600) {
    model.idle();
    render();
  }
}

byId("as-picture").addEventListener("click", () => choose("picture"));
byId("as-table").addEventListener("click", () => choose("table"));
byId("smaller").addEventListener("click", () => picture.scale(picture.zoom / 1.2));
byId("larger").addEventListener("click", () => picture.scale(picture.zoom * 1.2));
byId("fit").addEventListener("click", () => picture.fit());
byId("find").addEventListener("input", search);
document.addEventListener("visibilitychange", render);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, dialog")) return;
  event.preventDefault();
  byId("find").focus();
});
byId("find").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  byId("find").value = "";
  search();
});
tokenButton(byId("token"));
setInterval(ticked, 1000);

follow("events", {
  event(name, data, id) {
    if (name === "status") heard(JSON.parse(data), Number(id));
  },
  opened: found,
  lost,
});
