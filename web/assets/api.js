// The one way to the API.

/** What the server answered instead: RFC 9457, or just a status. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.status = status;
    this.type = body.type || "about:blank";
    this.unknownCredential = body.unknown_credential === true;
  }

  is(type) {
    return this.type.endsWith(`/problems/${type}`);
  }
}

/** No answer at all. */
export class Unreachable extends Error {}

/** Calls `/api/v1` + `path`; gives the answer's JSON, or null where there is none. */
export async function call(method, path, body) {
  const request = { method, headers: { accept: "application/json" }, cache: "no-store", redirect: "error" };
  if (body !== undefined) {
    request.headers["content-type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  // No `mode`: under this page's referrer policy any but the default would send `Origin: null`, which the edge refuses.
  const answer = await fetch(`/api/v1${path}`, request).catch(() => {
    throw new Unreachable();
  });
  const json = await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new Problem(answer.status, json || {});
  }
  return json;
}
