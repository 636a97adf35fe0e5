// A restored film: beside the film as it was, both playing under a divider; or alone, with the browser's own controls,
// where the page has not got the film as it was, or the browser cannot play it.
import { fileUrl } from "./api.js";
import { $, startSlider, write } from "./dom.js";
import { t, time } from "./i18n.js";

const DRIFT = 0.08; // seconds that the two may be apart while they play
const [before, after, alone, slider, seek] = ["before", "after", "alone", "slider", "seek"].map((id) => $(`movie-${id}`));
let current = null; // the item that is shown
let job = ""; // the film that is loaded
let local = ""; // address of the file
let canCompare = false;
let view = "compare";

const divider = startSlider(slider, {
  say: (n) => t("sliderValue", { n }),
  onMove(value) {
    $("movie-tag-before").classList.toggle("hidden", value < 16);
    $("movie-tag-after").classList.toggle("hidden", value > 84);
  },
});

const isComparing = () => canCompare && view === "compare";
const shown = () => (isComparing() ? after : alone);

/** Show a film that is done; null: none. */
export function renderMovie(item) {
  current = item;
  $("movie").hidden = item === null;
  $("frame").hidden = item !== null;
  if (item?.job.id !== (job || undefined)) load(item);
  if (item === null) return;
  write($("name"), item.name);
  $("views").hidden = true;
  render();
}

/** Another film, or none: nothing of the last one plays on. */
function load(item) {
  for (const film of [before, after, alone]) {
    film.pause();
    film.removeAttribute("src");
    film.load();
  }
  URL.revokeObjectURL(local);
  local = "";
  job = item?.job.id ?? "";
  canCompare = Boolean(item?.file);
  $("movie-trouble").hidden = true;
  if (item === null) return;
  if (canCompare) {
    local = URL.createObjectURL(item.file);
    before.src = local;
  }
  shape(item.job);
  divider.move(50);
  play(0);
}

/** Let the film that is shown now be there, from that moment on; the other one rests. */
function play(seconds) {
  const [film, other] = isComparing() ? [after, alone] : [alone, after];
  other.pause();
  before.pause();
  if (!film.src) film.src = fileUrl(job, "result");
  if (film.currentTime !== seconds) film.currentTime = seconds;
}

function shape({ width, height }) {
  $("movie-frame").style.setProperty("--ratio", width / height);
  $("movie-frame").style.setProperty("--most", `${Math.max(400, 2.5 * width)}px`); // small films are not blown up
}

function render() {
  const comparing = isComparing();
  slider.hidden = $("player").hidden = !comparing;
  alone.hidden = comparing;
  $("movie-frame").classList.toggle("comparing", comparing);
  $("movie-views").hidden = !canCompare;
  for (const button of $("movie-views").children) {
    button.setAttribute("aria-pressed", String((button.dataset.film === "compare") === comparing));
  }
  const reason = current.file ? "movieUnplayable" : "movieNoFile";
  write($("under"), t(comparing ? "movieHint" : canCompare ? "movieAlone" : reason));
  renderPlayer();
}

function renderPlayer() {
  const length = after.duration || 0;
  seek.max = length;
  seek.value = after.currentTime;
  seek.style.setProperty("--fill", `${length ? (100 * after.currentTime) / length : 0}%`);
  const words = `${time(after.currentTime)} / ${time(length)}`;
  seek.setAttribute("aria-valuetext", words);
  write($("movie-time"), words);
  $("play").classList.toggle("playing", !after.paused);
  $("play").setAttribute("aria-label", t(after.paused ? "play" : "pause"));
  $("sound").setAttribute("aria-pressed", String(after.muted));
}

function toggle() {
  if (after.paused) after.play().catch(() => {}); // what is wrong with it is told by its "error"
  else after.pause();
}

/** The film as it was follows the restored one. */
function follow() {
  if (Math.abs(before.currentTime - after.currentTime) > (after.paused ? 0 : DRIFT)) before.currentTime = after.currentTime;
}

function failed() {
  if (current === null || !this.src) return;
  this.poster = fileUrl(job, "preview");
  write($("movie-trouble"), t("movieTrouble"));
  $("movie-trouble").hidden = false;
}

after.addEventListener("play", () => before.play().catch(() => {}));
after.addEventListener("pause", () => before.pause());
for (const event of ["seeking", "pause", "timeupdate", "loadeddata"]) after.addEventListener(event, follow);
for (const event of ["play", "pause", "timeupdate", "durationchange", "volumechange", "seeked"]) {
  after.addEventListener(event, () => current && renderPlayer());
}
for (const film of [after, alone]) {
  film.addEventListener("error", failed);
  // Pixels of films need not be square.
  film.addEventListener("loadedmetadata", () => film.videoWidth && shape({ width: film.videoWidth, height: film.videoHeight }));
}
before.addEventListener("loadeddata", follow);
before.addEventListener("error", () => {
  if (current === null || !before.src) return;
  canCompare = false;
  play(0);
  render();
});
for (const button of $("movie-views").children) {
  button.addEventListener("click", () => {
    const seconds = shown().currentTime;
    view = button.dataset.film;
    play(seconds);
    render();
  });
}
$("play").addEventListener("click", toggle);
$("sound").addEventListener("click", () => (after.muted = !after.muted));
seek.addEventListener("input", () => (after.currentTime = Number(seek.value)));
slider.addEventListener("keydown", (event) => {
  if (event.key !== " ") return;
  event.preventDefault();
  toggle();
});
