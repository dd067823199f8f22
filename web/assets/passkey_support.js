// What this browser and this device can do with passkeys, asked before it is promised.

/** The browser's own list, where it has one (Chrome 133, Safari 17.4, Firefox 135); null in older ones. */
const capabilities = async () => {
  const ask = window.PublicKeyCredential && PublicKeyCredential.getClientCapabilities;
  return ask ? ask.call(PublicKeyCredential).catch(() => null) : null;
};

/** One thing of the list, else what `older` answers: the question that browsers before the list had for it. */
async function can(name, older) {
  const list = await capabilities();
  if (list && name in list) {
    return list[name];
  }
  const ask = older && window.PublicKeyCredential && PublicKeyCredential[older];
  return Boolean(ask) && ask.call(PublicKeyCredential).catch(() => false);
}

/** Can it offer passkeys in the list under a field? */
export const hasAutofill = () => can("conditionalGet", "isConditionalMediationAvailable");

/** Does this device itself keep passkeys (Touch ID, Windows Hello, a screen lock)? */
export const isAuthenticator = () =>
  can("userVerifyingPlatformAuthenticator", "isUserVerifyingPlatformAuthenticatorAvailable");

/** Can a phone sign in here by scanning a code? True, false, or null where the browser does not say. */
export async function takesPhones() {
  const list = await capabilities();
  return list && "hybridTransport" in list ? list.hybridTransport : null;
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
