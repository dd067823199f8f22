// /: my tunnels, or a welcome.

import { signedIn } from "./account.js";
import { call } from "./api.js";
import { copies } from "./copy.js";
import { explain } from "./explain.js";
import { byId, el, hush, say, show, when } from "./page.js";
import { codeShown, phoneButton } from "./phone_code.js";

// Where a sign-in for a tunnel that is not one's own ends; whether there is such a tunnel is not told.
const noAccess = new URLSearchParams(location.search).has("no-access");

function card(tunnel) {
  const state = tunnel.online ? ["Online"] : tunnel.last_seen ? ["Offline, last seen ", when(tunnel.last_seen)] : ["Not seen yet"];
  return el("li", {},
    el("a", { class: "tunnel", href: `/auth?tunnel=${encodeURIComponent(tunnel.id)}` },
      el("strong", { class: "name" }, tunnel.name || tunnel.id),
      el("span", { class: "meta" },
        el("span", { class: tunnel.online ? "dot on" : "dot" }),
        ...state,
        tunnel.desktop ? ` · ${tunnel.desktop}` : "",
        tunnel.name ? ` · ${tunnel.id}` : "")),
    phoneButton(tunnel));
}

function list(tunnels) {
  signedIn(true);
  show(false, "welcome");
  show(true, "mine");
  byId("title").textContent = tunnels.length ? "Your tunnels" : "No desktop is linked yet";
  byId("link-title").textContent = tunnels.length ? "Link another desktop" : "Link your desktop";
  byId("tunnels").replaceChildren(...tunnels.map(card));
  show(tunnels.length > 0, "tunnels");
}

function welcome() {
  signedIn(false);
  show(false, "mine");
  show(true, "welcome");
  document.title = "Welcome · patapim";
  byId("title").textContent = "Your apps at home, from any browser";
}

async function load() {
  try {
    list(await call("GET", "/tunnels"));
    if (noAccess) {
      say("bad", "That tunnel cannot be opened with this account.", "Choose one of yours, or sign in as the person whose it is.");
    } else {
      hush();
    }
  } catch (error) {
    if (error.status === 401) {
      welcome();
    } else {
      signedIn(false);
      const { what, next } = explain(error);
      say("bad", what, next);
    }
  }
}

byId("edge-url").textContent = location.origin;
copies(byId("copy-link"), byId("link-command"));
copies(byId("copy-run"), byId("run-command"));
// A desktop may have come or gone while the page was out of sight.
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && !codeShown() && load());
load();
