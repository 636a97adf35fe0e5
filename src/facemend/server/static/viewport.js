// Which part of the picture the frame shows: by wheel, pinch, drag, double click and keys. It is kept in shares of the
// picture, so that it stays over another size of the window, another look and another photo.
const STEP = 1.5; // of a key or a button
const PAN = 0.15; // of the frame, of a key
const WHEEL = 0.002; // of the logarithm, for a pixel
const PINCH = 0.01; // the same for a touchpad, whose pinch comes as a wheel with Ctrl, in small steps
const LINE = 33; // pixels, where a wheel counts lines
const MIDDLE = { x: 0.5, y: 0.5 };
const KEYS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const onButton = ({ target }) => target.closest("button") !== null;
const within = (value, least, most) => Math.min(most, Math.max(least, value));

export class Viewport {
  /**
   * `isOn()`: whether there is a picture to look at; `actual()`: the scale at which one of its pixels is one of the
   * screen; `isHandle(event)`: a press that is for the divider. `onChange()` is called after every change.
   */
  constructor(frame, { isOn, actual, isHandle, onChange }) {
    Object.assign(this, { frame, isOn, actual, isHandle, onChange });
    this.scale = 1; // 1: all of the picture
    this.middle = MIDDLE; // of what is seen
    this.pointers = new Map(); // id -> where it is
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("dblclick", (event) => this.#doubleClick(event));
    frame.addEventListener("pointerdown", (event) => this.#down(event));
    addEventListener("pointermove", (event) => this.#move(event));
    const up = ({ pointerId }) => this.pointers.delete(pointerId);
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, up);
    // Before the slider, which knows of one finger and of other arrow keys.
    frame.addEventListener("touchmove", (event) => this.#touch(event), { capture: true, passive: false });
    frame.addEventListener("keydown", (event) => this.#key(event), { capture: true });
  }

  get isFit() {
    return Math.abs(this.scale - 1) < 0.001;
  }

  get isActual() {
    return Math.abs(this.scale / this.actual() - 1) < 0.001;
  }

  /** Nearer or farther; the place `at` of the frame, in shares of it, stays where it is. */
  zoom(scale, at = MIDDLE) {
    const actual = this.actual();
    const next = within(scale, Math.min(1, actual), Math.max(8, 4 * actual));
    const shift = 1 / this.scale - 1 / next;
    this.#show(next, this.middle.x + (at.x - 0.5) * shift, this.middle.y + (at.y - 0.5) * shift);
  }

  nearer = () => this.zoom(this.scale * STEP);
  farther = () => this.zoom(this.scale / STEP);

  /** Move the picture by shares of the frame. */
  pan(right, down) {
    this.#show(this.scale, this.middle.x - right / this.scale, this.middle.y - down / this.scale);
  }

  #show(scale, x, y) {
    const half = Math.min(0.5, 0.5 / scale); // nothing beside the picture is shown where that can be helped
    this.scale = scale;
    this.middle = { x: within(x, half, 1 - half), y: within(y, half, 1 - half) };
    const { style, classList } = this.frame;
    style.setProperty("--zoom", scale);
    style.setProperty("--x", `${100 * (0.5 - this.middle.x * scale)}%`);
    style.setProperty("--y", `${100 * (0.5 - this.middle.y * scale)}%`);
    classList.toggle("near", scale > 1 && !this.isFit);
    this.onChange();
  }

  #place({ clientX, clientY }) {
    const box = this.frame.getBoundingClientRect();
    return { x: (clientX - box.left) / box.width, y: (clientY - box.top) / box.height };
  }

  #wheel(event) {
    const { deltaY, deltaMode, ctrlKey } = event;
    // All of it is seen, and it is to be farther away: then the wheel is for the page.
    if (!this.isOn() || (deltaY > 0 && this.scale <= 1 && !ctrlKey)) return;
    event.preventDefault();
    const pixels = deltaY * (deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE);
    this.zoom(this.scale * Math.exp(-pixels * (ctrlKey ? PINCH : WHEEL)), this.#place(event));
  }

  #doubleClick(event) {
    if (!this.isOn() || onButton(event)) return;
    const actual = this.actual();
    this.zoom(this.isFit ? (actual > 1.05 ? actual : 2) : 1, this.#place(event));
  }

  #down(event) {
    if (!this.isOn() || event.button !== 0 || onButton(event) || this.isHandle(event)) return;
    this.pointers.set(event.pointerId, this.#place(event));
  }

  #move(event) {
    const { pointers } = this;
    const from = pointers.get(event.pointerId);
    if (from === undefined) return;
    const to = this.#place(event);
    pointers.set(event.pointerId, to);
    if (pointers.size === 1 && this.scale > 1) this.pan(to.x - from.x, to.y - from.y);
    if (pointers.size !== 2) return;
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    const { width, height } = this.frame.getBoundingClientRect();
    const distance = (place) => Math.hypot((place.x - other.x) * width, (place.y - other.y) * height);
    const between = { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 };
    this.zoom((this.scale * distance(to)) / Math.max(1, distance(from)), between);
    this.pan((to.x - from.x) / 2, (to.y - from.y) / 2);
  }

  #touch(event) {
    if (event.touches.length < 2 || !this.isOn()) return;
    event.stopPropagation();
    if (event.cancelable) event.preventDefault();
  }

  #key(event) {
    const { key, ctrlKey, metaKey, altKey, shiftKey } = event;
    if (!this.isOn() || ctrlKey || metaKey || altKey) return;
    if (key === "+" || key === "=") this.nearer();
    else if (key === "-") this.farther();
    else if (key === "0") this.zoom(1);
    else if (key === "1") this.zoom(this.actual());
    else if (key in KEYS && this.scale > 1 && !shiftKey) this.pan(...KEYS[key].map((way) => PAN * way));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
