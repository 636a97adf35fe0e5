// Asks for the server's token, once, however many requests wait for it.
import { login } from "./api.js";
import { $, write } from "./dom.js";
import { t } from "./i18n.js";

const TROUBLES = { 0: "errorNetwork", 429: "loginWait", 503: "errorServer" };
let asking = null;

/** Resolves when the server has taken the token. */
export function askForToken() {
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

function ask() {
  const dialog = $("login");
  const field = $("token");
  return new Promise((resolve) => {
    // There is nothing to do here without the token: Escape does not close it, or where the browser insists, not for long.
    const stay = (event) => event.preventDefault();
    const reopened = new MutationObserver(() => dialog.open || dialog.showModal());
    const send = async (event) => {
      event.preventDefault();
      write($("login-wrong"), "");
      try {
        await login(field.value);
      } catch (error) {
        write($("login-wrong"), t(TROUBLES[error.status] ?? "loginWrong"));
        field.select();
        return;
      }
      $("login-form").removeEventListener("submit", send);
      dialog.removeEventListener("cancel", stay);
      reopened.disconnect();
      field.value = "";
      dialog.close();
      resolve();
    };
    $("login-form").addEventListener("submit", send);
    dialog.addEventListener("cancel", stay);
    dialog.showModal();
    reopened.observe(dialog, { attributeFilter: ["open"] });
  });
}
