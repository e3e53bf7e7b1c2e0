/** Numbers, sizes, times and foreign text, as people read them. */

import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** What is shown where there is no value. */
export const NONE = "–";

const known = (number) => typeof number === "number" && Number.isFinite(number);

/** `1,234,567`. */
export function count(number) {
  return known(number) ? whole.format(number) : NONE;
}

/** `12.3`, `0.04`, `1,240`: a figure that is not counted but measured. */
export function measure(number) {
  if (!known(number)) return NONE;
  return Math.abs(number) >= 100 ? whole.format(number) : figures.format(number);
}

export function perSecond(number) {
  return known(number) ? `${measure(number)}/s` : NONE;
}

/** `12.3 MiB`. */
export function bytes(number) {
  if (!known(number)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (Math.abs(number) >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${measure(number)} ${units[unit]}`;
}

/** Seconds that something took: `640 µs`, `2.1 ms`, `1.4 s`. */
export function took(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${measure(seconds * 1e6)} µs`;
  if (seconds < 1) return `${measure(seconds * 1e3)} ms`;
  return `${measure(seconds)} s`;
}

/** Milliseconds that are waited or have passed: `4 s`, `3 min`, `2 h 5 min`, `40 days`. */
export function span(ms) {
  const seconds = Math.round(Math.abs(ms) / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 && minutes < 5 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

/** `3 s ago`, `in 2 h`. */
export function relative(ms, now = Date.now()) {
  if (Math.abs(now - ms) < 1000) return "now";
  return ms < now ? `${span(now - ms)} ago` : `in ${span(ms - now)}`;
}

/** `2026-11-27 05:22:12.214 UTC`, or the number itself if it is no time of this calendar. */
export function absolute(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return String(ms);
  return `${date.toISOString().replace("T", " ").replace("Z", "")} UTC`;
}

/** `05:22:12`, where the reader is. */
export function timeOfDay(ms, withSeconds = true) {
  return new Date(ms).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: withSeconds ? "2-digit" : undefined });
}

/** `05:22:12.214`, where the reader is. */
export function timeOfDayMs(ms) {
  return `${timeOfDay(ms)}.${String(ms % 1000).padStart(3, "0")}`;
}

/** A text of the API, which begins small and ends without a full stop, as a sentence. */
export function sentence(text) {
  const end = text === "" || /[.…!?]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}

/** A time as it is from now, kept true by `refreshTimes`; as it is in itself to whoever points at it. */
export function time(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return h("span", {}, String(ms));
  return h("time", { datetime: date.toISOString(), title: absolute(ms), "data-ms": ms }, relative(ms));
}

/** Every second, for all that `time` has made. */
export function refreshTimes() {
  for (const element of document.querySelectorAll("time[data-ms]")) {
    const text = relative(Number(element.dataset.ms));
    if (element.textContent !== text) element.textContent = text;
  }
}

// Controls, and what turns the direction of the text around it or hides itself. Line breaks and tabs
// are let through where `pre` shows them.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;
const LINES = /[\n\t]/;

/** Foreign text with what one would not see in it written out, as JSON writes it: `\u202e`. */
export function visible(text, lines = false) {
  return String(text).replace(UNSEEN, (character) => {
    if (lines && LINES.test(character)) return character;
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Foreign text in a line: what is too long ends in "…", and its direction is its own. */
export function foreign(text, lengthMax = 200) {
  if (text === undefined || text === null) return h("span", { class: "muted" }, NONE);
  const shown = visible(String(text).slice(0, lengthMax + 1));
  return h("bdi", {}, shown.length > lengthMax ? `${shown.slice(0, lengthMax)}…` : shown);
}
