// A question in front of the page, made by hand: Safari before 15.4 has no <dialog>, and `inert` came later still.
//
// While it is open, Tab stays in it, Escape and a press beside it close it, screen readers are kept out of the page
// behind, and what is said is said in it. Afterwards the focus is where it was.

import { busy, el, hush, isBusy, sayNow } from "./page.js";
import { again } from "./rows.js";

let closeOpen = () => {};

const REACHABLE = "a[href], button:not(:disabled), input, select, textarea";

/** Keeps Tab within `form`. */
function trap(form, event) {
  const stops = Array.from(form.querySelectorAll(REACHABLE)).filter((one) => one.offsetParent !== null);
  const last = stops[stops.length - 1];
  const [from, to] = event.shiftKey ? [stops[0], last] : [last, stops[0]];
  if (document.activeElement === from || !form.contains(document.activeElement)) {
    event.preventDefault();
    to.focus();
  }
}

/** Hides what is behind from screen readers; gives how to undo it. */
function hideBehind() {
  const hidden = Array.from(document.body.children).filter((one) => !one.hasAttribute("aria-hidden"));
  hidden.forEach((one) => one.setAttribute("aria-hidden", "true"));
  document.documentElement.classList.add("asking");
  return () => {
    hidden.forEach((one) => one.removeAttribute("aria-hidden"));
    document.documentElement.classList.remove("asking");
  };
}

/**
 * Asks `title`, with `details` (text, or elements: what there is to read, and fields) under it. `yes` is the confirming
 * button: `{text, class, doing}`. `answer` is called when it is pressed and closes the dialog by giving true; what it
 * takes while does not let go of the dialog. Gives true if it did, false if the person thought better of it.
 */
export function ask(title, details, yes, answer) {
  closeOpen();
  hush();
  const before = again(document.activeElement);
  const showBehind = hideBehind();
  return new Promise((resolve) => {
    const close = (result) => {
      // A second question may have taken its place meanwhile.
      if (veil.isConnected) {
        veil.remove();
        showBehind();
        closeOpen = () => {};
        before().focus();
        sayNow();
      }
      resolve(result);
    };
    const confirm = el("button", { class: `confirm ${yes.class}`, type: "submit" }, yes.text);
    const cancel = el("button", { class: "cancel", type: "button", onclick: () => close(false) }, "Cancel");
    const text = el("div", { id: "dialog-text" }, ...details.map((one) => (typeof one === "string" ? el("p", {}, one) : one)));
    const form = el("form", {
      class: "dialog", role: yes.class === "danger" ? "alertdialog" : "dialog",
      "aria-modal": "true", "aria-labelledby": "dialog-title", "aria-describedby": "dialog-text",
    },
      el("h2", { id: "dialog-title" }, title),
      text,
      el("div", { class: "status", role: "alert" }),
      el("div", { class: "actions" }, cancel, confirm));
    const veil = el("div", { class: "veil" }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (isBusy(confirm)) {
        return;
      }
      hush();
      const done = busy(confirm, yes.doing || yes.text);
      const over = await answer(confirm).catch(() => false);
      done();
      if (over) {
        close(true);
      }
    });
    veil.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !isBusy(confirm)) {
        close(false);
      } else if (event.key === "Tab") {
        trap(form, event);
      }
    });
    // A press that began within, at the end of some text that was being chosen, is not meant to close.
    veil.addEventListener("mousedown", (event) => event.target === veil && !isBusy(confirm) && close(false));
    closeOpen = () => close(false);
    document.body.append(veil);
    const field = form.querySelector("input, textarea, select");
    // What cannot be undone is not under the finger that opened the question.
    (field || (yes.class === "danger" ? cancel : confirm)).focus();
    if (field && field.select) {
      field.select();
    }
  });
}

/** Takes an open question away, unanswered. */
export const closeDialog = () => closeOpen();
