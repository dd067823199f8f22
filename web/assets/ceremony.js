// A ceremony that the edge has begun: fetched before it is needed, and good for a while.

import { call } from "./api.js";

/** Begins one; its age counts from now. */
export async function begin(path, request) {
  const { ceremony, publicKey } = await call("POST", path, request);
  return { ceremony, publicKey, since: Date.now() };
}

/** For how long it may still lie about: the person needs some of its time for the dialog. */
export const goodFor = ({ publicKey, since }) => since + publicKey.timeout * 0.8 - Date.now();

/** Its options, with what is left of its time: a dialog that outlives its ceremony is of no use. */
export const options = ({ publicKey, since }) =>
  Object.assign({}, publicKey, { timeout: since + publicKey.timeout - Date.now() });

/** Hands in what the browser made of it. */
export const finish = (path, { ceremony }, credential) => call("POST", `${path}/${encodeURIComponent(ceremony)}`, credential);
