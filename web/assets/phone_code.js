// "Open on your phone": a picture on this screen, and what the phone that scanned it asks for.

import { call } from "./api.js";
import { withFreshSignIn } from "./ask.js";
import { explain } from "./explain.js";
import { busy, el, hush, isBusy, say } from "./page.js";

const SVG = "http://www.w3.org/2000/svg";
// The light border that readers look for, in modules (ISO/IEC 18004).
const BORDER = 4;

let close = () => {};

/** A picture from rows of 1 (dark) and 0: dark on light in both themes, as cameras want it. */
function picture(rows, label) {
  const size = rows.length + 2 * BORDER;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.setAttribute("class", "qr");
  const light = document.createElementNS(SVG, "rect");
  light.setAttribute("width", String(size));
  light.setAttribute("height", String(size));
  light.setAttribute("fill", "#ffffff");
  const dark = document.createElementNS(SVG, "path");
  const modules = rows.map((row, y) => Array.from(row.matchAll(/1+/g),
    ({ 0: run, index: x }) => `M${x + BORDER} ${y + BORDER}h${run.length}v1h-${run.length}z`).join(""));
  dark.setAttribute("d", modules.join(""));
  dark.setAttribute("fill", "#000000");
  svg.append(light, dark);
  return svg;
}

/** What the page says at each step; `act` decides about the phone. */
function told(code, { state, number, phone, address }, act) {
  const from = `${phone || "A phone"}${address ? ` at ${address}` : ""}`;
  switch (state) {
    case "shown":
      return [
        picture(code.rows, `A code for your phone’s camera: it opens ${code.tunnel} there`),
        el("p", {}, "Scan this with your phone’s camera."),
        el("p", { class: "hint" }, "It works once, for a minute, and signs nobody in by itself: that takes your passkey."),
      ];
    case "scanned":
      return [
        el("p", {}, el("strong", {}, "Scanned."), ` ${from} has the code. Go on there.`),
        el("p", { class: "hint" }, "If your own phone says that the code was used, somebody else scanned it: it gave them nothing, and you can close this."),
      ];
    case "asking":
      return [
        el("p", {}, el("strong", {}, "Let this phone make a passkey for your account?")),
        el("p", {}, from),
        el("p", { class: "number" }, String(number)),
        el("p", { class: "hint" }, "Approve only if your own phone shows the same number. Whoever holds it can sign in as you from then on."),
        el("div", { class: "actions" },
          el("button", { class: "primary approve", type: "button", onclick: (event) => act(event, "approve") }, "Approve"),
          el("button", { class: "quiet deny", type: "button", onclick: (event) => act(event, "deny") }, "Deny")),
      ];
    case "approved":
    case "used":
      return [el("p", {}, el("strong", {}, "Approved."), " Make the passkey on your phone now.")];
    case "denied":
      return [el("p", {}, el("strong", {}, "Denied."), " That phone got nothing.")];
    default:
      return [el("p", {}, "The code has expired. Have a new one shown when your phone is at hand.")];
  }
}

/** Shows a code for `tunnel` in `place`, and goes along with it until it is used or over. */
async function open(place, tunnel) {
  close();
  hush();
  const made = await withFreshSignIn(() => call("POST", "/phone-codes", { tunnel }));
  const code = Object.assign({ tunnel }, made);
  const path = `/phone-codes/${encodeURIComponent(code.id)}`;
  const view = el("div", { role: "status", "aria-live": "polite" });
  const closer = el("button", { class: "quiet close", type: "button", onclick: () => close() }, "Close");
  const box = el("div", { class: "ask phone-code" }, view, closer);
  let closed = false;
  let state = "shown";
  close = () => {
    closed = true;
    close = () => {};
    box.remove();
    const button = place.querySelector("button.to-phone");
    if (button) {
      button.focus();
    }
    if (state === "asking") {
      call("POST", `${path}/deny`).catch(() => {});
    }
  };
  const act = async (event, verdict) => {
    const button = event.currentTarget;
    if (isBusy(button)) {
      return;
    }
    const done = busy(button, "One moment …");
    try {
      await withFreshSignIn(() => call("POST", `${path}/${verdict}`));
    } catch (error) {
      const said = explain(error);
      if (said) {
        say("bad", said.what, said.next);
      }
    } finally {
      done();
    }
  };
  const tell = (news) => {
    state = news.state;
    // Whoever is asked answers.
    closer.hidden = state === "asking";
    view.replaceChildren(...told(code, news, act));
  };
  tell({ state });
  place.append(box);
  closer.focus();
  while (!closed && !["used", "denied", "over"].includes(state)) {
    let news;
    try {
      news = await call("POST", `${path}/wait`, { state });
    } catch (error) {
      news = { state: "over" };
    }
    if (!closed && news.state !== state) {
      tell(news);
    }
  }
}

/** The button that shows a code for a tunnel. */
export function phoneButton(tunnel) {
  const press = (event) => {
    const place = event.currentTarget.closest("li");
    open(place, tunnel.id).catch((error) => {
      const said = explain(error);
      if (said) {
        say("bad", said.what, said.next);
      }
    });
  };
  const label = `Open ${tunnel.name || tunnel.id} on your phone`;
  return el("button", { class: "to-phone quiet", type: "button", "aria-label": label, onclick: press }, "Open on your phone");
}

/** Whether a code is on the screen: then the list must not be drawn anew under it. */
export const codeShown = () => document.querySelector(".phone-code") !== null;
