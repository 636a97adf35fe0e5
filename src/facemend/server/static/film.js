// The row of photos and films: a thumbnail each, with its state.
import { getBefore } from "./api.js";
import { $, drawSquare, make } from "./dom.js";
import { t } from "./i18n.js";
import { items } from "./queue.js";
import { openLocal } from "./pictures.js";
import { doing, hasFaces, share } from "./words.js";

const SIDE = 144;
const OPEN = 12; // pictures that stay decoded beside the one that is shown: each may take 10 MB
const thumbs = new Map(); // item -> {row, button, canvas, painted, isLocal}
let opened = []; // items with such a picture, in the order of their decoding
let shown = null;
let asked = Promise.resolve(); // of a server, one picture after the other: it lets each client wait with few

/** Bring the row up to date. `onPick(item)`: one was chosen; `onOpened(item)`: its picture can be shown. */
export function renderFilm(current, { onPick, onOpened }) {
  shown = current;
  for (const [item, { row }] of thumbs) {
    if (!items.includes(item)) {
      row.remove();
      thumbs.delete(item);
      item.picture?.close();
    }
  }
  for (const item of items) {
    if (!thumbs.has(item)) thumbs.set(item, newThumb(item, onPick, onOpened));
    const thumb = thumbs.get(item);
    if (item === current && item.picture === null && thumb.isLocal) open(item, thumb, onOpened);
    update(item, thumb, item === current);
  }
}

/** Let a photo be seen in the row. */
export function showThumb(item) {
  thumbs.get(item)?.row.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function newThumb(item, onPick, onOpened) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const badge = make("span", { className: "badge", "aria-hidden": "true" });
  const button = make("button", { type: "button", className: "thumb", onclick: () => onPick(item) }, canvas, badge);
  const row = make("li", {}, button);
  $("film").append(row);
  const thumb = { row, button, canvas, painted: null, isLocal: false };
  if (item.file) open(item, thumb, onOpened);
  return thumb;
}

/** Decode a photo's file; undefined until that is done, null where it cannot be, or has been closed again. */
function open(item, thumb, onOpened) {
  item.picture = undefined;
  openLocal(item.file).then((picture) => {
    item.picture = picture;
    thumb.isLocal = picture !== null;
    if (picture) {
      paint(thumb.canvas, picture);
      opened = [...opened.filter((each) => each !== item && each.picture), item];
      for (const old of opened.filter((each) => each !== shown).slice(0, -OPEN)) {
        old.picture.close();
        old.picture = null;
      }
    }
    onOpened(item);
  });
}

function paint(canvas, picture) {
  drawSquare(canvas, picture, SIDE);
  canvas.classList.add("ready");
}

function update(item, thumb, isCurrent) {
  const { button, canvas } = thumb;
  const moving = ["sending", "queued", "running"].includes(item.state);
  button.dataset.state = moving || item.state === "busy" || item.state === "waiting" ? "moving" : item.state;
  // A tick would say that something was restored.
  button.classList.toggle("bare", item.state === "done" && !hasFaces(item.job));
  button.style.setProperty("--share", `${Math.round(100 * share(item))}%`);
  if (isCurrent) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
  button.title = item.name;
  const words = t("photoState", { name: item.name, state: doing(item) });
  if (button.getAttribute("aria-label") !== words) button.setAttribute("aria-label", words);
  // A kind of file that the browser cannot read, or a photo of before a reload.
  const { job, controller } = item;
  if (item.state === "done" && !item.picture && !thumb.isLocal && thumb.painted !== job.id) {
    thumb.painted = job.id;
    asked = asked
      .then(() => getBefore(job.id, 4 * SIDE, controller.signal))
      .then((picture) => {
        paint(canvas, picture);
        picture.close();
      })
      .catch(() => {}); // it keeps its sign
  }
}
