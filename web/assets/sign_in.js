// One person at one page signing in: the ceremony kept ready, the autofill that waits on it, the button.

import { Problem } from "./api.js";
import * as ceremony from "./ceremony.js";
import { NoPasskey, use } from "./passkey.js";
import { refused } from "./passkey_signals.js";
import { hasAutofill } from "./passkey_support.js";
import { passkeysFail } from "./passkey_trouble.js";

const PATH = "/sign-in/passkey";

export class SignIn {
  /** `request` is the body of the first call: `{tunnel?, bind?, return_to?}`. */
  constructor(request) {
    this.request = request;
    this.ready = null;
    this.offered = null;
    this.pressed = false;
    this.finishing = null;
  }

  /** Fetches a ceremony, unless a good one is at hand. */
  async prepare() {
    if (!this.isReady()) {
      this.ready = await ceremony.begin(PATH, this.request);
    }
    return this.ready;
  }

  isReady() {
    return this.ready !== null && ceremony.goodFor(this.ready) > 0;
  }

  /**
   * The button was pressed. Gives the server's `{redirect}`.
   * With a ceremony at hand nothing is awaited before the dialog: Safari 14 opens it only within the click itself.
   */
  async press() {
    this.pressed = true;
    try {
      const chosen = this.offered ? await this.withdraw() : null;
      if (chosen) {
        return chosen;
      }
      const ready = this.isReady() ? this.ready : await this.prepare();
      return await this.finish(ready, await use(ceremony.options(ready)));
    } catch (error) {
      if (error instanceof NoPasskey) {
        passkeysFail("failed");
      }
      throw error;
    } finally {
      this.pressed = false;
    }
  }

  /** Offers passkeys in the field's list until one is chosen; gives `{redirect}`, or null when withdrawn. */
  async offer() {
    // Looked at again after the wait: a press in the meantime uses the ceremony, and two cannot.
    const busy = () => this.offered || this.pressed;
    if (busy() || !(await hasAutofill()) || busy()) {
      return null;
    }
    const stop = new AbortController();
    const choosing = this.choose(stop.signal);
    const offered = { stop, over: choosing.catch(() => null) };
    this.offered = offered;
    try {
      return await choosing;
    } finally {
      if (this.offered === offered) {
        this.offered = null;
      }
    }
  }

  async choose(signal) {
    while (!signal.aborted) {
      const ready = await this.prepare();
      const turn = new AbortController();
      const end = () => turn.abort();
      const timer = setTimeout(end, ceremony.goodFor(ready));
      signal.addEventListener("abort", end);
      let credential = null;
      try {
        credential = signal.aborted ? null : await use(ready.publicKey, { mediation: "conditional", signal: turn.signal });
      } catch (error) {
        if (!turn.signal.aborted) {
          throw error;
        }
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
      }
      if (credential) {
        return this.finish(ready, credential);
      }
      await visible();
    }
    return null;
  }

  /**
   * Takes the offer back and waits until the browser has let go: it runs one request at a time.
   * Gives `{redirect}` all the same if somebody chose from the list just before.
   */
  async withdraw() {
    const { stop, over } = this.offered;
    stop.abort();
    const chosen = await Promise.race([over, new Promise((done) => setTimeout(done, 1000))]);
    this.offered = null;
    return chosen || this.finishing;
  }

  async finish(begun, credential) {
    this.ready = null;
    this.finishing = ceremony.finish(PATH, begun, credential);
    try {
      return await this.finishing;
    } catch (error) {
      if (error instanceof Problem) {
        passkeysFail("failed");
      }
      refused(error, begun.publicKey.rpId, credential.id);
      throw error;
    } finally {
      this.finishing = null;
    }
  }
}

/** Resolves at once, or when the page is looked at again: a forgotten tab fetches nothing. */
function visible() {
  return new Promise((done) => {
    const look = () => {
      if (document.visibilityState === "visible") {
        document.removeEventListener("visibilitychange", look);
        done();
      }
    };
    document.addEventListener("visibilitychange", look);
    look();
  });
}
