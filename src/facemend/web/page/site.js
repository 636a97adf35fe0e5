// A site that needs no server: the service worker keeps it for use without a network, and gives it the headers that let
// pages share memory between threads. A page has these from its second load on, so the first visit is loaded twice.
const KEY = "facemend.loaded";
const PATIENCE = 5000; // ms

/** Resolves when the page can begin. */
export const started = start();

async function start() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register(new URL("../sw.js", import.meta.url));
  } catch {
    return; // storage is switched off: one thread, and only with a network
  }
  if (crossOriginIsolated || wasLoaded()) return;
  if (!navigator.serviceWorker.controller) await taken();
  if (navigator.serviceWorker.controller) {
    location.reload();
    await new Promise(() => {}); // this page is over
  }
}

/** Whether it was loaded again already: some browsers never share memory. */
function wasLoaded() {
  try {
    const before = sessionStorage.getItem(KEY);
    sessionStorage.setItem(KEY, "yes");
    return before !== null;
  } catch {
    return true;
  }
}

function taken() {
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
    setTimeout(resolve, PATIENCE);
  });
}
