// When passkeys do not work here: whoever has another way to offer listens.

let known = null;
const listeners = [];

/**
 * `listener` is told why: "unavailable" (there will be no passkey on this page) or "failed" (one try came to nothing).
 * At once, if it has happened already; and each time that it happens.
 */
export function whenPasskeysFail(listener) {
  listeners.push(listener);
  if (known) {
    listener(known);
  }
}

/** Passkeys do not work here. */
export function passkeysFail(why) {
  known = why;
  listeners.forEach((listener) => listener(why));
}
