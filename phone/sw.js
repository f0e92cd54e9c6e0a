// Keeps the page on the phone: it opens and answers without a network. FILES and VERSION are filled in by core/phone.py.
const VERSION = '{{version}}';
const FILES = ['{{files}}'];
// caches belong to all pages of a server: only this page's own are looked at and cleared away
const OURS = `dermlens ${self.registration.scope} `;
const NAME = OURS + VERSION;

self.addEventListener('install', (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(NAME);
    await cache.addAll([...FILES, ...await programs()].map((name) => new Request(name, {cache: 'reload'})));
    await self.skipWaiting();
  })());
});

async function ownCaches() {
  return (await caches.keys()).filter((name) => name.startsWith(OURS));
}

// of LiteRT's programs, those that an earlier version of the page kept: without them the new one would need a network
async function programs() {
  const kept = await Promise.all((await ownCaches()).map(async (name) => (await caches.open(name)).keys()));
  return new Set(kept.flat().map((request) => request.url).filter((url) => url.includes('/litert/litert_wasm')));
}

self.addEventListener('activate', (event) => {
  const others = ownCaches().then((names) => Promise.all(names.filter((name) => name !== NAME).map((name) => caches.delete(name))));
  event.waitUntil(others.then(() => self.clients.claim()));
});

// of LiteRT's programs for different browsers, the one that this browser asks for is kept when it asks
self.addEventListener('fetch', (event) => {
  const request = event.request;
  if (request.method !== 'GET' || new URL(request.url).origin !== self.location.origin) return;
  event.respondWith((async () => {
    const cache = await caches.open(NAME);
    const kept = await cache.match(request, {ignoreSearch: true});
    if (kept) return kept;
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone()).catch(console.warn); // no room: it works with a network
    return response;
  })());
});
