// Nobody is signed in here. This worker takes the place of the app's, removes itself, and lets its pages load anew,
// so that they reach the sign-in.
self.addEventListener("install", () => {
  self.skipWaiting();
  // An app's worker that holds on to its events is let finish, for minutes, and answers meanwhile; not so once the
  // registration is gone. Its end waits for this event's, so this event does not wait for it.
  self.registration.unregister();
});
self.addEventListener("activate", (event) => {
  const leave = async () => {
    // None to claim, where the registration is gone: its pages are this worker's already.
    await self.clients.claim().catch(() => {});
    const pages = await self.clients.matchAll({ type: "window" });
    await self.registration.unregister();
    // A browser without navigate(), or a page that is closing: its next load is free of any worker all the same.
    await Promise.all(pages.map((page) => page.navigate && page.navigate(page.url).catch(() => {})));
  };
  event.waitUntil(leave());
});
