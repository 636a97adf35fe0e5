// Small helpers around the page's elements.

/** The element with that id. */
export const $ = (id) => document.getElementById(id);

/** A new element: properties, then children. Names with a dash are attributes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Fill a canvas with a picture; its size becomes the picture's. */
export function draw(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

/** The middle of a picture as a square. */
export function drawSquare(canvas, picture, side) {
  const part = Math.min(picture.width, picture.height);
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const left = (picture.width - part) / 2;
  const top = (picture.height - part) / 5; // faces are rather above the middle
  context.drawImage(picture, left, top, part, part, 0, 0, side, side);
}

/** Write only what is new, so that nothing is read out twice. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Ask no longer for a picture that is on its way: what it shows may be deleted next. */
export const cancel = (picture) => picture.removeAttribute("src");

/** Whether somebody asked for less motion. */
export const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A before/after slider: keys, and what it says to a screen reader. `say(percent)` gives the words. */
export function startSlider(slider, { say, onMove = () => {} }) {
  const told = () => {
    const value = Math.round(slider.value);
    slider.setAttribute("aria-valuenow", value);
    slider.setAttribute("aria-valuetext", say(value));
    onMove(value);
  };
  const move = (value) => {
    slider.value = Math.min(100, Math.max(0, value));
    told();
  };
  slider.addEventListener("slide", told);
  slider.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 2;
    const aims = {
      ArrowLeft: slider.value - step,
      ArrowRight: slider.value + step,
      ArrowDown: slider.value - step,
      ArrowUp: slider.value + step,
      PageDown: slider.value - 20,
      PageUp: slider.value + 20,
      Home: 0,
      End: 100,
    };
    if (!(event.key in aims) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move(aims[event.key]);
  });
  return { move, told };
}
