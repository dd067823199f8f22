// Questions that open under what they are about: a plain disclosure, because Safari 14 has no <dialog>.

import { explain } from "./explain.js";
import { busy, el, hush, isBusy, say } from "./page.js";
import { SignIn } from "./sign_in.js";

let closeOpen = () => {};

/**
 * Opens a question in `place`, one at a time on a page. `answer` is called by the confirming button and closes the
 * question by returning true. Gives true if it did, false if the person thought better of it.
 */
function question(place, label, fields, yes, answer) {
  closeOpen();
  hush();
  const before = document.activeElement;
  return new Promise((resolve) => {
    const close = (result) => {
      form.remove();
      closeOpen = () => {};
      if (before && before.isConnected) {
        before.focus();
      }
      resolve(result);
    };
    const confirm = el("button", { class: `confirm ${yes.class}`, type: "submit" }, yes.text);
    const form = el("form", { class: "ask", "aria-label": label },
      ...fields,
      el("div", { class: "actions" },
        confirm,
        el("button", { class: "cancel quiet", type: "button", onclick: () => close(false) }, "Cancel")));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!isBusy(confirm) && (await answer(confirm))) {
        close(true);
      }
    });
    form.addEventListener("keydown", (event) => event.key === "Escape" && close(false));
    closeOpen = () => close(false);
    place.append(form);
    (form.querySelector("input") || confirm).focus();
  });
}

/** "Are you sure?" */
export const sure = (place, text, yes) =>
  question(place, text, [el("p", {}, text)], { text: yes, class: "danger" }, () => true);

/** Asks for a line of text; gives it, or null. */
export async function line(place, label, value, yes) {
  const input = el("input", { type: "text", maxlength: "64", required: true, autocomplete: "off", "aria-label": label });
  input.value = value;
  const given = await question(place, label, [input], { text: yes, class: "primary" }, () => input.value.trim() !== "");
  return given ? input.value.trim() : null;
}

/** A sign-in without leaving the page, by a button already there. True if it worked; else the reason has been said. */
export async function signInHere(signIn, button) {
  hush();
  const done = busy(button, "Waiting for your passkey …");
  try {
    // Where it would lead is of no interest here: the cookie is what was wanted.
    await signIn.press();
    return true;
  } catch (error) {
    const said = explain(error);
    if (said) {
      say("bad", said.what, said.next);
    }
    signIn.prepare().catch(() => {});
    return false;
  } finally {
    done();
  }
}

/** Does `action`; if the server wants a fresh sign-in first, asks for it in `place` and does it again. */
export async function withFreshSignIn(place, action) {
  try {
    return await action();
  } catch (error) {
    if (!(error.is && error.is("step-up-required"))) {
      throw error;
    }
  }
  const signIn = new SignIn({});
  signIn.prepare().catch(() => {});
  const text = "Please confirm that it is you. Your last sign-in was more than 10 minutes ago.";
  const fresh = await question(place, text, [el("p", {}, text)], { text: "Use your passkey", class: "primary step-up" },
    (button) => signInHere(signIn, button));
  if (!fresh) {
    throw new DOMException("The person thought better of it.", "AbortError");
  }
  return action();
}
