// The page: brings photos in and keeps its parts up to date.
import { ApiError, onTokenNeeded } from "./api.js";
import { $, write } from "./dom.js";
import { explain } from "./errors.js";
import { renderFilm, showThumb } from "./film.js";
import { duration, megabytes, onLanguage, startLanguage, t } from "./i18n.js";
import { askForToken } from "./login.js";
import { defaults, renderOptions, startOptions } from "./options.js";
import { habits, renderPanel } from "./panel.js";
import { add, items, onItem, recall } from "./queue.js";
import { renderMovie } from "./movie.js";
import { accepted, filmNames, formatNames, info, isFilm, isHere, learn } from "./server.js";
import { renderStage } from "./stage.js";
import { facts } from "./words.js";

const RETRY = 2000; // ms
let current = null;
let isKnown = false; // the server has said what it can do
const early = []; // files that were chosen before that
const told = new WeakMap(); // item -> the state that was read out

function render() {
  if (!items.includes(current)) current = items.at(-1) ?? null;
  $("welcome").hidden = current !== null;
  $("work").hidden = current === null;
  renderFilm(current, { onPick: pick, onOpened: (item) => item === current && render() });
  const film = current?.state === "done" && isFilm(current);
  renderStage(film ? null : current);
  renderMovie(film ? current : null);
  if (isKnown) renderOptions(current);
  renderPanel(current);
}

function pick(item) {
  current = item;
  render();
  showThumb(item);
}

/** Read out what a person would see, once. */
function announce(item) {
  if (!items.includes(item)) {
    write($("status"), t("saidDeleted", { name: item.name }));
    return;
  }
  if (told.get(item) === item.state) return;
  told.set(item, item.state);
  // Emptied as soon as something else goes on, so that the same words are read out again.
  write($("status"), "");
  write($("alert"), "");
  if (item.state === "done") write($("status"), t("saidDone", { name: item.name, facts: facts(item) }));
  if (item.problem) {
    const { title, fix } = explain(item.problem, isFilm(item));
    write($("alert"), `${item.name}: ${title}. ${fix}`);
  }
}

function take(files) {
  if (!isKnown) early.push(...files);
  if (!isKnown || files.length === 0) return;
  const added = add(files, { ...habits, options: defaults });
  pick(added[0]);
}

/** What is dropped or pasted may also be text: then there are no files. */
const filesOf = (transfer) => [...(transfer?.files ?? [])];

function startIntake() {
  const file = $("file");
  for (const button of document.querySelectorAll("[data-choose]")) button.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    take([...file.files]);
    file.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = filesOf(event.clipboardData);
    if (files.length) event.preventDefault();
    take(files);
  });
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  const veil = (shown) => {
    $("veil").hidden = !shown;
  };
  document.addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    veil(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && veil(false));
  document.addEventListener("drop", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    veil(false);
    take(filesOf(event.dataTransfer));
  });
  const example = $("example");
  example.addEventListener("click", async () => {
    example.disabled = true; // a double click wants it once
    const picture = await fetch(example.querySelector("img").src).then((answer) => answer.blob()).catch(() => null);
    example.disabled = false;
    sayTrouble(picture ? null : "errorNetwork");
    if (picture) take([new File([picture], "example.jpg", { type: "image/jpeg" })]);
  });
}

/** Say what is in the way, by the key of a sentence; null: nothing. */
function sayTrouble(key) {
  $("trouble").hidden = key === null;
  if (key) write($("trouble"), t(key));
}

function renderTexts() {
  if (!isKnown) return;
  write($("formats"), t("formats", { formats: formatNames().join(", "), size: megabytes(info.max_bytes) }));
  $("film-formats").hidden = !info.films;
  if (info.films) {
    const { max_bytes: bytes, max_seconds: seconds } = info.films;
    const most = { formats: filmNames().join(", "), size: megabytes(bytes), length: duration(seconds) };
    write($("film-formats"), t("filmFormats", most));
    write($("choose"), t("chooseBoth"));
    write($("lead"), t("leadBoth"));
  }
  const kept = `${isHere() ? "privacyHere" : "privacyServer"}${info.films ? "Film" : ""}`;
  const privacy = info.keep_seconds === null ? "privacyPage" : kept;
  write($("privacy"), t(privacy, { time: duration(info.keep_seconds) }));
  write($("version"), t("version", { version: info.version }));
}

async function start() {
  startLanguage($("language"));
  onLanguage(() => {
    renderTexts();
    render();
  });
  onTokenNeeded(askForToken);
  onItem((item) => {
    announce(item);
    render();
  });
  startIntake();
  for (;;) {
    try {
      await learn();
      break;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      sayTrouble("offline");
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
  sayTrouble(null);
  isKnown = true;
  $("file").accept = accepted();
  startOptions();
  renderTexts();
  render();
  const recalled = recall(); // reads what is remembered before a new photo is
  take(early);
  await recalled;
}

start();
