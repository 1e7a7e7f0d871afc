/** Questions that have to be answered first: the token, and whether it is meant. */

import { asking, token } from "./api.js";
import { byId, el, write } from "./dom.js";

/** Resolves to true if they mean it. `words` say exactly what will happen. */
export function confirmed(title, words, act) {
  return new Promise((resolve) => {
    const yes = el("button.main", { type: "submit", value: "yes" }, act);
    const dialog = shown(
      el("form", { method: "dialog" }, el("h2", {}, title), el("p", {}, words), buttons(yes)),
      () => resolve(dialog.returnValue === "yes"),
    );
  });
}

let asked = null;

/** Asks for the token once, however many want it; resolves to null where it is not given. `told`: what was wrong. */
asking.token = (told = "") => {
  asked ??= new Promise((resolve) => {
    const field = el("input", { type: "password", id: "token-field", autocomplete: "off", spellcheck: "false", required: true });
    const form = el(
      "form",
      { method: "dialog" },
      el("h2", {}, "The engine’s token"),
      told && el("p.bad", { role: "alert" }, `Refused: ${told}`),
      el("p", {}, "What changes the engine, or shows messages, needs the token it was started with (HEADRACE_TOKEN)."),
      el("label", { for: "token-field" }, "Token"),
      field,
      el("p.dim", {}, "Kept in this tab until it is closed, and sent to this engine only."),
      buttons(el("button.main", { type: "submit", value: "yes" }, "Use it")),
    );
    const dialog = shown(form, () => {
      asked = null;
      resolve(dialog.returnValue === "yes" ? field.value.trim() || null : null);
    });
    field.focus();
  });
  return asked;
};

function buttons(yes) {
  return el("div.buttons", {}, el("button", { type: "button", onclick: (event) => event.target.closest("dialog").close("") }, "Cancel"), yes);
}

function shown(content, closed) {
  const dialog = el("dialog", {}, content);
  const back = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (back?.isConnected) back.focus();
    closed();
  });
  document.body.append(dialog);
  dialog.setAttribute("aria-labelledby", "dialog-title");
  dialog.querySelector("h2").id = "dialog-title";
  dialog.showModal();
  return dialog;
}

let timer = 0;

/** Says for a while what was done, or what went wrong. */
export function tell(words, wrong = false) {
  const [place, other] = wrong ? [byId("wrong"), byId("told")] : [byId("told"), byId("wrong")];
  write(other, "");
  write(place, words);
  clearTimeout(timer);
  timer = setTimeout(() => write(place, ""), wrong ? 12_000 : 5_000);
}

/** Does something that may be refused; says how it went. Resolves to what it made, or to undefined. */
export async function attempt(act, done) {
  try {
    const made = await act();
    if (done) tell(typeof done === "function" ? done(made) : done);
    return made;
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (error.name !== "Refusal" && error.status === undefined) console.error(error);
    tell(error.message, true);
    return undefined;
  }
}

/** The button that shows whether there is a token, and takes it or forgets it. */
export function tokenButton(button) {
  const show = () => {
    const there = Boolean(token.get());
    button.setAttribute("aria-pressed", String(there));
    write(button.querySelector("span"), there ? "Token set" : "Read only");
    button.title = there ? "Forget the token" : "Give the token, to change things and to see messages";
  };
  button.addEventListener("click", async () => {
    if (token.get()) {
      token.set(null);
      tell("The token is forgotten.");
    } else {
      const given = await asking.token();
      if (given) token.set(given);
    }
  });
  addEventListener("token", show);
  show();
}
