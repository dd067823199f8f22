// /phone: on the phone that scanned a code from a computer's screen.

import { call } from "./api.js";
import { suggestedName } from "./device_name.js";
import { explain } from "./explain.js";
import { busy, byId, hush, isBusy, say, show } from "./page.js";
import { obstacle } from "./passkey_support.js";
import { Registration } from "./register.js";

// The code leaves the address bar, and with it the history, before anything else happens.
const code = new URLSearchParams(location.search).get("code");
history.replaceState(null, "", location.pathname);

const VIEWS = ["start", "choice", "asking", "make", "done"];
let phone = "";
let registration = null;

/** Shows one of the views; none: there is nothing to be done here any more. */
function view(id) {
  hush();
  for (const one of VIEWS) {
    show(one === id, one);
  }
}

function fail(error) {
  if (error.is && error.is("phone-code-refused")) {
    view(null);
    say("bad", "This code is no longer good.", error.message);
    return;
  }
  const said = explain(error);
  if (said) {
    say("bad", said.what, said.next);
  }
}

/** Runs `action` while `button` says so. */
async function during(button, text, action) {
  if (isBusy(button)) {
    return;
  }
  hush();
  const done = busy(button, text);
  try {
    await action();
  } catch (error) {
    fail(error);
  } finally {
    done();
  }
}

async function start() {
  const found = await call("POST", "/phone-codes/scan", { code });
  phone = found.phone;
  byId("tunnel").textContent = found.tunnel;
  byId("user").textContent = found.user;
  show(true, "destination");
  const wayIn = `/auth?tunnel=${encodeURIComponent(found.tunnel)}`;
  byId("sign-in").href = wayIn;
  byId("open").href = wayIn;
  view("choice");
  byId("title").focus();
}

async function ask() {
  const { number } = await call("POST", "/phone-codes/ask", { phone });
  byId("number").textContent = String(number);
  view("asking");
  byId("title").focus();
  decided().catch(fail);
}

/** Waits for the computer's word. */
async function decided() {
  let state = "asking";
  while (state === "asking") {
    const told = await call("POST", "/phone-codes/poll", { phone, state });
    state = told.state;
    if (told.ticket) {
      registration = new Registration(told.ticket);
    }
  }
  if (!registration) {
    view(null);
    say("bad", "Your computer said no.", "If that was a slip, have it show a new code.");
    return;
  }
  view("make");
  byId("name").value = await suggestedName();
  byId("title").focus();
  registration.prepare(byId("name").value).catch(fail);
}

async function make() {
  await registration.make(byId("name").value.trim());
  view("done");
  byId("title").textContent = "Your passkey is ready";
  byId("title").focus();
}

byId("continue").addEventListener("click", () => during(byId("continue"), "One moment …", start));
byId("ask").addEventListener("click", () => during(byId("ask"), "Asking your computer …", ask));
byId("make").addEventListener("submit", (event) => {
  event.preventDefault();
  during(byId("create"), "Waiting for your passkey …", make);
});
if (!code) {
  view(null);
  say("bad", "There is no code in this page’s address.", "Scan it once more. The address bar does not keep it, so reloading does not help.");
} else if (obstacle()) {
  view(null);
  const { what, next } = obstacle();
  say("bad", what, next);
}
