/** Samples of what enters and leaves a stage, as they come. */

import { el, write } from "./dom.js";
import { bytes, clock, exact } from "./format.js";
import { pretty, table } from "./letters.js";
import { read } from "./stream.js";

const MOST = 40;

export class Samples {
  constructor(topology, stage) {
    this.glob = exact(`${topology}.${stage}`);
    this.stop = null;
    this.list = el("ul.samples");
    this.note = el("p.dim", {}, "A few messages a second, as they are: it slows nothing.");
    this.button = el("button", { type: "button", "aria-pressed": "false", onclick: () => (this.stop ? this.end() : this.begin()) }, "Watch messages");
    this.node = el("div", {}, el("div.buttons", {}, this.button), this.note, this.list);
  }

  async begin() {
    const stop = (this.stop = new AbortController());
    this.shown("Stop", true);
    write(this.note, "Waiting for a message …");
    const query = { stage: this.glob, rate: 4 };
    const event = (name, data) => name === "sample" && this.add(JSON.parse(data));
    try {
      await read("tap", { query, guarded: true, signal: stop.signal, event });
      write(this.note, "The engine has ended it.");
    } catch (error) {
      if (this.stop === stop) write(this.note, error.name === "AbortError" ? "The engine has fallen silent." : error.message);
    }
    if (this.stop === stop) this.end(this.note.textContent);
  }

  end(words = "Stopped.") {
    this.stop?.abort();
    this.stop = null;
    this.shown("Watch messages", false);
    write(this.note, words);
  }

  shown(words, pressed) {
    write(this.button, words);
    this.button.setAttribute("aria-pressed", String(pressed));
  }

  add(sample) {
    write(this.note, sample.missed ? `${sample.missed} more were not shown.` : "The newest first.");
    const { way, to, body, key, headers, id, attempt, size } = sample;
    const summary = el(
      "summary",
      {},
      el(`b.${way === "in" ? "in" : "out"}`, {}, way === "in" ? "in" : "out"),
      el("time", {}, clock(sample.time)),
      to && el("span.to", {}, `→ ${to}`),
      el("code", {}, body.slice(0, 160)),
    );
    const facts = { key, id, attempt, size: bytes(size), ...headers };
    this.list.prepend(el("li", {}, el("details", {}, summary, table(facts), el("pre", { tabindex: "0" }, pretty(body)))));
    while (this.list.childElementCount > MOST) this.list.lastChild.remove();
  }
}
