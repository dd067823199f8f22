// Tells the browser's list of passkeys how things are here, so that it offers none that would be refused.
//
// Only where the browser listens (Chrome 132, Safari 26), and never in the way of anything: what a signal comes to is
// nobody's business, and a browser that takes none works as before.

import { call } from "./api.js";

const has = (name) => window.PublicKeyCredential && typeof PublicKeyCredential[name] === "function";

/** Gives a signal, if the browser knows its kind. */
async function signal(name, facts) {
  try {
    await PublicKeyCredential[name](facts);
  } catch (_) {
    // Nothing depends on it.
  }
}

/**
 * The server refused what the passkey `credentialId` of `rpId` signed. Where it says that no account holds it, the
 * browser may forget it; any other refusal says nothing about the passkey.
 */
export async function refused(error, rpId, credentialId) {
  if (error.unknownCredential && has("signalUnknownCredential")) {
    await signal("signalUnknownCredential", { rpId, credentialId });
  }
}

/** The person's passkeys or their name may have changed. */
export async function changed() {
  if (!has("signalAllAcceptedCredentials") && !has("signalCurrentUserDetails")) {
    return;
  }
  const known = await call("GET", "/passkeys/accepted").catch(() => null);
  if (!known) {
    return;
  }
  const { rpId, userId, name, displayName, allAcceptedCredentialIds } = known;
  // An empty list would have the browser hide every passkey of the person.
  if (has("signalAllAcceptedCredentials") && allAcceptedCredentialIds.length > 0) {
    await signal("signalAllAcceptedCredentials", { rpId, userId, allAcceptedCredentialIds });
  }
  if (has("signalCurrentUserDetails")) {
    await signal("signalCurrentUserDetails", { rpId, userId, name, displayName });
  }
}
