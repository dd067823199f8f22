// /link: a desktop shows a code and waits; here its person looks at who asks, and decides.

import { signedIn } from "./account.js";
import { call } from "./api.js";
import { signInHere } from "./ask.js";
import * as ceremony from "./ceremony.js";
import { explain } from "./explain.js";
import { busy, byId, el, hush, isBusy, say, show, when } from "./page.js";
import { use } from "./passkey.js";
import { obstacle } from "./passkey_support.js";
import { passkeysFail } from "./passkey_trouble.js";
import { SignIn } from "./sign_in.js";

const VIEWS = ["signed-out", "code-form", "request", "over"];
const signIn = new SignIn({});
const form = byId("decision");
const approve = byId("approve");

let code = new URLSearchParams(location.search).get("code") || "";
let desktop = "";
let ready = null;

const isReady = () => ready !== null && ceremony.goodFor(ready) > 0;

/** Fetches the ceremony of an approval, unless a good one is at hand. */
async function prepare() {
  if (!isReady()) {
    ready = await ceremony.begin("/link/confirm", { user_code: code });
  }
  return ready;
}

/**
 * The touch that approves what is shown. With a ceremony at hand nothing is awaited before the dialog: Safari 14 opens it
 * only within the click itself.
 */
async function confirmation() {
  const begun = isReady() ? ready : await prepare();
  const credential = await use(ceremony.options(begun));
  ready = null;
  return { ceremony: begun.ceremony, credential };
}

/** Shows one of the views, and nothing said before. */
function view(id) {
  hush();
  for (const one of VIEWS) {
    show(one === id, one);
  }
}

function fail(error) {
  if (error.status === 401) {
    signedOut();
    return;
  }
  // What can no longer be decided is no longer shown.
  if (error.is && error.is("link-code-refused")) {
    enterCode();
  }
  const said = explain(error);
  if (said) {
    say("bad", said.what, said.next);
  }
}

function signedOut() {
  signedIn(false);
  view("signed-out");
  const wall = obstacle();
  byId("passkey-button").disabled = Boolean(wall);
  if (wall) {
    passkeysFail("unavailable");
    say("bad", wall.what, wall.next);
  } else {
    signIn.prepare().catch(() => {});
  }
}

function enterCode() {
  signedIn(true);
  view("code-form");
  byId("code").value = "";
  byId("code").focus();
}

function option(tunnel) {
  const known = [
    tunnel.name && tunnel.id,
    tunnel.desktop && `Served by “${tunnel.desktop}”, ${tunnel.online ? "online now" : "offline now"}`,
  ].filter(Boolean).join(" · ");
  const input = el("input", { type: "radio", name: "tunnel", value: tunnel.id });
  input.dataset.name = tunnel.name || tunnel.id;
  input.dataset.desktop = tunnel.desktop || "";
  return el("label", { class: "option" }, input,
    el("span", {}, el("strong", {}, `Take over ${tunnel.name || tunnel.id}`), el("span", { class: "meta" }, known)));
}

const chosen = () => form.querySelector("input[name=tunnel]:checked");

/** What the choice means, before it is made. */
function choose() {
  const { value, dataset } = chosen();
  show(value !== "", "warning");
  approve.textContent = value ? `Approve and take over ${dataset.name}` : "Approve";
  approve.className = value ? "danger" : "primary";
  const former = dataset.desktop ? `“${dataset.desktop}”, which serves it now,` : "The desktop that serves it now";
  byId("warning").textContent = value
    ? `${former} is cut off at once and for good. Whoever opens ${dataset.name} reaches the new desktop instead.`
    : "";
}

async function load() {
  const request = await call("POST", "/link/lookup", { user_code: code });
  signedIn(true);
  view("request");
  desktop = request.name;
  byId("desktop").textContent = desktop;
  byId("fingerprint").textContent = request.fingerprint;
  byId("address").textContent = request.address || "not known";
  byId("asked").replaceChildren(when(request.requested_at));
  byId("others").replaceChildren(...request.tunnels.map(option));
  show(request.tunnels.length > 0, "choice");
  form.querySelector("input[name=tunnel]").checked = true;
  choose();
  byId("request-title").focus();
  ready = null;
  prepare().catch(() => {});
}

function over(title, outcome) {
  view("over");
  document.title = `${title} · patapim`;
  byId("title").textContent = title;
  byId("outcome").textContent = outcome;
  byId("title").focus();
}

async function decide(button, text, action, then) {
  if (isBusy(approve) || isBusy(byId("deny"))) {
    return;
  }
  hush();
  const done = busy(button, text);
  try {
    then(await action());
  } catch (error) {
    fail(error);
    // Not for a code that was just refused: it would count as one more guess.
    if (!byId("request").hidden) {
      prepare().catch(() => {});
    }
  } finally {
    done();
  }
}

function approved({ tunnel, tunnel_url: url, approved_by: passkey }) {
  over(`“${desktop}” is linked`, `It serves ${tunnel} from now on, at ${url}. Its terminal goes on by itself.`);
  if (passkey) {
    byId("passkey").textContent = passkey.name;
    byId("passkey-fingerprint").textContent = passkey.fingerprint;
  }
  show(Boolean(passkey), "trusted");
  show(true, "next-step");
}

form.addEventListener("change", choose);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const tunnel = chosen().value || undefined;
  decide(approve, "Waiting for your passkey …", async () =>
    call("POST", "/link/approve", { user_code: code, tunnel, confirmation: await confirmation() }), approved);
});
byId("deny").addEventListener("click", () =>
  decide(byId("deny"), "Denying …", () => call("POST", "/link/deny", { user_code: code }), () =>
    over("Denied", `“${desktop}” was told so. Nothing was linked, and its code is of no use any more.`)));

byId("code-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = byId("code-button");
  code = byId("code").value.trim();
  if (isBusy(button) || !code) {
    return;
  }
  hush();
  const done = busy(button, "Looking …");
  try {
    await load();
  } catch (error) {
    fail(error);
  } finally {
    done();
  }
});

byId("passkey-button").addEventListener("click", async (event) => {
  if (!isBusy(event.currentTarget) && (await signInHere(signIn, event.currentTarget))) {
    begin();
  }
});

/** With a code in the address, to what it is for; without, to where one is typed. */
async function begin() {
  try {
    if (code) {
      await load();
    } else {
      await call("GET", "/tunnels");
      enterCode();
    }
  } catch (error) {
    signedIn(false);
    fail(error);
  }
}

byId("edge-url").textContent = location.origin;
begin();
