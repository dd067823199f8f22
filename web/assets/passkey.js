// Passkeys: between the API's JSON and the browser's buffers.

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

/** The browser's dialog ended without a passkey. */
export class NoPasskey extends Error {
  /** `doing` is "making" or "using"; `pace` says when it ended: "at once", "meanwhile", or "too late". */
  constructor(error, doing, pace) {
    super(error.message);
    this.name = error.name;
    this.doing = doing;
    this.pace = pace;
  }
}

// Browsers tell a page by one and the same error that nothing suitable was there, that the person closed the dialog,
// and that time ran out: only the time it took is different. Nobody reads and closes a dialog as fast as this.
const AT_ONCE = 400;

async function inDialog(doing, { timeout }, ask) {
  const began = Date.now();
  try {
    return answerOf(await ask());
  } catch (error) {
    const took = Date.now() - began;
    const pace = took < AT_ONCE ? "at once" : timeout && took >= timeout - 100 ? "too late" : "meanwhile";
    throw new NoPasskey(error, doing, pace);
  }
}

/** Asks the browser to make a passkey; opens its dialog before this returns. */
export const create = (publicKey) =>
  inDialog("making", publicKey, () => navigator.credentials.create({ publicKey: creationOptions(publicKey) }));

/** Asks the browser to use one; `how` may carry `mediation` and `signal`. */
export const use = (publicKey, how) =>
  inDialog("using", publicKey, () => navigator.credentials.get(Object.assign({ publicKey: requestOptions(publicKey) }, how)));
