// Size, background, model and metadata: for the photos to come, and for the one that is shown.
import { $, make, write } from "./dom.js";
import { t } from "./i18n.js";
import { again, fits } from "./queue.js";
import { info, isFilm } from "./server.js";
import { keyOf } from "./words.js";

/** What further photos are restored with. */
export const defaults = { upscale: "auto" };
let current = null;

/** Once the server has said what there is. */
export function startOptions() {
  $("upscale").replaceChildren(
    ...info.upscales.map((n) => make("button", { type: "button", onclick: () => set({ upscale: n }), value: n })),
  );
  const standard = info.models.find((model) => model.default) ?? info.models[0];
  if (info.models.length > 1) defaults.model = standard.name;
  if (info.backgrounds.length > 1) defaults.background = info.backgrounds[0];
  fill($("model"), info.models.map((model) => model.name));
  fill($("background"), info.backgrounds);
  for (const name of ["model", "background"]) {
    $(name).addEventListener("change", () => set({ [name]: $(name).value }));
  }
  $("grain").addEventListener("change", () => set({ grain: $("grain").checked ? "keep" : "none" }));
  $("strip-metadata").addEventListener("change", () => set({ strip_metadata: $("strip-metadata").checked }));
}

function fill(select, names) {
  select.replaceChildren(...names.map((value) => make("option", { value })));
}

function set(changed) {
  Object.assign(defaults, changed);
  if (current?.file) again(current, { ...current.options, ...changed });
  else renderOptions(current);
}

/** Show the options of a photo; null: those of the photos to come. */
export function renderOptions(item) {
  current = item;
  // The page was loaded anew and has the file no longer: then these are for the photos to come.
  const bare = item !== null && item.file === null;
  const options = bare ? defaults : (item?.options ?? defaults);
  $("options").hidden = item?.problem?.status === 415; // no option would make a photo of it
  $("options").classList.toggle("card", item !== null);
  const home = $(item === null ? "settings-home" : "settings-work");
  if ($("options").parentElement !== home) home.append($("options"));
  for (const button of $("upscale").children) {
    const n = Number(button.value);
    const auto = button.value === "auto";
    write(button, auto ? t("auto") : n === 1 ? t("timesOne") : t("times", { n }));
    button.setAttribute("aria-pressed", String(button.value === String(options.upscale)));
    button.disabled = item !== null && !bare && !fits(item, auto ? "auto" : n);
  }
  const film = item !== null && isFilm(item);
  // The page without a server has neither.
  $("background-row").hidden = $("grain-row").hidden = info.backgrounds.length < 2 || film;
  $("model-row").hidden = info.models.length < 2;
  for (const option of $("background").children) {
    write(option, ["lanczos", "clean", "realesrgan"].includes(option.value) ? t(option.value) : option.value);
    option.disabled = option.value === "realesrgan" && options.upscale === 1;
  }
  for (const [index, option] of [...$("model").children].entries()) {
    write(option, info.models[index].default ? t("modelDefault", { name: option.value }) : option.value);
  }
  if (options.background) $("background").value = options.background;
  if (options.model) $("model").value = options.model;
  $("grain").checked = options.grain === "keep";
  $("strip-metadata").checked = Boolean(options.strip_metadata);
  write($("options-hint"), t(item === null ? "autoHint" : keyOf(item, bare ? "noFile" : "runsAgain")));
}
