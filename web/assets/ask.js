// The questions that pages ask: are you sure, what shall it be called, is it still you.

import { ask } from "./dialog.js";
import { explain } from "./explain.js";
import { busy, el, hush, say } from "./page.js";
import { SignIn } from "./sign_in.js";

/** Are you sure? `details` are sentences or elements. */
export const sure = (question, details, yes) => ask(question, details, { text: yes, class: "danger" }, async () => true);

/** A field of a question, and what it is for. */
export const field = (label, input, hint) =>
  el("label", { class: "field" }, el("span", { class: "label" }, label), input, hint ? el("span", { class: "hint" }, hint) : null);

/** Says what went wrong, in the question if one is open. */
export function sayError(error) {
  const said = explain(error);
  if (said) {
    say("bad", said.what, said.next);
  }
}

/** Asks for a line of text and does `act` with it; the question stays open until that worked. */
export function line(title, label, value, yes, act) {
  const input = el("input", { type: "text", maxlength: "64", required: true, autocomplete: "off" });
  input.value = value;
  return ask(title, [field(label, input)], { text: yes, class: "primary" }, async () => {
    const text = input.value.trim();
    return text !== "" && attempt(() => act(text));
  });
}

/** Does something that a question is about. False: it failed, and the person was told. */
export async function attempt(act) {
  try {
    await act();
    return true;
  } catch (error) {
    sayError(error);
    return false;
  }
}

/** A sign-in without leaving the page, by a button already there. True if it worked; else the reason has been said. */
export async function signInHere(signIn, button) {
  hush();
  const done = busy(button, "Waiting for your passkey …");
  // Where it would lead is of no interest here: the cookie is what was wanted.
  const entered = await attempt(() => signIn.press());
  done();
  if (!entered) {
    signIn.prepare().catch(() => {});
  }
  return entered;
}

/** Does `action`; if the server wants a fresh sign-in first, asks for it and does it again. */
export async function withFreshSignIn(action) {
  try {
    return await action();
  } catch (error) {
    if (!(error.is && error.is("step-up-required"))) {
      throw error;
    }
  }
  const signIn = new SignIn({});
  signIn.prepare().catch(() => {});
  const fresh = await ask("Is it still you?", ["This needs a sign-in within the last 10 minutes, and yours is older."],
    { text: "Use your passkey", class: "primary step-up", doing: "Waiting for your passkey …" },
    () => attempt(() => signIn.press()));
  if (!fresh) {
    throw new DOMException("The person thought better of it.", "AbortError");
  }
  return action();
}
