// The row of photos and films: a thumbnail each, with its state.
import { getBefore } from "./api.js";
import { $, drawSquare, make } from "./dom.js";
import { t } from "./i18n.js";
import { items } from "./queue.js";
import { openLocal } from "./pictures.js";
import { doing, hasFaces, share } from "./words.js";

const SIDE = 144;
const thumbs = new Map(); // item -> {row, button, canvas, painted}

/** Bring the row up to date. `onPick(item)`: one was chosen; `onOpened(item)`: its picture can be shown. */
export function renderFilm(current, { onPick, onOpened }) {
  for (const [item, { row }] of thumbs) {
    if (!items.includes(item)) {
      row.remove();
      thumbs.delete(item);
    }
  }
  for (const item of items) {
    if (!thumbs.has(item)) thumbs.set(item, newThumb(item, onPick, onOpened));
    update(item, thumbs.get(item), item === current);
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
  if (item.file) {
    openLocal(item.file).then((picture) => {
      item.picture = picture;
      if (picture) paint(canvas, picture);
      onOpened(item);
    });
  }
  return { row, button, canvas, painted: null };
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
  if (item.state === "done" && !item.picture && thumb.painted !== item.job.id) {
    thumb.painted = item.job.id;
    getBefore(item.job.id, 4 * SIDE, item.controller.signal)
      .then((picture) => {
        paint(canvas, picture);
        picture.close();
      })
      .catch(() => {}); // it keeps its sign
  }
}
