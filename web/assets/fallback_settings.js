// Authentication Fallbacks: seen, set up, switched on and off.

import { call } from "./api.js";
import { sure, withFreshSignIn } from "./ask.js";
import { copies } from "./copy.js";
import { busy, byId, el, hush, isBusy, say, show, when } from "./page.js";

const form = byId("password-form");
let codes = [];

function state(id, on, parts) {
  show(on, `${id}-tag`);
  byId(`${id}-state`).replaceChildren(...parts);
}

/** Shows how things are: the answer of `GET /fallbacks`, and whose, for the browser that keeps passwords. */
export function showFallbacks({ backup_codes, magic_link, password }, user) {
  byId("password-account").defaultValue = user;
  const made = backup_codes.changed_at !== null;
  state("codes", backup_codes.enabled, !made
    ? ["Off. Ten codes to keep on paper; each signs you in once."]
    : [`${backup_codes.left} of 10 left · Changed `, when(backup_codes.changed_at)]);
  byId("codes-make").textContent = made ? "New codes" : "Set up";
  byId("codes-switch").textContent = backup_codes.enabled ? "Turn off" : "Turn on";
  show(backup_codes.enabled || backup_codes.left > 0, "codes-switch");

  const where = magic_link.email ? `A link to ${magic_link.email}, good for 10 minutes in the browser that asks.` : "";
  const missing = !magic_link.available
    ? "Not available: this edge sends no mail."
    : "Not available: there is no e-mail address on your account. The person who runs this edge can add one.";
  const possible = magic_link.available && Boolean(magic_link.email);
  state("link", magic_link.enabled, [possible ? `${magic_link.enabled ? "" : "Off. "}${where}` : missing]);
  byId("link-switch").textContent = magic_link.enabled ? "Turn off" : "Turn on";
  show(possible || magic_link.enabled, "link-switch");

  state("password", password.enabled, password.set_up && password.changed_at
    ? [password.enabled ? "Changed " : "Off. Changed ", when(password.changed_at)]
    : ["Off. Choose a long one that you use nowhere else."]);
  byId("password-open").textContent = password.set_up ? "Change" : "Set up";
  byId("password-switch").textContent = password.enabled ? "Turn off" : "Turn on";
  show(password.enabled || password.set_up, "password-switch");
  show(password.set_up, "current-field");
}

/** Forgets what was made or typed. */
export function forgetFallbacks() {
  codes = [];
  byId("codes-list").replaceChildren();
  show(false, "codes-made");
  openPassword(false);
}

function showCodes(made) {
  codes = made;
  byId("codes-list").replaceChildren(...made.map((code) => el("li", {}, el("code", {}, code))));
  show(true, "codes-made");
  byId("codes-made").focus();
}

function download() {
  const text = `Backup codes for ${location.host}\nMade ${new Date().toLocaleString()}. Each works once.\n\n${codes.join("\n")}\n`;
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = el("a", { href: address, download: "patapim-backup-codes.txt" });
  link.click();
  URL.revokeObjectURL(address);
}

/** Only the codes are on the paper; style.css sees to it. */
function print() {
  document.body.classList.add("printing-codes");
  window.addEventListener("afterprint", () => document.body.classList.remove("printing-codes"), { once: true });
  window.print();
}

function openPassword(open) {
  form.reset();
  reveal();
  form.hidden = !open;
  byId("password-open").setAttribute("aria-expanded", String(open));
}

function reveal() {
  const type = byId("password-show").checked ? "text" : "password";
  byId("password-current").type = type;
  byId("password-new").type = type;
}

/** Wires the section up. `load` shows how things are, `fail` says what went wrong. */
export function startFallbacks(load, fail) {
  const change = async (button, doing, said, action) => {
    if (isBusy(button)) {
      return null;
    }
    hush();
    const done = busy(button, doing);
    try {
      const answer = await withFreshSignIn(action);
      done();
      await load();
      say("good", said);
      return answer || {};
    } catch (error) {
      done();
      fail(error);
      return null;
    }
  };

  byId("codes-make").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    const again = button.textContent !== "Set up";
    if (again && !(await sure("Make ten new codes?", ["The old ones no longer work, and whoever signed in with one is signed out at once."], "Make new codes"))) {
      return;
    }
    const made = await change(button, "Making them …", "Ten codes are made.", () => call("POST", "/fallbacks/backup-codes"));
    if (made) {
      showCodes(made.codes);
    }
  });
  byId("codes-download").addEventListener("click", download);
  byId("codes-print").addEventListener("click", print);
  byId("codes-done").addEventListener("click", () => {
    forgetFallbacks();
    hush();
    byId("codes-make").focus();
  });
  copies(byId("codes-copy"), { get textContent() { return codes.join("\n"); } });

  const switches = (id, path, name) => byId(`${id}-switch`).addEventListener("click", async (event) => {
    const button = event.currentTarget;
    const on = button.textContent === "Turn on";
    if (!on && !(await sure(`Turn off ${name}?`, ["Whoever signed in that way is signed out at once."], "Turn off"))) {
      return;
    }
    await change(button, "One moment …", on ? "Turned on." : "Turned off.", () => call("PUT", `/fallbacks/${path}`, { enabled: on }));
  });
  switches("codes", "backup-codes", "backup codes");
  switches("link", "magic-link", "sign-in links by e-mail");
  switches("password", "password", "the password");

  byId("password-open").addEventListener("click", () => {
    hush();
    openPassword(form.hidden);
    if (!form.hidden) {
      form.querySelector(".field:not([hidden]) input").focus();
    }
  });
  byId("password-cancel").addEventListener("click", () => {
    openPassword(false);
    byId("password-open").focus();
  });
  byId("password-show").addEventListener("change", reveal);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = { new: byId("password-new").value };
    if (byId("password-current").value) {
      body.current = byId("password-current").value;
    }
    if (await change(byId("password-confirm"), "Saving …", "Your password is set.", () => call("PUT", "/fallbacks/password", body))) {
      openPassword(false);
      byId("password-open").focus();
    }
  });
}
