// The language of the page: the browser's, or what was chosen last.
import { STRINGS } from "./strings.js";

const LANGUAGES = { en: "English", ko: "한국어" };
const KEY = "facemend.language";
const listeners = [];
let language = remembered() ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");

function remembered() {
  try {
    const kept = localStorage.getItem(KEY);
    return kept in LANGUAGES ? kept : null;
  } catch {
    return null; // storage is switched off
  }
}

/** The sentence of that key; a number `n` among the values chooses its form. */
export function t(key, values = {}) {
  let text = STRINGS[key][language];
  if (typeof text === "object") {
    text = text[new Intl.PluralRules(language).select(values.n)] ?? text.other;
  }
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? value.toLocaleString(language) : value;
  });
}

/** Whether there is such a sentence. */
export const has = (key) => key in STRINGS;

/** Bytes as people say them. */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toLocaleString(language, { maximumFractionDigits: 1 })} MB`;
}

/** A length of time as people say it: 60 minutes, 2 hours. */
export function duration(seconds) {
  const [value, unit] =
    seconds >= 7200 ? [seconds / 3600, "hour"] : seconds >= 60 ? [seconds / 60, "minute"] : [seconds, "second"];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 }).format(
    value,
  );
}

/** A moment of a film: 1:02. */
export function time(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** The time of day of a moment in unix seconds. */
export function clock(moment) {
  return new Date(moment * 1000).toLocaleTimeString(language, { hour: "numeric", minute: "2-digit" });
}

/** Be told of another language, after the fixed texts have changed. */
export function onLanguage(listener) {
  listeners.push(listener);
}

/** Put the fixed texts into the page, and let the button switch to the next language. */
export function startLanguage(button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    language = other();
    try {
      localStorage.setItem(KEY, language);
    } catch {
      // the choice lasts as long as the page
    }
    write(button);
    for (const listener of listeners) listener();
  });
  write(button);
}

function other() {
  const names = Object.keys(LANGUAGES);
  return names[(names.indexOf(language) + 1) % names.length];
}

function write(button) {
  document.documentElement.lang = language;
  button.lang = other();
  button.textContent = LANGUAGES[other()];
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
  }
}
