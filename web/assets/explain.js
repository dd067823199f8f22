// What went wrong, in a sentence, and what to do next, in another.

import { Problem, Unreachable } from "./api.js";
import { NoPasskey } from "./passkey.js";

const AGAIN = "Press the button to try again.";

/** `NotAllowedError` says all of these; see passkey.js. */
const NOT_ALLOWED = {
  using: {
    "at once": ["No passkey for this site was found here.", "Use your phone or a security key that you registered, or the device that your passkey is on."],
    meanwhile: ["The dialog was closed before a passkey was used.", `${AGAIN} If the right passkey was not in it, choose “another device” there.`],
    "too late": ["The dialog waited for your passkey until its time ran out.", AGAIN],
  },
  making: {
    "at once": ["Nothing here can keep a passkey right now.", "It takes a screen lock (PIN, fingerprint or face), or a security key that has a PIN and room for passkeys. Set one up, then try again."],
    meanwhile: ["The dialog was closed before the passkey was made.", AGAIN],
    "too late": ["The dialog waited for you until its time ran out.", AGAIN],
  },
};

const BY_NAME = {
  using: {
    InvalidStateError: ["The passkey you chose cannot be used right now.", "Try again, or choose another one."],
    NotSupportedError: ["This device cannot confirm that it is you.", "Switch on its screen lock (PIN, fingerprint or face), or use another passkey."],
  },
  making: {
    InvalidStateError: ["A passkey of yours is on this device already.", "It can sign in as it is. For a second one, choose another device or a security key in the browser’s dialog."],
    NotSupportedError: ["This authenticator cannot make the kind of passkey that is needed here.", "Use your computer’s or phone’s own, or a newer security key."],
    ConstraintError: ["This authenticator cannot keep a passkey, or cannot ask for a PIN, fingerprint or face.", "Set up a screen lock, or a PIN on the security key, or use another one."],
  },
};

const EITHER = {
  SecurityError: ["The browser does not allow passkeys at this address.", "Check the address bar: it must be the address you were given, without a certificate warning."],
  UnknownError: ["The authenticator reported a fault.", "Try again; if it stays, restart the browser or use another passkey."],
  OperationError: ["Another passkey dialog is still open.", "Close it, also in other tabs, and try again."],
};

function dialog({ name, doing, pace }) {
  if (name === "NotAllowedError") {
    return NOT_ALLOWED[doing][pace];
  }
  return BY_NAME[doing][name] || EITHER[name];
}

/** An error as `{what, next}`, or null where nothing needs to be said: somebody thought better of it. */
export function explain(error) {
  if (error instanceof Problem && error.unknownCredential) {
    return { what: "This passkey is not registered here.", next: "It may have been revoked. Choose another one." };
  }
  if (error instanceof Problem) {
    return { what: error.message, next: error.status >= 500 ? "Try again in a moment." : "" };
  }
  if (error instanceof Unreachable) {
    return { what: "The server cannot be reached.", next: "Check your connection and try again." };
  }
  if (error.name === "AbortError") {
    return null;
  }
  const found = error instanceof NoPasskey && dialog(error);
  const [what, next] = found || [`The browser stopped with “${error.name}”.`, "Reload the page and try again, or use another browser."];
  return { what, next };
}
