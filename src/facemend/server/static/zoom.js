// One face, large: before and after.
import { showFace } from "./api.js";
import { $, cancel, startSlider, write } from "./dom.js";
import { t } from "./i18n.js";
import { toggle } from "./stage.js";

const dialog = $("zoom");
let open = null; // {item, index, job}

const divider = startSlider($("zoom-slider"), { say: (n) => t("sliderValue", { n }) });
$("zoom-close").addEventListener("click", () => dialog.close());
$("zoom-chosen").addEventListener("change", () => toggle(open.item, open.index));
$("zoom-back").addEventListener("click", () => turn(-1));
$("zoom-next").addEventListener("click", () => turn(1));
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside it
});
dialog.addEventListener("close", letGo);

/** Show a face large. */
export function openZoom(item, index) {
  open = { item, index, job: item.job };
  divider.move(50);
  render();
  dialog.showModal();
  $("zoom-slider").focus();
}

/** The photo has changed: follow it, or close. */
export function renderZoom(item) {
  if (open === null) return;
  if (item === open.item && item.job === open.job && item.state === "done") render();
  else {
    letGo(); // at once, while the event of closing comes later
    dialog.close();
  }
}

function letGo() {
  open = null;
  for (const id of ["zoom-before", "zoom-after"]) cancel($(id));
}

function turn(step) {
  const faces = open.job.faces.filter((face) => face.restored).map((face) => face.index);
  open.index = faces[(faces.indexOf(open.index) + step + faces.length) % faces.length];
  render();
}

function render() {
  const { item, index, job } = open;
  const all = job.faces.filter((face) => face.restored).length;
  write($("zoom-title"), all > 1 ? t("faceOf", { n: index + 1, all }) : t("face", { n: 1 }));
  showFace($("zoom-before"), job.id, index, "before");
  showFace($("zoom-after"), job.id, index, "after", item.w);
  $("zoom-chosen").checked = item.chosen.has(index);
  $("zoom-turn").hidden = all < 2;
}
