// Access tokens: listed, made, shown once, revoked.

import { call } from "./api.js";
import { attempt, withFreshSignIn } from "./ask.js";
import { copies } from "./copy.js";
import { ask } from "./dialog.js";
import { busy, byId, day, el, hush, isBusy, say, show, when } from "./page.js";
import { action, fill, path, row, spaced, title } from "./rows.js";

const DAY = 24 * 60 * 60 * 1000;

const form = byId("token-form");
const opener = byId("token-button");

function tokenRow(token, act) {
  const revoke = () =>
    ask(`Revoke “${token.name}”?`, ["Whatever uses it is refused from now on, and what it has open closes at once."],
      { text: "Revoke", class: "danger", doing: "Revoking …" },
      () => attempt(() => act("Revoked.", () => call("DELETE", path("access-tokens", token)))));
  const known = [
    [el("code", {}, token.tunnel)],
    spaced([
      ["Made ", day(token.created_at)],
      ["Ends ", when(token.expires_at)],
      token.last_used_at ? ["Last used ", when(token.last_used_at)] : ["Never used"],
    ]),
  ];
  return row("access-token", title(token.name), known, [action("revoke", "Revoke", token.name, revoke)]);
}

/** Shows how things are; `act` as for passkeys. */
export function showAccessTokens({ tokens, tunnels }, act) {
  fill(byId("tokens"), tokens, (token) => tokenRow(token, act), "No script has one yet.");
  const chosen = byId("token-tunnel").value;
  byId("token-tunnel").replaceChildren(...tunnels.map((tunnel) =>
    el("option", { value: tunnel.id, selected: tunnel.id === chosen }, tunnel.name ? `${tunnel.name} (${tunnel.id})` : tunnel.id)));
  show(tunnels.length > 0 && form.hidden, "token-button");
  show(tunnels.length === 0, "token-needs-tunnel");
}

/** Forgets the text of a token that was just made. */
export function forgetMadeToken() {
  byId("token-text").textContent = "";
  show(false, "token-made");
}

function openForm(open) {
  form.hidden = !open;
  opener.hidden = open;
  opener.setAttribute("aria-expanded", String(open));
  (open ? byId("token-name") : opener).focus();
}

/** A token's text is in this page and nowhere else until it is copied. */
function showMade(name, text) {
  byId("token-made-name").textContent = name;
  byId("token-text").textContent = text;
  show(true, "token-made");
  byId("token-made").focus();
}

/** Wires the form up. `load` shows how things are, `fail` says what went wrong. */
export function startAccessTokens(load, fail) {
  const make = async (event) => {
    event.preventDefault();
    const button = byId("token-confirm");
    const name = byId("token-name").value.trim();
    if (isBusy(button) || !name) {
      return;
    }
    hush();
    const done = busy(button, "Making it …");
    try {
      const made = await withFreshSignIn(() => {
        const expires = new Date(Date.now() + Number(byId("token-term").value) * DAY).toISOString();
        return call("POST", "/access-tokens", { name, tunnel: byId("token-tunnel").value, expires_at: expires });
      });
      form.reset();
      openForm(false);
      showMade(name, made.token);
      say("good", `“${name}” is made.`, "Copy it now: it is not shown again.");
      await load();
    } catch (error) {
      fail(error);
    } finally {
      done();
    }
  };
  opener.addEventListener("click", () => {
    hush();
    forgetMadeToken();
    openForm(true);
  });
  byId("token-cancel").addEventListener("click", () => openForm(false));
  byId("token-done").addEventListener("click", () => {
    forgetMadeToken();
    hush();
    opener.focus();
  });
  form.addEventListener("submit", make);
  copies(byId("token-copy"), byId("token-text"));
}
