// Recent activity: what happened to the account, in sentences.

import { call } from "./api.js";
import { byId, el, show, when } from "./page.js";
import { spaced } from "./rows.js";

const quoted = (text) => `“${text}”`;
const device = ({ device_name }) => device_name || "a passkey";
const named = ({ name }, otherwise) => (name ? quoted(name) : otherwise);
const who = ({ by }, person, operator) => (by === "operator" ? operator : person);
const METHODS = { backup_code: "a backup code", magic_link: "a sign-in link", password: "the password" };
const means = (event) => METHODS[event.method] || device(event);

// Each kind of event as a sentence without its end: the address and the time follow.
const SENTENCES = {
  "sign-in": (event) => `Signed in with ${means(event)}`,
  "sign-in-refused": (event) => `A sign-in with ${METHODS[event.method] || "a passkey"} was refused`,
  "signed-out": ({ tunnel }) => (tunnel ? `Signed out of ${tunnel}` : "Signed out"),
  "session-opened": (event) => `Opened ${event.tunnel} with ${device(event)}`,
  "session-ended": (event) =>
    `${who(event, "You", "The operator")} ended the session of ${device(event)} on ${event.tunnel || "the sign-in site"}`,
  "all-sessions-ended": (event) => `${who(event, "You", "The operator")} ended all sessions`,
  "passkey-registered": (event) => `Registered the passkey ${quoted(device(event))}`,
  "passkey-renamed": (event) => `Renamed a passkey to ${quoted(device(event))}`,
  "passkey-revoked": (event) => `Revoked the passkey ${quoted(device(event))}`,
  "passkey-counter-went-back": (event) => `${quoted(device(event))} may have been copied: its counter went back, and it was refused`,
  "access-token-made": (event) => `Made the access token ${named(event, "without a name")} for ${event.tunnel}`,
  "access-token-revoked": (event) => `Revoked the access token ${named(event, "without a name")}`,
  "fallback-turned-on": (event) => `Turned on the fallback ${named(event, "")}`,
  "fallback-turned-off": (event) => `Turned off the fallback ${named(event, "")}`,
  "backup-codes-made": () => "Made new backup codes; the former ones are good for nothing",
  "password-set": () => "Set a new password",
  "magic-link-sent": () => "A sign-in link was sent to your address",
  "magic-link-not-sent": () => "A sign-in link was asked for and not sent",
  "phone-code-made": ({ tunnel }) => `Showed a code to open ${tunnel} on a phone`,
  "phone-code-used": ({ tunnel }) => `A phone scanned the code for ${tunnel}`,
  "phone-approved": () => "Approved a phone that may make a passkey",
  "phone-denied": () => "Denied a phone",
  "tunnel-changed": ({ tunnel, reason }) => `Changed ${tunnel}${reason ? `: ${reason}` : ""}`,
  "tunnel-removed": (event) => `${who(event, "You", "The operator")} removed ${event.tunnel}`,
  "desktop-linked": (event) => `Linked the desktop ${named(event, "")} to ${event.tunnel}`,
  "desktop-denied": (event) => `Denied the desktop ${named(event, "")}`,
  "link-code-refused": () => "Typed a code that links no desktop",
  "link-token-made": () => "The operator made a token that links a desktop",
  "device-asked": (event) => `${quoted(device(event))} asked to be let in to ${event.tunnel}`,
  "device-approved": (event) => `${quoted(device(event))} was approved at the desktop of ${event.tunnel}`,
  "device-denied": (event) => `${quoted(device(event))} was denied at the desktop of ${event.tunnel}`,
  "device-expired": (event) => `Nobody approved ${quoted(device(event))} at the desktop of ${event.tunnel} in time`,
  "device-removed": (event) => `${quoted(device(event))} was removed at the desktop of ${event.tunnel}`,
  "user-added": () => "The operator added your account",
  "user-invited": () => "The operator invited you",
  "user-disabled": () => "The operator disabled your account",
  "user-enabled": () => "The operator enabled your account again",
};

// What is worth a second look.
const ALARMING = ["sign-in-refused", "passkey-counter-went-back", "device-denied", "magic-link-not-sent"];

function item(event) {
  const sentence = (SENTENCES[event.event] || (() => event.event.replace(/-/g, " ")))(event);
  const more = event.count > 1 && /refused/.test(event.event) ? ` (${event.count} times)` : "";
  return el("li", { class: ALARMING.includes(event.event) ? "activity alarming" : "activity" },
    el("div", { class: "what" },
      el("p", {}, sentence + more),
      el("p", { class: "meta" }, ...spaced([[when(event.at)], event.address && [`from ${event.address}`]]))));
}

/** Fills the list. What cannot be had is said in its place; the rest of the page does without. */
export async function showActivity() {
  let events = [];
  let said = "Nothing has happened yet.";
  try {
    events = await call("GET", "/activity");
  } catch (error) {
    said = "What happened lately cannot be shown right now.";
  }
  byId("activity").replaceChildren(...events.map(item));
  byId("activity-none").textContent = said;
  show(events.length === 0, "activity-none");
  show(events.length > 0, "activity");
}
