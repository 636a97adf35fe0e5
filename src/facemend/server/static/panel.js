// Beside the picture: what came of it, how it shall look, its faces, and taking it home.
import { showFace } from "./api.js";
import { $, cancel, make, write } from "./dom.js";
import { explain } from "./errors.js";
import { clock, t } from "./i18n.js";
import { again, applyToOthers, change, items, remove } from "./queue.js";
import { save, saving } from "./saving.js";
import { isFilm } from "./server.js";
import { addFace, canAddFace, pointAt, toggle } from "./stage.js";
import { facts, hasFaces, keyOf, leftByAuto, restoredFaces, translated } from "./words.js";
import { openZoom, renderZoom } from "./zoom.js";

const SETTLE = 250; // ms without a change before the small faces follow
let current = null;
let settling = null;
let applied = null; // {item, others, same}: whose look went to the others

/** What the page remembers for the next photo. */
export const habits = { w: 0.5, filmW: null, strength: 1 };

$("w").addEventListener("input", () => setW(Number($("w").value)));
$("strength").addEventListener("input", () => {
  habits.strength = Number($("strength").value);
  change(current, { strength: habits.strength });
});
for (const button of document.querySelectorAll("[data-w]")) {
  const { w } = button.dataset;
  button.addEventListener("click", () => setW(w === "auto" ? w : Number(w)));
}
$("all").addEventListener("click", () => change(current, { chosen: new Set(restored(current).map((f) => f.index)) }));
$("none").addEventListener("click", () => change(current, { chosen: new Set() }));
$("again").addEventListener("click", () => again(current));
$("remake-go").addEventListener("click", () => again(current));
// Once removed, the next photo is in its place: neither a double click nor a held key is meant for that.
$("delete").addEventListener("click", (event) => event.detail < 2 && remove(current));
$("delete").addEventListener("keydown", (event) => event.repeat && event.preventDefault());
$("download").addEventListener("click", () => save([current], refresh));
$("download-all").addEventListener("click", () => save(finished(), refresh));
$("add-face").addEventListener("click", addFace);
$("apply").addEventListener("click", () => {
  applied = null;
  applied = { item: current, look: lookOf(current), ...applyToOthers(current) };
  renderPanel(current);
});

const restored = (item) => restoredFaces(item.job);
const refresh = () => items.includes(current) && renderPanel(current);
const lookOf = ({ w, strength, options }) => JSON.stringify([w, strength, options]);
const finished = () => items.filter((item) => item.state === "done");

function setW(w) {
  habits[isFilm(current) ? "filmW" : "w"] = w;
  change(current, { w });
}

/** Show a photo as it is now; null: there is none. */
export function renderPanel(item) {
  current = item;
  renderZoom(item);
  const done = item?.state === "done";
  if (!done) dropCards();
  if (item === null) return;
  renderProblem(item);
  $("facts").hidden = !done;
  $("look").hidden = !done || !hasFaces(item.job);
  $("faces").hidden = !done || restored(item).length === 0;
  if (done) renderResult(item);
  renderApply(item, done);
  renderActions(item, done);
}

function renderProblem(item) {
  $("problem").hidden = item.problem === null;
  if (item.problem === null) return;
  const { title, fix, detail } = explain(item.problem, isFilm(item));
  write($("problem-title"), title);
  write($("problem-fix"), fix);
  write($("problem-detail"), detail);
  // The same file would be refused again.
  $("again").hidden = item.file === null || [413, 415].includes(item.problem.status);
}

function renderResult(item) {
  const { job } = item;
  write($("facts-title"), facts(item));
  const size = t("pixels", { width: job.width, height: job.height });
  write($("facts-size"), job.factor > 1 ? `${size} (${t("times", { n: job.factor })})` : size);
  const none = !hasFaces(job);
  const reasons = new Set(none ? job.faces.map((face) => face.reason) : []);
  const notes = [...reasons, ...job.notes.filter((note) => !none || !note.startsWith("no face "))]; // said better here
  const advice = !none || job.faces.length ? [] : [make("li", {}, t(keyOf(item, "noneHelp")))];
  if (none) advice.unshift(make("li", {}, t(keyOf(item, job.factor > 1 ? "noneEnlarged" : "noneFound"))));
  $("notes").replaceChildren(...advice, ...notes.map((note) => make("li", { lang: "en" }, note)));
  $("add-face").hidden = isFilm(item) || !canAddFace(item);
  const auto = item.w === "auto";
  const w = auto ? autoW(item) : item.w;
  $("w").value = w;
  $("w").style.setProperty("--fill", `${100 * w}%`);
  $("strength").value = item.strength;
  $("strength").style.setProperty("--fill", `${100 * item.strength}%`);
  const percent = `${Math.round(100 * item.strength)} %`;
  $("strength").setAttribute("aria-valuetext", percent);
  write($("strength-value"), percent);
  const key = auto ? "wAuto" : w < 0.25 ? "wLow" : w > 0.75 ? keyOf(item, "wHigh") : "wMiddle";
  $("w").setAttribute("aria-valuetext", `${auto ? t("autoW") : w}. ${t(key)}`);
  write($("w-value"), auto ? t("autoW") : `w = ${w.toFixed(2)}`);
  write($("w-hint"), t(key));
  for (const button of document.querySelectorAll("[data-w]")) {
    button.setAttribute("aria-pressed", String(button.dataset.w === String(item.w)));
    if (button.dataset.w === "auto") button.hidden = !restored(item).some((face) => face.auto);
  }
  renderRemake(item);
  renderFaces(item);
}

/** Where the dial stands with auto, and goes on from: at the w of the first face. */
const autoW = (item) => restored(item).find((face) => face.auto)?.auto.w ?? 0.5;

/** What the model says of a face, and what auto does with it. */
function saidOf(item, face) {
  const looks = face.looks ? translated(face.looks) : "";
  if (!face.auto || item.w !== "auto") return looks;
  const left = leftByAuto(item, face);
  return `${looks}; ${left ? t("left", { reason: translated(left) }) : `w = ${face.auto.w.toFixed(2)}`}`;
}

/** A film is made for one look: another one takes its file and its time again. */
function renderRemake(item) {
  const { job, file, w, strength } = item;
  const same = w === job.w && strength === job.strength;
  $("remake").hidden = !isFilm(item);
  const bare = isFilm(item) && file === null;
  for (const dial of $("look").querySelectorAll("input, [data-w]")) dial.disabled = bare;
  $("remake-go").disabled = file === null || same;
  write($("remake-hint"), t(bare ? "remakeNoFile" : same ? "remakeHint" : "remakeTime"));
}

function renderFaces(item) {
  const faces = restored(item);
  const cards = $("cards");
  if (cards.dataset.job !== item.job.id) {
    dropCards();
    cards.dataset.job = item.job.id;
    cards.append(...faces.map((face) => newCard(item, face)));
    follow(item);
  }
  for (const [index, card] of [...cards.children].entries()) {
    const face = faces[index];
    const box = card.querySelector("input");
    box.checked = item.chosen.has(face.index);
    card.classList.toggle("off", !box.checked);
    write(card.querySelector("label span"), t("face", { n: face.index + 1 }));
    card.querySelector("button").setAttribute("aria-label", t("faceLarger", { n: face.index + 1 }));
    write(card.querySelector(".said"), saidOf(item, face));
  }
  clearTimeout(settling);
  settling = setTimeout(() => current === item && item.state === "done" && follow(item), SETTLE);
  $("all-none").hidden = faces.length < 3;
  const left = item.job.faces.filter((face) => !face.restored);
  $("skipped").hidden = left.length === 0;
  write($("skipped"), left.length ? t("skipped", { n: left.length }) : "");
}

function dropCards() {
  const cards = $("cards");
  for (const picture of cards.querySelectorAll("img")) cancel(picture);
  cards.replaceChildren();
  delete cards.dataset.job;
}

function newCard(item, face) {
  const picture = (when) => make("img", { alt: "", loading: "lazy", className: when });
  const before = picture("before");
  showFace(before, item.job.id, face.index, "before");
  const look = make("button", { type: "button", className: "pair" }, before, picture("after"));
  look.addEventListener("click", () => openZoom(item, face.index));
  const box = make("input", { type: "checkbox" });
  box.addEventListener("change", () => toggle(item, face.index));
  const tick = make("label", { className: "tick" }, box, make("span"));
  const card = make("li", { className: "face" }, look, tick, make("p", { className: "hint said" }));
  for (const event of ["pointerenter", "focusin"]) card.addEventListener(event, () => pointAt(face.index));
  for (const event of ["pointerleave", "focusout"]) card.addEventListener(event, () => pointAt(null));
  card.dataset.index = face.index;
  return card;
}

/** The small faces with the w of now. */
function follow(item) {
  for (const card of $("cards").children) {
    showFace(card.querySelector(".after"), item.job.id, card.dataset.index, "after", item.w);
  }
}

function renderApply(item, done) {
  $("apply").hidden = !done || isFilm(item) || items.filter((each) => !isFilm(each)).length < 2;
  // What was said holds as long as nothing is changed.
  if (applied && (applied.item !== item || applied.look !== lookOf(item))) applied = null;
  const kept = applied?.kept ? ` ${t("applyKept", { n: applied.kept })}` : "";
  write($("applied"), applied ? t("applied", { n: applied.others }) + kept : "");
}

function renderActions(item, done) {
  const { now, failures } = saving;
  $("download").hidden = !done;
  $("download").disabled = $("download-all").disabled = now !== null;
  write($("download-words"), now === null ? t("download") : t(now.all > 1 ? "downloadingOf" : "downloading", now));
  const told = failures.map(({ name, problem }) => ({ name, ...explain(problem) }));
  write($("save-problem"), told.map(({ name, title, fix }) => t("notSaved", { name, title, fix })).join(" "));
  const all = finished().length;
  $("download-all").hidden = all < 2;
  write($("download-all"), t("downloadAll", { n: all }));
  write($("until"), done && item.job.expires ? t("until", { time: clock(item.job.expires) }) : "");
  const still = { done: "delete", failed: "remove", expired: "remove" };
  write($("delete"), t(still[item.state] ?? "cancel"));
}
