// The picture in the middle: before and after with a divider, faces to choose from, and how far it is.
import { closeAdder, openAdder, startAdder } from "./adder.js";
import { getBefore } from "./api.js";
import { $, draw, isCalm, make, startSlider, write } from "./dom.js";
import { t } from "./i18n.js";
import { isPassing } from "./errors.js";
import { Preview } from "./preview.js";
import { again, change, fail } from "./queue.js";
import { Viewport } from "./viewport.js";
import { doing, share, stillShown } from "./words.js";

const HALF = 50;
const MOST = 4096; // pixels a side that are asked for, and that any canvas can hold
const MOST_BOXES = 20; // faces added by hand that the server takes
const RETRY = 2000; // ms until the photo before is asked for again
const SETTLE = 200; // ms without a change of the zoom before its pixels are asked for
const HAS_KEYS = matchMedia("(hover: hover)").matches;
const frame = $("frame");
const slider = $("slider");
let current = null;
let view = "compare";
let adding = null; // the job to which a face is being added
let place = HALF; // of the divider
let shown = ""; // what the canvases hold
let isThere = { before: false, after: false };
let beforeSide = 0; // what the photo before was asked for with
let settling = null;
let moving = 0; // the animation that runs
const revealed = new WeakSet(); // jobs that have been uncovered once

const divider = startSlider(slider, {
  say: (n) => t("sliderValue", { n }),
  onMove: (value) => {
    $("tag-before").classList.toggle("hidden", value < 16);
    $("tag-after").classList.toggle("hidden", value > 84);
    if (isComparing()) place = value;
  },
});

const preview = new Preview({
  onPicture(item, bitmap) {
    if (item !== current || item.state !== "done") return;
    draw($("after"), bitmap);
    isThere.after = true;
    arrange();
  },
  onWaiting(waiting) {
    $("renewing").hidden = waiting === null;
    frame.setAttribute("aria-busy", String(waiting !== null));
    write($("renewing-words"), waiting === null ? "" : stillShown(waiting));
  },
  onOffline(offline) {
    if (current === null || current.offline === offline) return;
    current.offline = offline;
    change(current, {});
  },
  onError(item, error) {
    if (item.state === "done") fail(item, error);
  },
});

const viewport = new Viewport(frame, {
  isOn: () => isReady() && adding === null,
  actual: () => current.job.width / devicePixelRatio / (frame.clientWidth || 1),
  isHandle: ({ clientX: x, clientY: y }) => {
    const { left, right, top, bottom } = frame.querySelector(".handle").getBoundingClientRect();
    return x >= left && x <= right && y >= top && y <= bottom;
  },
  onChange() {
    renderZoom();
    clearTimeout(settling);
    settling = setTimeout(sharpen, SETTLE);
  },
});

startAdder({
  onAdd([x1, y1, x2, y2]) {
    const { input_width: width, input_height: height } = current.job;
    const box = [x1 * width, y1 * height, x2 * width, y2 * height].map((value) => value.toFixed(1)).join();
    const boxes = [...boxesOf(current), box].join(";");
    current.chosen = null; // faces may have other numbers then
    endAdding();
    again(current, { ...current.options, boxes });
    $("film").querySelector("[aria-current]").focus(); // the panel is gone until the photo is done
  },
  onCancel: () => endAdding(),
});

slider.addEventListener("pointerdown", stopMoving);
slider.addEventListener("keydown", stopMoving);
for (const button of $("views").children) {
  button.addEventListener("click", () => {
    view = button.dataset.view;
    stopMoving();
    renderStage(current);
  });
}
$("nearer").addEventListener("click", viewport.nearer);
$("farther").addEventListener("click", viewport.farther);
$("actual").addEventListener("click", () => viewport.zoom(viewport.actual()));
$("fit").addEventListener("click", () => viewport.zoom(1));
new ResizeObserver(() => {
  sharpen();
  if (isReady()) renderZoom();
}).observe(frame);

/** Show a photo as it is now. */
export function renderStage(item) {
  current = item;
  if (item === null) {
    preview.stop();
    shown = "";
    return;
  }
  const done = item.state === "done";
  const now = done ? `job ${item.job.id}` : `file ${item.key} ${item.picture !== undefined}`;
  write($("name"), item.name);
  shape(item);
  if (shown !== now) {
    shown = now;
    begin(item, done);
  }
  if (done) preview.show(item, side());
  renderProgress(item);
  renderOutlines(item);
  arrange();
}

const boxesOf = (item) => item.options.boxes?.split(";") ?? [];

/** Whether a face can be added: the photo has to be restored again, which takes its file. */
export function canAddFace(item) {
  return item.file !== null && boxesOf(item).length < MOST_BOXES;
}

/** Let a person draw where a face was missed. */
export function addFace() {
  if (!isReady()) return;
  stopMoving();
  adding = current.job;
  openAdder(viewport, ratio());
  arrange();
}

function endAdding() {
  adding = null;
  closeAdder();
  arrange();
  $("add-face").focus();
}

/** Frame the face with that index for a moment; null: none. */
export function pointAt(index) {
  for (const outline of $("outlines").children) {
    outline.classList.toggle("pointed", outline.dataset.index === String(index));
  }
}

/** Pixels a side that the screen can show, in steps, so that few sizes are asked for. */
function side() {
  const box = frame.getBoundingClientRect();
  const pixels = Math.max(box.width, box.height) * Math.min(devicePixelRatio, 2);
  const fit = Math.min(1792, Math.max(512, 256 * Math.ceil(pixels / 256)));
  if (viewport.scale <= 1 || !current.job) return fit;
  const all = Math.min(MOST, Math.max(current.job.width, current.job.height));
  return Math.max(fit, Math.min(all, 1024 * Math.ceil((pixels * viewport.scale) / 1024)));
}

/** The pixels that the zoom can show, of both pictures. */
function sharpen() {
  if (current?.state !== "done") return;
  preview.show(current, side());
  if (side() > beforeSide) loadBefore(current);
}

function shape(item) {
  const { job, picture } = item;
  const finished = item.state === "done" ? job : null;
  const width = finished?.width ?? picture?.width ?? 16;
  const height = finished?.height ?? picture?.height ?? 9;
  frame.style.setProperty("--ratio", width / height);
  // Small pictures are not blown up to a blur.
  frame.style.setProperty("--most", finished || picture ? `${Math.max(400, 2.5 * width)}px` : "none");
}

/** Another photo, or the same in another state: nothing of the last one stays to be seen. */
function begin(item, done) {
  stopMoving();
  preview.stop();
  isThere = { before: false, after: false };
  const sameShape = item.picture && (!done || Math.abs(item.picture.width / item.picture.height - ratio()) < 0.02);
  for (const canvas of [$("before"), $("after")]) canvas.width = canvas.height = 0;
  if (sameShape) draw($("before"), item.picture);
  $("blank").hidden = Boolean(sameShape);
  beforeSide = 0;
  if (done) loadBefore(item);
}

function loadBefore(item) {
  const { job, controller } = item;
  const asked = side();
  beforeSide = asked;
  const isWanted = () => !controller.signal.aborted && item.job === job && item.state === "done";
  getBefore(job.id, asked, controller.signal)
    .then((picture) => {
      if (current === item && item.job === job && asked === beforeSide) {
        draw($("before"), picture);
        isThere.before = true;
        $("blank").hidden = true;
        arrange();
      }
      picture.close();
    })
    .catch((error) => {
      if (!isWanted()) return;
      if (!isPassing(error)) fail(item, error);
      else setTimeout(() => isWanted() && current === item && asked === beforeSide && loadBefore(item), RETRY);
    });
}

function isReady() {
  return current?.state === "done" && isThere.before && isThere.after;
}

const ratio = () => Number(frame.style.getPropertyValue("--ratio"));
const isComparing = () => isReady() && moving === 0 && view === "compare" && adding === null;

/** Where the divider is and what can be done, from all that is known. */
function arrange() {
  const ready = isReady();
  const faces = current.state === "done" && current.job.faces.length > 0;
  if (adding && (!ready || adding !== current.job)) {
    adding = null;
    closeAdder();
  }
  const choosing = ready && faces && view === "faces" && adding === null;
  const comparing = ready && !choosing && adding === null;
  $("views").hidden = !faces || adding !== null;
  for (const button of $("views").children) {
    button.setAttribute("aria-pressed", String((button.dataset.view === "faces") === choosing));
  }
  frame.classList.toggle("comparing", comparing);
  frame.classList.toggle("choosing", choosing);
  slider.inert = !comparing;
  $("outlines").inert = !choosing;
  $("zoomer").hidden = !ready;
  if (ready) viewport.zoom(viewport.scale); // it may be too near for another photo
  else write($("under"), "");
  if (choosing || adding) divider.move(0);
  else if (!ready) divider.move(100);
  else if (revealed.has(current.job) || moving !== 0) {
    if (moving === 0) divider.move(place);
  } else {
    revealed.add(current.job);
    reveal();
  }
}

/** How near it is, and what can be done. */
function renderZoom() {
  const near = frame.classList.contains("near");
  slider.handle = near; // else every press is for the divider
  const percent = Math.round((100 * viewport.scale) / viewport.actual());
  write($("scale"), t("percent", { n: percent }));
  $("actual").setAttribute("aria-pressed", String(viewport.isActual));
  $("fit").setAttribute("aria-pressed", String(viewport.isFit));
  const hints = HAS_KEYS ? ["sliderHint", "nearHint"] : ["sliderTouchHint", "nearTouchHint"];
  const choosing = frame.classList.contains("choosing");
  write($("under"), t(adding ? "boxHint" : choosing ? "facesHint" : hints[Number(near)]));
}

/** The divider glides from the right to where it was: the first look at a result. */
function reveal() {
  if (isCalm()) {
    divider.move(place);
    return;
  }
  const aim = place;
  let start = null;
  const step = (now) => {
    start ??= now;
    const passed = Math.min(1, (now - start) / 1100);
    const eased = 1 - (1 - passed) ** 3;
    divider.move(100 + (aim - 100) * eased);
    moving = passed < 1 ? requestAnimationFrame(step) : 0;
  };
  moving = requestAnimationFrame(step);
}

function stopMoving() {
  cancelAnimationFrame(moving);
  moving = 0;
}

function renderProgress(item) {
  const settled = ["done", "failed", "expired"].includes(item.state);
  $("progress").hidden = settled;
  frame.classList.toggle("working", ["queued", "running", "sending"].includes(item.state));
  if (settled) return;
  const part = share(item);
  write($("doing"), doing(item));
  write($("share"), item.state === "running" || item.state === "sending" ? `${Math.round(100 * part)} %` : "");
  $("meter").value = part;
}

function renderOutlines(item) {
  const outlines = $("outlines");
  const faces = item.state === "done" ? item.job.faces : [];
  const key = faces.length ? item.job.id : "";
  if (outlines.dataset.job !== key) {
    outlines.dataset.job = key;
    outlines.replaceChildren(...faces.map((face) => newOutline(item, face)));
  }
  for (const { index, restored, reason } of faces) {
    const outline = outlines.querySelector(`[data-index="${index}"]`);
    if (restored) outline.setAttribute("aria-checked", String(item.chosen.has(index)));
    outline.setAttribute("aria-label", restored ? t("face", { n: index + 1 }) : t("faceLeft", { reason: reason ?? "" }));
  }
}

function newOutline(item, face) {
  const outline = face.restored
    ? make("button", { type: "button", className: "outline", role: "checkbox" }, make("span", { className: "mark" }))
    : make("span", { className: "outline left", role: "img", title: face.reason ?? "" });
  if (face.restored) outline.addEventListener("click", () => toggle(item, face.index));
  outline.dataset.index = face.index;
  const { input_width: width, input_height: height } = item.job;
  const [x0, y0, x1, y1] = face.box;
  const percent = (value, all) => `${(100 * value) / all}%`;
  outline.style.left = percent((x0 + x1) / 2, width);
  outline.style.top = percent((y0 + y1) / 2, height);
  outline.style.width = percent(x1 - x0, width);
  outline.style.height = percent(y1 - y0, height);
  return outline;
}

/** Restore a face, or leave it as it was. */
export function toggle(item, index) {
  const chosen = new Set(item.chosen);
  if (!chosen.delete(index)) chosen.add(index);
  change(item, { chosen });
}
