// Passkeys: between the API's JSON and the browser's buffers, and the browser's refusals in words.

import { Problem, Unreachable } from "./api.js";

const toBytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));

const toText = (buffer) =>
  btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(""))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");

const toDescriptors = (list) => (list || []).map((one) => Object.assign({}, one, { id: toBytes(one.id) }));

/** The browser's own reader of options, where it has one that likes them. */
function native(method, json) {
  try {
    return PublicKeyCredential[method](json);
  } catch (_) {
    return null;
  }
}

function creationOptions(json) {
  return native("parseCreationOptionsFromJSON", json) || Object.assign({}, json, {
    challenge: toBytes(json.challenge),
    user: Object.assign({}, json.user, { id: toBytes(json.user.id) }),
    excludeCredentials: toDescriptors(json.excludeCredentials),
  });
}

function requestOptions(json) {
  return native("parseRequestOptionsFromJSON", json) || Object.assign({}, json, {
    challenge: toBytes(json.challenge),
    allowCredentials: toDescriptors(json.allowCredentials),
  });
}

/** RegistrationResponseJSON or AuthenticationResponseJSON, made here: password managers hand out credentials without toJSON. */
function toJson(credential) {
  const { response } = credential;
  const json = {
    id: credential.id,
    rawId: toText(credential.rawId),
    type: credential.type,
    clientExtensionResults: credential.getClientExtensionResults(),
    response: { clientDataJSON: toText(response.clientDataJSON) },
  };
  if (credential.authenticatorAttachment) {
    json.authenticatorAttachment = credential.authenticatorAttachment;
  }
  for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[part]) {
      json.response[part] = toText(response[part]);
    }
  }
  if (response.getTransports) {
    json.response.transports = response.getTransports();
  }
  return json;
}

function answerOf(credential) {
  if (typeof credential.toJSON === "function") {
    try {
      return credential.toJSON();
    } catch (_) {
      // Fall through to our own.
    }
  }
  return toJson(credential);
}

/** Asks the browser to make a passkey; opens its dialog before this returns. */
export const create = async (publicKey) =>
  answerOf(await navigator.credentials.create({ publicKey: creationOptions(publicKey) }));

/** Asks the browser to use one; `how` may carry `mediation` and `signal`. */
export const use = async (publicKey, how) =>
  answerOf(await navigator.credentials.get(Object.assign({ publicKey: requestOptions(publicKey) }, how)));

/** Can this browser offer passkeys in the list under a field? */
export async function hasAutofill() {
  const ask = window.PublicKeyCredential && PublicKeyCredential.isConditionalMediationAvailable;
  return Boolean(ask) && ask.call(PublicKeyCredential).catch(() => false);
}

/** Does this device itself keep passkeys (Touch ID, Windows Hello, a screen lock)? */
export async function isAuthenticator() {
  const ask = window.PublicKeyCredential && PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable;
  return Boolean(ask) && ask.call(PublicKeyCredential).catch(() => false);
}

/** Why passkeys cannot work on this page at all, or null. */
export function obstacle() {
  if (window.isSecureContext === false) {
    return {
      what: "Passkeys need a secure connection.",
      next: "Open this page by its address that begins with “https”.",
    };
  }
  if (!window.PublicKeyCredential || !navigator.credentials) {
    return {
      what: "This browser cannot use passkeys.",
      next: "Open this page in Safari 14, Chrome or Edge 90, Firefox 90, or newer. If you are inside another app, choose “open in browser”.",
    };
  }
  return null;
}

const USING = {
  NotAllowedError: ["No passkey was used: the dialog was closed, or it ran out of time.", "Press the button to try again. If none was found here, use your phone or a security key."],
  InvalidStateError: ["The passkey you chose cannot be used right now.", "Try again, or choose another one."],
  NotSupportedError: ["This device cannot confirm that it is you.", "Switch on its screen lock (PIN, fingerprint or face), or use another passkey."],
};
const MAKING = {
  NotAllowedError: ["No passkey was made: the dialog was closed, or it ran out of time.", "Press the button to try again."],
  InvalidStateError: ["There is a passkey of yours on this device already.", "Sign in with it, or pick another device or security key in the browser’s dialog."],
  NotSupportedError: ["This authenticator cannot make the kind of passkey that is needed here.", "Use your computer’s or phone’s own, or a newer security key."],
  ConstraintError: ["This authenticator cannot keep a passkey that asks for a PIN, fingerprint or face.", "Set up a screen lock, or a PIN on the security key, or use another one."],
};
const EITHER = {
  SecurityError: ["The browser does not allow passkeys at this address.", "Check the address bar: it must be the address you were given, without a certificate warning."],
  UnknownError: ["The authenticator reported a fault.", "Try again; if it stays, restart the browser or use another passkey."],
  OperationError: ["Another passkey dialog is still open.", "Close it, also in other tabs, and try again."],
};

/** An error as `{what, next}`, or null where nothing needs to be said. `making`: a passkey was being made, not used. */
export function explain(error, making) {
  if (error instanceof Problem) {
    return { what: error.message, next: error.status >= 500 ? "Try again in a moment." : "" };
  }
  if (error instanceof Unreachable) {
    return { what: "The server cannot be reached.", next: "Check your connection and try again." };
  }
  if (error.name === "AbortError") {
    return null;
  }
  const found = (making ? MAKING : USING)[error.name] || EITHER[error.name];
  const [what, next] = found || [`The browser stopped with “${error.name}”.`, "Reload the page and try again, or use another browser."];
  return { what, next };
}
