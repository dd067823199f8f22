// Nobody is signed in here. This worker takes the place of the app's, removes itself, and lets its pages load anew,
// so that they reach the sign-in.
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => {
  const leave = async () => {
    await self.clients.claim();
    const pages = await self.clients.matchAll({ type: "window" });
    await self.registration.unregister();
    // A browser without navigate(), or a page that is closing: its next load is free of any worker all the same.
    await Promise.all(pages.map((page) => page.navigate && page.navigate(page.url).catch(() => {})));
  };
  event.waitUntil(leave());
});
