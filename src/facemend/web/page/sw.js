// Keeps the site: its pages and programs at once, the networks as they are fetched. Answers from what is kept.
// An origin may hold several sites: each keeps, and clears away, what has its own path behind the name.
const HERE = ` ${new URL(registration.scope).pathname}`;
const PAGE = `facemend-page-{page}${HERE}`;
const MODELS = `facemend-models-{models}${HERE}`;
const NETWORKS = new URL("facemend-web/models/", registration.scope).href;
const FILES = {files};
const OURS = new Set(FILES.map((file) => new URL(file, registration.scope).href));
const HEADERS = {
  "Content-Security-Policy": "{policy}",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

addEventListener("install", (event) => {
  skipWaiting();
  const requests = FILES.map((file) => new Request(file, { cache: "no-cache" }));
  event.waitUntil(caches.open(PAGE).then((cache) => cache.addAll(requests)));
});

addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      const isOurs = (name) => name.startsWith("facemend-") && (name.endsWith(HERE) || !name.includes(" "));
      const old = (await caches.keys()).filter((name) => isOurs(name) && ![PAGE, MODELS].includes(name));
      await Promise.all(old.map((name) => caches.delete(name)));
      await clients.claim();
    })(),
  );
});

addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  url.search = url.hash = "";
  // Below the site's folder there may be what is not the site's.
  const isOurs = OURS.has(url.href) || url.href.startsWith(NETWORKS);
  if (event.request.method === "GET" && isOurs) event.respondWith(answer(event, url));
});

async function answer(event, url) {
  const network = url.href.startsWith(NETWORKS);
  const isReload = event.request.cache === "reload";
  const cache = await caches.open(network ? MODELS : PAGE);
  const kept = await cache.match(url.href);
  if (kept && !isReload) return headed(kept);
  // The browser's own cache may still have networks of the version before.
  const response = await fetch(event.request, network && !isReload ? { cache: "no-cache" } : {});
  // What breaks off on its way is not kept.
  if (response.ok && response.type === "basic") event.waitUntil(cache.put(url.href, response.clone()).catch(() => {}));
  return headed(response);
}

function headed(response) {
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
