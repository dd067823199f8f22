// /enrol: the first passkey, made with an invitation.

import { explain } from "./explain.js";
import { busy, byId, hush, isBusy, say, show } from "./page.js";
import { obstacle } from "./passkey_support.js";
import { Registration } from "./register.js";
import { suggestedName } from "./device_name.js";

// The ticket leaves the address bar, and with it the history, before anything else happens.
const ticket = new URLSearchParams(location.search).get("ticket");
history.replaceState(null, "", location.pathname);

const button = byId("enrol-button");
const name = byId("name");
const registration = new Registration(ticket);

function fail(error) {
  const said = explain(error);
  if (said) {
    say("bad", said.what, said.next);
  }
}

/** There is nothing to be done on this page. */
function stop({ what, next }) {
  show(false, "invited", "destination");
  say("bad", what, next);
}

/** Gets a ceremony before the click. Shows whom the invitation is for; refused from the start, it is no longer good. */
async function prepare() {
  if (!name.value.trim()) {
    return;
  }
  try {
    const { publicKey } = await registration.prepare(name.value.trim());
    byId("account").textContent = publicKey.user.name;
    byId("destination").classList.remove("awaited");
  } catch (error) {
    if (!registration.ready && error.status < 429) {
      stop(explain(error));
      show(true, "instead");
    } else {
      fail(error);
    }
  }
}

async function make(event) {
  event.preventDefault();
  const chosen = name.value.trim();
  if (isBusy(button) || !chosen) {
    return;
  }
  hush();
  const done = busy(button, "Waiting for your passkey …");
  try {
    await registration.make(chosen);
    arrived();
  } catch (error) {
    fail(error);
    done();
  }
}

function arrived() {
  document.title = "Your passkey is ready · patapim";
  byId("title").textContent = "Your passkey is ready";
  show(false, "invited", "destination");
  show(true, "done");
  byId("title").focus();
}

async function begin() {
  const wall = obstacle();
  if (wall) {
    stop(wall);
    return;
  }
  if (!ticket) {
    stop({
      what: "The invitation is missing from this page’s address.",
      next: "Open the link you were given once more. The address bar does not keep it, so reloading does not help.",
    });
    show(true, "instead");
    return;
  }
  byId("enrol-form").addEventListener("submit", make);
  name.addEventListener("change", prepare);
  if (!name.value) {
    name.value = await suggestedName();
  }
  prepare();
}

begin();
