// PassKeys in the settings: listed, registered, renamed, revoked.

import { call } from "./api.js";
import { attempt, field, line, withFreshSignIn } from "./ask.js";
import { suggestedName } from "./device_name.js";
import { ask } from "./dialog.js";
import { busy, byId, day, el, hush, isBusy, plural, when } from "./page.js";
import { changed } from "./passkey_signals.js";
import { Registration } from "./register.js";
import { action, fill, path, row, spaced, title } from "./rows.js";
import { where } from "./sessions.js";

const registration = new Registration();
let known = { passkeys: [], sessions: [], tokens: [], tunnels: [] };

/** What ends with a passkey: sessions in words, and how many access tokens. */
function endsWith(passkey) {
  const sessions = known.sessions.filter((session) => session.device === passkey.id);
  const tokens = known.tokens.filter((token) => token.device === passkey.id).length;
  const list = sessions.map((session) =>
    el("li", {}, `${where(session, known.tunnels)}: ${session.browser || "a browser"}, last seen `, when(session.last_seen),
      session.current ? " (this is you, here)" : ""));
  if (tokens > 0) {
    list.push(el("li", {}, plural(tokens, "access token")));
  }
  return list.length === 0
    ? ["No session rests on it right now."]
    : ["These end with it, at once:", el("ul", { class: "ends" }, ...list)];
}

function passkeyRow(passkey, act) {
  const rename = () =>
    line("Rename this passkey", "New name", passkey.name, "Save", (name) =>
      act("Renamed.", () => call("PATCH", path("passkeys", passkey), { name })));
  const revoke = () =>
    ask(`Revoke “${passkey.name}”?`, ["It can no longer sign in as you. The device can be registered again later.", ...endsWith(passkey)],
      { text: "Revoke", class: "danger", doing: "Revoking …" },
      () => attempt(async () => {
        await act(`“${passkey.name}” is revoked.`, () => call("DELETE", path("passkeys", passkey)));
        changed();
      }));
  const here = known.sessions.some((session) => session.current && session.device === passkey.id);
  return row("passkey", title(passkey.name, here && "Used here"), [
    spaced([
      passkey.device_type !== "Unknown" && [passkey.device_type],
      passkey.provider && [passkey.provider],
      [passkey.synced
        ? el("span", { title: "Its keeper copies it to your other devices." }, "Synced")
        : el("span", { title: "It never leaves the device it was made on." }, "Device-bound")],
    ]),
    spaced([
      ["Registered ", day(passkey.registered_at)],
      passkey.last_used_at ? ["Last used ", when(passkey.last_used_at)] : ["Not used yet"],
    ]),
    [el("code", { class: "fingerprint", title: "Fingerprint of its public key" }, passkey.fingerprint)],
  ], [
    action("rename", "Rename", passkey.name, rename),
    action("revoke", "Revoke", passkey.name, revoke),
  ]);
}

/** A name that no passkey has yet. */
function freeName(wanted) {
  const taken = known.passkeys.map((passkey) => passkey.name);
  let name = wanted;
  for (let number = 2; taken.includes(name); number++) {
    name = `${wanted} ${number}`;
  }
  return name;
}

async function register(button, act, fail) {
  if (isBusy(button)) {
    return;
  }
  hush();
  const done = busy(button, "One moment …");
  try {
    const input = el("input", { type: "text", maxlength: "64", required: true, autocomplete: "off" });
    input.value = freeName(await suggestedName());
    // A ceremony is at hand before the press: so a fresh sign-in is asked for first, and Safari 14 opens its dialog.
    await withFreshSignIn(() => registration.prepare(input.value));
    input.addEventListener("change", () => registration.prepare(input.value.trim()).catch(() => {}));
    done();
    await ask("Register a passkey", [
      "Your browser asks where to keep it: on this device (Touch ID, Windows Hello, a screen lock), on your phone, or on a security key.",
      field("Name", input, "A good one says which device it is, such as “MacBook Pro Touch ID”."),
    ], { text: "Register", class: "primary", doing: "Waiting for your passkey …" }, async () => {
      const name = input.value.trim();
      return name !== "" && attempt(() => act(`“${name}” is registered.`, () => registration.make(name)));
    });
  } catch (error) {
    fail(error);
  } finally {
    done();
  }
}

/** Shows how things are. `act` does something, says so, and shows how things are again; it fails by throwing. */
export function showPasskeys(all, act) {
  known = all;
  const beside = (passkey) => known.sessions.some((session) => session.current && session.device === passkey.id);
  fill(byId("passkeys"), all.passkeys, (passkey) => passkeyRow(passkey, act),
    "No passkey yet. Until there is one, only your fallbacks sign you in.", beside);
}

/** Wires the section up. `fail` says what went wrong. */
export function startPasskeys(act, fail) {
  byId("register-button").addEventListener("click", (event) => register(event.currentTarget, act, fail));
}
