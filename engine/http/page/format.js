/** Figures in few letters. */

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 9,999 and then 10K, 1.2M. */
export const count = (number) => (Math.abs(number) < 10_000 ? whole.format(Math.round(number)) : compact.format(number));

export const exactly = (number) => whole.format(number);

/** Messages a second. */
export function rate(number) {
  if (number < 0.005) return "0";
  if (number < 10) return number.toFixed(number < 1 ? 2 : 1);
  return count(number);
}

/** A short span of time, as of latencies; a dash where there is none. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : age(seconds);
}

/** A long span of time: 2 d 4 h, 3 h 12 min, 5 min 3 s. */
export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours] = [Math.floor(whole / 86400), Math.floor((whole % 86400) / 3600)];
  const [minutes, rest] = [Math.floor((whole % 3600) / 60), whole % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
  return `${rest} s`;
}

/** The time of day of seconds since the epoch, or of text in ISO 8601. */
export function clock(when) {
  const date = new Date(typeof when === "number" ? when * 1000 : when);
  return Number.isNaN(date.getTime()) ? String(when) : date.toLocaleTimeString("en-GB");
}

/** The same with the day. */
export function moment(when) {
  const date = new Date(typeof when === "number" ? when * 1000 : when);
  return Number.isNaN(date.getTime()) ? String(when) : `${date.toLocaleDateString("en-CA")} ${clock(when)}`;
}

export function bytes(size) {
  if (size < 1000) return `${size} B`;
  return size < 1e6 ? `${(size / 1000).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

/** A name as a glob that matches it alone. */
export const exact = (name) => name.replace(/[*?[]/g, "[$&]");
