// /auth: sign in with a passkey, and on to where the server says.

import { Problem } from "./api.js";
import { explain } from "./explain.js";
import { busy, byId, hush, isBusy, say, show } from "./page.js";
import { hasAutofill, obstacle, takesPhones } from "./passkey_support.js";
import { passkeysFail } from "./passkey_trouble.js";
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
  const said = explain(error);
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

/** Offers passkeys in the field's list, unless the browser's dialog is open. */
async function offer() {
  if (isBusy(button)) {
    return;
  }
  try {
    const chosen = await signIn.offer();
    if (chosen) {
      busy(button, "Signed in");
      leave(chosen);
    }
  } catch (error) {
    // Nobody asked for the offer; only what the server says to a choice is told.
    if (error instanceof Problem) {
      fail(error);
      if (error.is("ceremony-outlived")) {
        offer();
      }
    }
  }
}

/**
 * Resolves at the first sign of somebody there, or soon after. A page that is only passed through offers nothing, and
 * a virtual authenticator, which chooses from a list by itself, leaves the button to those who came to test it.
 */
function somebody() {
  return new Promise((done) => {
    for (const sign of ["pointermove", "pointerdown", "touchstart", "keydown", "focusin"]) {
      window.addEventListener(sign, done, { once: true, passive: true });
    }
    setTimeout(done, 3000);
  });
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
    passkeysFail("unavailable");
    say("bad", wall.what, wall.next);
    return;
  }
  byId("sign-in-form").addEventListener("submit", press);
  hasAutofill().then((has) => show(has, "autofill"));
  takesPhones().then((takes) => show(takes !== false, "by-phone"));
  try {
    await signIn.prepare();
  } catch (error) {
    fail(error);
  }
  await somebody();
  offer();
}

// Back from the tunnel by the browser's page cache: what was ready then is stale now.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
begin();
