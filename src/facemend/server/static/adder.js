// A face added by hand: a box over the picture, drawn by mouse or finger, or moved and sized by keys.
import { $ } from "./dom.js";

const STEP = 0.02; // of what is seen, of a key
const START = 0.2; // half the height of the first box, of what is seen
const NARROW = 0.75; // width of a face's box, of its height
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const layer = $("adder");
let box = null; // x1, y1, x2, y2: shares of the picture
let corner = null; // where a box is being drawn from
let step = STEP;

/** Begin with a box in the middle of what is seen; `ratio`: width of the picture, of its height. */
export function openAdder({ middle: { x, y }, scale }, ratio) {
  const [wide, high] = [(START * NARROW) / scale / ratio, START / scale];
  step = STEP / scale;
  show(x - wide, y - high, x + wide, y + high);
  layer.hidden = $("adder-actions").hidden = false;
  $("box").focus();
}

export function closeAdder() {
  layer.hidden = $("adder-actions").hidden = true;
  corner = null;
}

/** `onAdd(box)`: restore it; `onCancel()`: do not. */
export function startAdder({ onAdd, onCancel }) {
  $("box-add").addEventListener("click", () => onAdd(box));
  $("box-cancel").addEventListener("click", onCancel);
  layer.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    corner = place(event);
    layer.setPointerCapture(event.pointerId);
    $("box").focus();
  });
  layer.addEventListener("pointermove", (event) => {
    const now = corner && place(event);
    // A press without a way leaves the box as it is.
    if (now && Math.abs(now.x - corner.x) > step / 4 && Math.abs(now.y - corner.y) > step / 4) {
      show(Math.min(corner.x, now.x), Math.min(corner.y, now.y), Math.max(corner.x, now.x), Math.max(corner.y, now.y));
    }
  });
  for (const end of ["pointerup", "pointercancel"]) layer.addEventListener(end, () => (corner = null));
  $("box").addEventListener("keydown", (event) => {
    if (event.key === "Enter") onAdd(box);
    else if (event.key === "Escape") onCancel();
    else if (event.key in KEYS) move(...KEYS[event.key].map((way) => way * step), event.shiftKey);
    else return;
    event.preventDefault();
  });
}

function move(right, down, sizes) {
  const [x1, y1, x2, y2] = box;
  if (sizes) show(x1, y1, Math.max(x1 + step, x2 + right), Math.max(y1 + step, y2 + down));
  else {
    const within = (way, low, high) => Math.min(1 - high, Math.max(-low, way)); // at the edge it keeps its size
    const [x, y] = [within(right, x1, x2), within(down, y1, y2)];
    show(x1 + x, y1 + y, x2 + x, y2 + y);
  }
}

function show(...wanted) {
  const [x1, y1, x2, y2] = wanted.map((value) => Math.min(1, Math.max(0, value)));
  if (x2 - x1 < step / 4 || y2 - y1 < step / 4) return; // pushed off the picture
  box = [x1, y1, x2, y2];
  const { style } = $("box");
  style.left = `${50 * (x1 + x2)}%`;
  style.top = `${50 * (y1 + y2)}%`;
  style.width = `${100 * (x2 - x1)}%`;
  style.height = `${100 * (y2 - y1)}%`;
}

function place({ clientX, clientY }) {
  const { left, top, width, height } = layer.getBoundingClientRect();
  return { x: (clientX - left) / width, y: (clientY - top) / height };
}
