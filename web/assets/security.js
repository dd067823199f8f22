// /settings/security: everything that signs a person in, and everything that is signed in as them.

import { forgetMadeToken, showAccessTokens, startAccessTokens } from "./access_tokens.js";
import { signedIn } from "./account.js";
import { showActivity } from "./activity.js";
import { call } from "./api.js";
import { sayError, signInHere, withFreshSignIn } from "./ask.js";
import { showDesktops } from "./desktops.js";
import { closeDialog } from "./dialog.js";
import { forgetFallbacks, showFallbacks, startFallbacks } from "./fallback_settings.js";
import { follow } from "./live.js";
import { byId, hush, isBusy, say, show } from "./page.js";
import { changed } from "./passkey_signals.js";
import { obstacle } from "./passkey_support.js";
import { passkeysFail } from "./passkey_trouble.js";
import { showPasskeys, startPasskeys } from "./passkeys.js";
import { showSessions, startSessions } from "./sessions.js";
import { SignIn } from "./sign_in.js";
import { showTrustedDevices } from "./trusted_devices.js";

const signIn = new SignIn({});
let unfollow = null;

/** Nobody is signed in (any more), or something failed. */
function fail(error) {
  if (error.status === 401) {
    signedOut("");
  } else {
    sayError(error);
  }
}

/** Does `action`, says that it is `done`, and shows how things are now. Fails by throwing. */
async function act(done, action) {
  hush();
  const gives = await withFreshSignIn(action);
  try {
    await load();
    say("good", done);
  } catch (error) {
    // It was done all the same; it may have ended this very session.
    if (error.status === 401) {
      signedOut(done);
    } else {
      sayError(error);
    }
  }
  return gives;
}

/** Asks for everything and shows it. */
async function load() {
  const names = ["passkeys", "sessions", "access-tokens", "tunnels", "fallbacks"];
  const [passkeys, sessions, tokens, tunnels, fallbacks] = await Promise.all(names.map((name) => call("GET", `/${name}`)));
  const all = { passkeys, sessions, tokens, tunnels };
  showPasskeys(all, act);
  showSessions(all, act, fail);
  showDesktops(all, act);
  // Not waited for: a desktop may take its time to answer.
  showTrustedDevices(all, act).catch(fail);
  showAccessTokens(all, act);
  showActivity();
  showFallbacks(fallbacks, sessions.length > 0 ? sessions[0].user : "");
  signedIn(true);
  show(false, "signed-out");
  show(true, "settings");
}

function signedOut(said) {
  if (unfollow) {
    unfollow();
    unfollow = null;
  }
  closeDialog();
  signedIn(false);
  forgetMadeToken();
  forgetFallbacks();
  show(false, "settings");
  show(true, "signed-out");
  const wall = obstacle();
  byId("passkey-button").disabled = Boolean(wall);
  if (wall) {
    passkeysFail("unavailable");
    say("bad", wall.what, wall.next);
  } else {
    say("good", said);
    signIn.prepare().catch(() => {});
  }
}

/** Somebody else, or another window, changed something. */
const look = () => load().catch(fail);

async function begin() {
  try {
    await load();
    byId("title").focus();
  } catch (error) {
    signedIn(false);
    fail(error);
    return;
  }
  unfollow = window.EventSource ? follow(look) : null;
  changed();
}

byId("passkey-button").addEventListener("click", async (event) => {
  if (!isBusy(event.currentTarget) && (await signInHere(signIn, event.currentTarget))) {
    begin();
  }
});
startPasskeys(act, fail);
startSessions(act);
startAccessTokens(load, fail);
startFallbacks(load, fail);
begin();
