// /auth: sign in with a passkey, and on to where the server says.

import { busy, byId, hush, isBusy, say, show } from "./page.js";
import { explain, hasAutofill, obstacle } from "./passkey.js";
import { SignIn } from "./sign_in.js";

const query = new URLSearchParams(location.search);
const wanted = {};
for (const name of ["tunnel", "bind", "return_to"]) {
  if (query.get(name)) {
    wanted[name] = query.get(name);
  }
}

const button = byId("passkey-button");
const signIn = new SignIn(wanted);

function leave({ redirect }) {
  say("good", "Signed in.", wanted.tunnel ? `Opening ${wanted.tunnel} …` : "One moment …");
  location.replace(redirect);
}

function fail(error) {
  const said = explain(error, false);
  if (said) {
    say("bad", said.what, said.next);
  }
}

async function press(event) {
  event.preventDefault();
  if (isBusy(button)) {
    return;
  }
  hush();
  const done = busy(button, "Waiting for your passkey …");
  try {
    leave(await signIn.press());
  } catch (error) {
    fail(error);
    done();
    offer();
  }
}

/** Keeps a ceremony ready and the autofill armed. A choice that the server refuses is explained, then offered again. */
async function offer() {
  try {
    await signIn.prepare();
    const chosen = await signIn.offer();
    if (chosen) {
      busy(button, "Signed in");
      leave(chosen);
    }
  } catch (error) {
    fail(error);
  }
}

async function begin() {
  // Only what can be a tunnel's name is repeated on the page.
  if (/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(wanted.tunnel || "")) {
    byId("tunnel").textContent = wanted.tunnel;
    show(true, "destination");
  }
  const wall = obstacle();
  if (wall) {
    button.disabled = true;
    say("bad", wall.what, wall.next);
    return;
  }
  byId("sign-in-form").addEventListener("submit", press);
  show(await hasAutofill(), "autofill");
  offer();
}

// Back from the tunnel by the browser's page cache: what was ready then is stale now.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
begin();
