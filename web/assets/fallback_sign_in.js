// /auth: other ways to sign in, for when no passkey is at hand. Shown by themselves when passkeys fail.

import { call } from "./api.js";
import { explain } from "./explain.js";
import { busy, byId, hush, isBusy, say, show } from "./page.js";
import { whenPasskeysFail } from "./passkey_trouble.js";

const KINDS = ["code", "link", "password"];

const query = new URLSearchParams(location.search);
const wanted = {};
for (const name of ["tunnel", "bind", "return_to"]) {
  if (query.get(name)) {
    wanted[name] = query.get(name);
  }
}

/** Opens the form of one kind, or closes it. */
function choose(kind) {
  const open = kind !== null && byId(`${kind}-form`).hidden;
  for (const one of KINDS) {
    const shown = open && one === kind;
    show(shown, `${one}-form`);
    byId(`${one}-choice`).setAttribute("aria-expanded", String(shown));
  }
  if (open) {
    byId(`${kind}-form`).querySelector("input").focus();
  }
}

/** What a form does when it is sent: `body` makes the call's body, `done` goes on from its answer. */
function sends(kind, path, doing, body, done) {
  byId(`${kind}-choice`).addEventListener("click", () => {
    hush();
    choose(kind);
  });
  byId(`${kind}-form`).addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = byId(`${kind}-button`);
    if (isBusy(button)) {
      return;
    }
    hush();
    const free = busy(button, doing);
    try {
      done(await call("POST", path, Object.assign(body(), wanted)));
    } catch (error) {
      const { what, next } = explain(error);
      say("bad", what, next);
      byId("status").scrollIntoView({ block: "nearest" });
    } finally {
      free();
    }
  });
}

function enter({ redirect }) {
  say("good", "Signed in.", "One moment …");
  location.replace(redirect);
}

const typed = (id) => byId(id).value.trim();

sends("code", "/sign-in/backup-code", "Signing in …", () => ({ user: typed("code-user"), code: typed("code") }), enter);
sends("password", "/sign-in/password", "Signing in …",
  () => ({ user: typed("password-user"), password: byId("password").value }), enter);
sends("link", "/sign-in/magic-link", "Asking …", () => ({ email: typed("email") }), () => {
  choose(null);
  say("good", "Look at your mail.", `If ${typed("email")} belongs to an account that uses links, one is on its way. Open it in this browser within 10 minutes.`);
  byId("status").scrollIntoView({ block: "nearest" });
});

call("GET", "/sign-in").then((ways) => show(ways.magic_link, "link-choice")).catch(() => {});
whenPasskeysFail(() => {
  byId("others").open = true;
});
