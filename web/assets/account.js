// What every signed-in page has: the way around, and the way out.

import { call } from "./api.js";
import { explain } from "./explain.js";
import { busy, byId, isBusy, say, show } from "./page.js";

async function signOut(event) {
  const button = event.currentTarget;
  if (isBusy(button)) {
    return;
  }
  const done = busy(button, "Signing out …");
  try {
    await call("POST", "/sign-out");
    location.assign("/");
  } catch (error) {
    done();
    if (error.status === 401) {
      location.assign("/");
    } else {
      const { what, next } = explain(error);
      say("bad", what, next);
    }
  }
}

/** Shows the navigation to somebody who is signed in, hides it from anybody else. */
export function signedIn(yes) {
  show(yes, "nav");
  byId("main").classList.remove("loading");
}

byId("sign-out").addEventListener("click", signOut);
// Back by the browser's page cache, perhaps after somebody signed out: nothing is shown from memory.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
