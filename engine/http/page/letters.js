/** Dead letters of a stage's sources: listed, looked at whole, and put back. */

import { ask } from "./api.js";
import { attempt, confirmed } from "./dialogs.js";
import { el, write } from "./dom.js";
import { bytes, count, exact, moment } from "./format.js";

const MOST = 100;

export class Letters {
  constructor(topology, source) {
    Object.assign(this, { topology, source });
    this.list = el("ul.letters");
    this.reasons = el("ul.reasons");
    this.note = el("p.dim", {}, "Not looked at yet.");
    this.look = el("button", { type: "button", onclick: () => this.load() }, "Browse");
    this.all = el("button", { type: "button", hidden: true, onclick: () => this.redrive(null, "all of them") }, "Redrive all …");
    this.node = el("div.graves", {}, el("h4", {}, source), el("div.buttons", {}, this.look, this.all), this.note, this.reasons, this.list);
  }

  async load() {
    write(this.note, "Reading …");
    this.look.disabled = true;
    const query = { topology: this.topology, source: this.source, limit: MOST };
    const found = await attempt(() => ask("dead", { query, guarded: true }));
    this.look.disabled = false;
    write(this.look, "Look again");
    if (!found) return write(this.note, "Could not be read.");
    this.show(found);
  }

  show({ graves, letters }) {
    const where = graves.map((grave) => grave.endpoint).join(", ");
    const some = letters.length === MOST ? `the oldest ${MOST}` : count(letters.length);
    write(this.note, letters.length ? `${some} in ${where}` : `None in ${where}.`);
    this.all.hidden = letters.length === 0;
    this.reasons.replaceChildren(...this.byReason(letters));
    this.list.replaceChildren(...letters.map((letter) => this.item(letter)));
  }

  byReason(letters) {
    const reasons = grouped(letters);
    if (reasons.size < 2) return [];
    return [...reasons].map(([reason, same]) =>
      el(
        "li",
        {},
        el("span.number", {}, count(same.length)),
        el("span", {}, reason),
        el("button", { type: "button", onclick: () => this.redrive(reason, `those that died of “${reason}”`) }, "Redrive …"),
      ),
    );
  }

  item(letter) {
    const whole = el("div.whole");
    const details = el(
      "details",
      { ontoggle: () => details.open && !whole.hasChildNodes() && this.whole(letter, whole) },
      el(
        "summary",
        {},
        el("b", {}, letter.error_type),
        el("time", {}, moment(letter.last_failure)),
        el("span.reason", {}, letter.reason),
        el("code", {}, letter.preview.slice(0, 120)),
      ),
      whole,
    );
    return el("li", {}, details);
  }

  async whole(brief, place) {
    const query = { position: brief.position ?? brief.id, topology: this.topology, source: this.source };
    const letter = await attempt(() => ask("dead/letter", { query, guarded: true }));
    if (!letter) return;
    const facts = {
      key: letter.key,
      id: letter.id,
      position: letter.position,
      stage: letter.stage,
      attempts: letter.attempts,
      "first failure": moment(letter.first_failure),
      "last failure": moment(letter.last_failure),
      size: bytes(letter.size),
    };
    place.replaceChildren(
      table(facts),
      Object.keys(letter.headers).length ? el("h5", {}, "Headers") : "",
      table(letter.headers),
      el("h5", {}, letter.cut ? "Body, its beginning" : "Body"),
      el("pre", { tabindex: "0" }, pretty(letter.body)),
      ...(letter.traceback ? [el("h5", {}, "Traceback"), el("pre", { tabindex: "0" }, letter.traceback)] : []),
    );
  }

  async redrive(reason, which) {
    const words = `They go back to ${this.source}, to be handled again, and leave the dead letters once that is confirmed.`;
    if (!(await confirmed(`Redrive ${which}?`, words, "Redrive"))) return;
    const body = { topology: this.topology, source: this.source, reason: reason === null ? null : exact(reason) };
    const done = await attempt(
      () => ask("dead/redrive", { body, guarded: true }),
      ({ redriven, refused, left }) => {
        const rest = [refused && `${count(refused)} refused`, left && `${count(left)} left`].filter(Boolean);
        return `${count(redriven)} put back${rest.length ? `, ${rest.join(", ")}` : ""}`;
      },
    );
    if (done) await this.load();
  }
}

/** Facts as a list of terms; those that are null are left out. */
export function table(facts) {
  const there = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl.facts", {}, there.map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
}

/** JSON with indents, if it is JSON. */
export function pretty(text) {
  try {
    const read = JSON.parse(text);
    return typeof read === "object" && read !== null && text.length < 20_000 ? JSON.stringify(read, null, 2) : text;
  } catch {
    return text;
  }
}

function grouped(letters) {
  const found = new Map();
  for (const letter of letters) found.set(letter.reason, [...(found.get(letter.reason) ?? []), letter]);
  return found;
}
