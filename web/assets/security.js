// /settings/security: passkeys, sessions, access tokens.

import { forgetMadeToken, showAccessTokens, startAccessTokens } from "./access_tokens.js";
import { signedIn } from "./account.js";
import { showActivity } from "./activity.js";
import { call } from "./api.js";
import { line, signInHere, sure, withFreshSignIn } from "./ask.js";
import { browser, suggestedName } from "./device_name.js";
import { explain } from "./explain.js";
import { forgetFallbacks, showFallbacks, startFallbacks } from "./fallback_settings.js";
import { busy, byId, day, el, hush, isBusy, say, show, when } from "./page.js";
import { obstacle } from "./passkey_support.js";
import { passkeysFail } from "./passkey_trouble.js";
import { Registration } from "./register.js";
import { path, row, rowOf, spaced } from "./rows.js";
import { SignIn } from "./sign_in.js";

const signIn = new SignIn({});
const registration = new Registration();

/** Nobody is signed in (any more), or something failed. `done` is what had been achieved before. */
function fail(error, done) {
  if (error.status === 401) {
    signedOut(done);
    return;
  }
  const said = explain(error);
  if (said) {
    say("bad", said.what, said.next);
  }
}

/** Does `action` for something in `place`, then shows how things are now. Focus stays in its row, or goes to `heading`. */
async function act(place, heading, done, action) {
  hush();
  let achieved = "";
  try {
    await withFreshSignIn(place, action);
    achieved = done;
    await load();
    say("good", done);
    const row = Array.from(document.querySelectorAll("li")).find((one) => one.dataset.id === place.dataset.id);
    (row ? row.querySelector("button") : byId(heading)).focus();
  } catch (error) {
    fail(error, achieved);
  }
}

function passkeyRow(passkey) {
  const rename = async (event) => {
    const place = rowOf(event);
    const name = await line(place, "New name", passkey.name, "Save");
    if (name !== null && name !== passkey.name) {
      act(place, "passkeys-title", "Renamed.", () => call("PATCH", path("passkeys", passkey), { name }));
    }
  };
  const revoke = async (event) => {
    const place = rowOf(event);
    const text = `Revoke “${passkey.name}”? It can no longer sign in; every session it opened and every access token made with it ends at once.`;
    if (await sure(place, text, "Revoke")) {
      act(place, "passkeys-title", "Revoked.", () => call("DELETE", path("passkeys", passkey)));
    }
  };
  const known = [
    spaced([
      passkey.device_type && [passkey.device_type],
      passkey.provider && [passkey.provider],
      [passkey.synced ? "Synced" : "Device-bound"],
    ]),
    spaced([
      ["Registered ", day(passkey.registered_at)],
      passkey.last_used_at ? ["Last used ", when(passkey.last_used_at)] : ["Never used"],
    ]),
    [el("code", { class: "fingerprint" }, passkey.fingerprint)],
  ];
  return row("passkey", passkey, el("strong", { class: "name" }, passkey.name), known, [
    el("button", { class: "rename quiet", type: "button", "aria-label": `Rename ${passkey.name}`, onclick: rename }, "Rename"),
    el("button", { class: "revoke quiet", type: "button", "aria-label": `Revoke ${passkey.name}`, onclick: revoke }, "Revoke"),
  ]);
}

function sessionRow(session) {
  const where = session.tunnel || "Sign-in site";
  const end = (event) =>
    act(rowOf(event), "sessions-title", "Ended.", () => call("DELETE", path("sessions", session)));
  const known = [
    spaced([
      [session.device_name],
      session.user_agent && [browser(session.user_agent)],
      session.address && [session.address],
    ]),
    spaced([["Since ", when(session.since)], ["Last seen ", when(session.last_seen)]]),
  ];
  const title = el("div", {}, el("strong", { class: "name" }, where),
    session.current ? el("span", { class: "tag" }, "This browser") : null);
  return row("session", session, title, known, [
    el("button", { class: "end quiet", type: "button", "aria-label": `End the session on ${where}`, onclick: end }, "End"),
  ]);
}

async function endAll(event) {
  const place = event.currentTarget.parentElement;
  if (await sure(place, "End every session, this one included? Whatever they have open closes at once. Access tokens go on.", "End all")) {
    act(place, "sessions-title", "All sessions are ended.", () => call("DELETE", "/sessions"));
  }
}

const form = byId("register-form");
const opener = byId("register-button");

function openRegister(open) {
  form.hidden = !open;
  opener.hidden = open;
  opener.setAttribute("aria-expanded", String(open));
  (open ? byId("name") : opener).focus();
}

/** Gets a ceremony first, so that a fresh sign-in is asked for before the name is. */
async function startRegister() {
  hush();
  const name = await suggestedName();
  try {
    await withFreshSignIn(opener.parentElement, () => registration.prepare(name));
    byId("name").value = name;
    openRegister(true);
    byId("name").select();
  } catch (error) {
    fail(error);
  }
}

async function register(event) {
  event.preventDefault();
  const button = byId("register-confirm");
  const name = byId("name").value.trim();
  if (isBusy(button) || !name) {
    return;
  }
  hush();
  const done = busy(button, "Waiting …");
  try {
    await withFreshSignIn(form.parentElement, () => registration.make(name));
    openRegister(false);
    await load();
    say("good", `“${name}” is registered.`, "It can sign in as you from now on.");
  } catch (error) {
    fail(error);
  } finally {
    done();
  }
}

async function load() {
  const [passkeys, sessions, tokens, tunnels, fallbacks] = await Promise.all(
    ["/passkeys", "/sessions", "/access-tokens", "/tunnels", "/fallbacks"].map((list) => call("GET", list)));
  byId("passkeys").replaceChildren(...passkeys.map(passkeyRow));
  byId("sessions").replaceChildren(...sessions.map(sessionRow));
  show(sessions.length > 0, "end-all");
  showAccessTokens(tokens, tunnels, act);
  showActivity();
  showFallbacks(fallbacks, sessions.length > 0 ? sessions[0].user : "");
  signedIn(true);
  show(false, "signed-out");
  show(true, "settings");
}

function signedOut(said) {
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

async function enter(event) {
  if (!isBusy(event.currentTarget) && (await signInHere(signIn, event.currentTarget))) {
    begin();
  }
}

async function begin() {
  try {
    await load();
    byId("title").focus();
  } catch (error) {
    signedIn(false);
    fail(error);
  }
}

byId("passkey-button").addEventListener("click", enter);
byId("register-button").addEventListener("click", startRegister);
byId("register-cancel").addEventListener("click", () => openRegister(false));
form.addEventListener("submit", register);
byId("name").addEventListener("change", () => registration.prepare(byId("name").value.trim()).catch(() => {}));
byId("end-all").addEventListener("click", endAll);
startAccessTokens(load, fail);
startFallbacks(load, fail);
begin();
