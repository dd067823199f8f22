// /auth/email: a sign-in link that was mailed, redeemed by a press. Opening the page uses nothing up.

import { call } from "./api.js";
import { explain } from "./explain.js";
import { busy, byId, hush, isBusy, say, show } from "./page.js";

// After the “#”, where no server, log or scanner sees it; and not left in the address or the history either.
let token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

function useless(what, next) {
  say("bad", what, next);
  show(false, "email-form");
  show(true, "instead");
}

async function press(event) {
  event.preventDefault();
  const button = byId("email-button");
  if (isBusy(button)) {
    return;
  }
  hush();
  const done = busy(button, "Signing in …");
  try {
    const { redirect } = await call("POST", "/sign-in/magic-link/redeem", { token });
    token = "";
    say("good", "Signed in.", "One moment …");
    location.replace(redirect);
  } catch (error) {
    done();
    if (error.is && error.is("sign-in-refused")) {
      useless("This link does not work here.", error.message);
    } else {
      const { what, next } = explain(error);
      say("bad", what, next);
    }
  }
}

if (token) {
  byId("email-form").addEventListener("submit", press);
  byId("email-button").focus();
} else {
  useless("There is no link on this page any more.", "Open it from the mail again, or ask for another.");
}
// Another link, opened in this tab, is another page.
window.addEventListener("hashchange", () => location.reload());
