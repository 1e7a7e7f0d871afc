/**
 * Server-sent events by `fetch`: unlike `EventSource` it can send the token, and it notices a connection on which
 * not even comments arrive any more.
 */

import { open } from "./api.js";

const SILENCE = 25_000; // the engine sends a comment every 10 s at least
const FIRST = 500;
const LONGEST = 8_000;

/** Reads one stream to its end; `event(name, data, id)` is told of each. Rejects when it breaks or falls silent. */
export async function read(path, { query, guarded, signal, event, opened, silence = SILENCE }) {
  const watch = new AbortController();
  const stop = () => watch.abort();
  signal?.addEventListener("abort", stop, { once: true });
  let timer = 0;
  try {
    const answer = await open(path, { query, guarded, signal: watch.signal });
    opened?.();
    const reader = answer.body.getReader();
    const parse = parser(event);
    const text = new TextDecoder();
    for (;;) {
      clearTimeout(timer);
      timer = setTimeout(stop, silence);
      const { done, value } = await reader.read();
      if (done) return;
      parse(text.decode(value, { stream: true }));
    }
  } finally {
    clearTimeout(timer);
    watch.abort();
    signal?.removeEventListener("abort", stop);
  }
}

/** A function that takes text as it comes, and tells of the events in it. */
export function parser(event) {
  let parts = [];
  return (text) => {
    // An event may come in many pieces: they are joined once, when its end is there.
    for (;;) {
      const joined = parts.length && parts.at(-1).endsWith("\n") && text.startsWith("\n");
      const end = joined ? 0 : text.indexOf("\n\n");
      if (end < 0) {
        if (text) parts.push(text);
        return;
      }
      parts.push(text.slice(0, end));
      tell(parts.join(""), event);
      parts = [];
      text = text.slice(end + (joined ? 1 : 2));
    }
  };
}

function tell(block, event) {
  let [name, id, data] = ["message", "", ""];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
    else if (line.startsWith("id: ")) id = line.slice(4);
  }
  if (data) event(name, data, id);
}

/**
 * Reads a stream again and again, for as long as the page lives. `lost(why, seconds)` is told when it broke, and in how
 * many seconds it is tried again; null: when there is a token.
 */
export async function follow(path, { event, opened, lost }) {
  for (let wait = FIRST; ; ) {
    let [why, shut] = ["the engine has ended the connection", false];
    try {
      await read(path, {
        event,
        opened() {
          wait = FIRST;
          opened();
        },
      });
    } catch (error) {
      why = error.name === "AbortError" ? "the engine has fallen silent" : error.message;
      shut = error.status === 401;
    }
    lost(why, shut ? null : wait / 1000);
    // Whoever would rather not give the token is not asked again and again.
    await (shut ? new Promise((given) => addEventListener("token", given, { once: true })) : sooner(wait));
    wait = Math.min(wait * 2, LONGEST);
  }
}

/** Waits that long, or until the network or the page comes back. */
function sooner(wait) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      document.removeEventListener("visibilitychange", seen);
      resolve();
    };
    const seen = () => document.hidden || done();
    const timer = setTimeout(done, wait);
    addEventListener("online", done);
    document.addEventListener("visibilitychange", seen);
  });
}
