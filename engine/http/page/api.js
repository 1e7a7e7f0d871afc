/** The engine's API: what is asked, with the token where there is one, and its errors in words. */

const ROOT = new URL("../api/v1/", import.meta.url);
const KEPT = "headrace.token";

/** An answer that says no. `message` is what the engine said, to be shown as it is. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The token: in this tab only, gone with it, in no address. */
export const token = {
  get: () => sessionStorage.getItem(KEPT),
  set(value) {
    if (value) sessionStorage.setItem(KEPT, value);
    else sessionStorage.removeItem(KEPT);
    dispatchEvent(new Event("token"));
  },
};

/** Asks somebody for the token; set by whoever can. Resolves to it, or to null when they would rather not. */
export const asking = { token: async () => null };

/** What a path answers, as data. With `guarded`, the token is asked for before, and anew where it was wrong. */
export async function ask(path, { query, body, guarded = false, method = body === undefined ? "GET" : "POST", signal } = {}) {
  const given = { method, signal };
  if (body !== undefined) {
    given.body = JSON.stringify(body);
    given.headers = { "Content-Type": "application/json" };
  }
  return (await answered(path, query, given, guarded)).json();
}

/** A path's answer as a stream of bytes. */
export async function open(path, { query, guarded = false, signal } = {}) {
  return answered(path, query, { signal }, guarded);
}

async function answered(path, query, given, guarded) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query ?? {})) if (value !== null) url.searchParams.set(name, value);
  for (let tries = 0, told = ""; ; tries++) {
    if (guarded && !token.get()) {
      const got = await asking.token(told);
      if (!got) throw new Refusal(401, "not done: it needs the token");
      token.set(got);
    }
    const had = token.get();
    const headers = { ...given.headers, ...(had ? { Authorization: `Bearer ${had}` } : {}) };
    const answer = await fetched(url, { ...given, headers });
    if (answer.ok) return answer;
    const refusal = await inWords(answer);
    if (answer.status !== 401 || tries > 5) throw refusal;
    if (had && token.get() === had) token.set(null);
    told = had ? refusal.message : "";
    guarded = true;
  }
}

async function fetched(url, given) {
  try {
    return await fetch(url, { cache: "no-store", credentials: "same-origin", ...given });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "the engine does not answer");
  }
}

async function inWords(answer) {
  const text = await answer.text();
  try {
    return new Refusal(answer.status, JSON.parse(text).detail || answer.statusText);
  } catch {
    return new Refusal(answer.status, `${answer.status} ${answer.statusText}`);
  }
}

export const stagePath = (topology, stage) => `stages/${encodeURIComponent(topology)}/${encodeURIComponent(stage)}`;
