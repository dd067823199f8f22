// The panel. The key came behind the "#" of the link; it is kept for this tab and sent in a header with each call.

const KEY = "patapim-panel-key";
const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text, never markup. */
function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

const call = (path, options) =>
  fetch("/api/" + path, { cache: "no-store", ...options, headers: { Authorization: "Bearer " + takeKey() } });

function trouble(text) {
  const status = byId("status");
  status.hidden = !text;
  status.textContent = text || "";
}

const UNITS = [[86400, "day"], [3600, "hour"], [60, "minute"]];

/** A time as people say it, with the exact one at hand. */
function when(text) {
  const at = new Date(text);
  const ago = Math.max(0, (Date.now() - at) / 1000);
  const unit = UNITS.find(([seconds]) => ago >= seconds);
  const count = unit && Math.floor(ago / unit[0]);
  const said = unit ? count + " " + unit[1] + (count > 1 ? "s" : "") + " ago" : "just now";
  return el("time", { datetime: text, title: at.toLocaleString() }, said);
}

/** A time to come: the hour today, and the day too when it is another. */
function clock(text) {
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  const said = at.toLocaleString([], { weekday: today ? undefined : "short", hour: "2-digit", minute: "2-digit" });
  return el("time", { datetime: text, title: at.toLocaleString() }, said);
}

/** What was decided is shown when the agent says so; only what failed is told here. */
async function decide(id, what, button) {
  button.setAttribute("aria-disabled", "true");
  try {
    const answer = await call("devices/" + encodeURIComponent(id) + "/" + what, { method: "POST" });
    if (answer.ok) return trouble("");
    const problem = await answer.json().catch(() => ({}));
    trouble(problem.detail || "That could not be done.");
  } catch (_) {
    trouble("The agent did not answer. Is it still running?");
  }
  button.removeAttribute("aria-disabled");
}

const button = (text, label, kind, press) =>
  el("button", { type: "button", class: kind, "aria-label": label, click: (event) => press(event.currentTarget) }, text);

const KINDS = {
  "passkey": "with a passkey",
  "backup-code": "with a backup code: let in this once, never kept",
  "magic-link": "with a link from an email: let in this once, never kept",
  "password": "with a password: let in this once, never kept",
};

function asking(one) {
  const facts = el("dl", { class: "facts" });
  const fact = (name, value) => value && facts.append(el("dt", {}, name), el("dd", {}, value));
  fact("From", one.address);
  fact("Signed in", KINDS[one.kind] || "in a way that this agent does not know");
  fact("Fingerprint of its passkey", one.fingerprint && el("code", {}, one.fingerprint));
  fact("Browser", one.browser);
  return el("li", { class: "asking" },
    el("div", { class: "asking-head" },
      el("p", { class: "number", "aria-label": "Number " + one.number }, String(one.number)),
      el("div", { class: "what" }, el("h3", {}, one.name || "A device without a name"),
        el("p", { class: "meta" }, "asked ", when(one.since), ", until ", clock(one.until)))),
    facts,
    el("p", { class: "hint" }, "Approve it only if it is yours and its screen shows " + one.number + "."),
    el("div", { class: "actions" },
      button("Approve", "Approve " + one.name + ", number " + one.number, "primary", (pressed) => decide(one.id, "approve", pressed)),
      button("Deny", "Deny " + one.name + ", number " + one.number, "end", (pressed) => decide(one.id, "deny", pressed))));
}

function trusted(one) {
  const actions = el("div", { class: "actions" });
  const ask = () => {
    const yes = button("Remove", "Remove " + one.name + " and end its sessions", "danger", (pressed) => decide(one.id, "remove", pressed));
    const no = button("Keep", "Keep " + one.name, "quiet", () => offer(true));
    actions.replaceChildren(yes, no);
    yes.focus();
  };
  const offer = (focus) => {
    const remove = button("Remove", "Remove " + one.name, "quiet revoke", ask);
    actions.replaceChildren(remove);
    if (focus) remove.focus();
  };
  offer(false);
  return el("li", {},
    el("div", { class: "what" }, el("strong", {}, one.name),
      el("p", { class: "meta" }, "Last used ", one.last_used ? when(one.last_used) : "never", " · approved ", when(one.since),
        one.address ? " · " + one.address : ""),
      el("p", { class: "fingerprint" }, el("code", {}, one.fingerprint))),
    actions);
}

const live = (one) => el("li", {},
  el("div", { class: "what" }, el("strong", {}, one.name || "A device without a name"),
    one.script ? el("span", { class: "tag" }, "script") : null,
    el("p", { class: "meta" }, "Since ", when(one.since), " · from " + one.address, " · until ", clock(one.until)),
    one.browser ? el("p", { class: "meta" }, one.browser) : null,
    one.checked ? el("p", { class: "meta" }, one.checked) : null));

const refused = (one) => el("li", {},
  el("div", { class: "what" }, el("strong", {}, one.name || "A device without a name"),
    el("p", { class: "meta" }, when(one.at), " · from " + one.address),
    el("p", { class: "warning" }, one.why)));

const STATES = {
  "connected": "Connected",
  "connecting": "Connecting",
  "waiting": "Not connected",
  "replaced": "Replaced by a newer agent",
  "stopping": "Stopping",
};

function tunnel(state, url) {
  const dot = el("span", { class: state.state === "connected" ? "dot on" : "dot", "aria-hidden": "true" });
  const problem = state.problem ? ": " + state.problem : "";
  byId("tunnel").replaceChildren(dot, (STATES[state.state] || state.state) + problem + " · ",
    el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url.replace(/^https?:\/\//, "")));
}

// A part is made anew only when it changed, so that nobody loses their place in another.
const shown = {};
function part(name, data, make, nothing) {
  const text = JSON.stringify(data);
  if (shown[name] === text) return;
  shown[name] = text;
  byId(name).replaceChildren(...(data.length ? data.map(make) : [nothing]));
}

function show(all) {
  byId("main").classList.remove("loading");
  byId("open").hidden = false;
  byId("heading").textContent = all.desktop || "This desktop";
  document.title = (all.waiting.length ? "(" + all.waiting.length + ") " : "") + (all.desktop || "This desktop") + " · patapim";
  if (shown.tunnel !== JSON.stringify([all.tunnel, all.url])) {
    shown.tunnel = JSON.stringify([all.tunnel, all.url]);
    tunnel(all.tunnel, all.url);
  }
  byId("reports").replaceChildren(...all.reports.map((text) => el("p", { class: "status bad" }, text)));
  byId("devices-hint").textContent = all.asks
    ? "These passkeys are let in without a question. Removing one ends its sessions."
    : "This agent lets in any passkey of the tunnel’s owner (--trust owner); only other ways to sign in are asked about.";
  part("waiting", all.waiting, asking, el("li", { class: "nobody" }, "Nobody is asking right now. This page shows it when somebody does."));
  part("devices", all.devices, trusted, el("li", { class: "nothing" }, "None yet: the first device to sign in is asked about."));
  byId("refused-part").hidden = !all.refused.length;
  part("refused", all.refused.slice().reverse(), refused, "");
  part("sessions", all.sessions, live, el("li", { class: "nothing" }, "Nobody is in."));
}

/** Reads what the agent says, line by line, for as long as it runs. */
async function listen() {
  const answer = await call("live");
  if (answer.status === 401) throw new Error("key");
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += decoder.decode(value, { stream: true });
    const lines = held.split("\n");
    held = lines.pop();
    for (const line of lines) {
      if (line) {
        trouble("");
        show(JSON.parse(line));
      }
    }
  }
}

async function run() {
  if (!takeKey()) return locked();
  for (;;) {
    try {
      await listen();
    } catch (error) {
      if (error.message === "key") return locked();
    }
    byId("main").classList.remove("loading");
    byId("open").hidden = true;
    trouble("The agent is not running. Start patapim-agent run again, and open the link that it prints.");
    await new Promise((again) => setTimeout(again, 2000));
  }
}

function locked() {
  sessionStorage.removeItem(KEY);
  byId("main").classList.remove("loading");
  byId("open").hidden = true;
  trouble("Open the link that the agent printed when it started: this page needs the key in it.");
}

addEventListener("hashchange", () => location.reload());
run();
