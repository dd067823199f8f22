// A new passkey in the making: with an invitation, or in the settings.

import * as ceremony from "./ceremony.js";
import { create } from "./passkey.js";
import { changed, refused } from "./passkey_signals.js";

const PATH = "/passkeys/registration";

export class Registration {
  /** `ticket` is an invitation's, or undefined for somebody signed in. */
  constructor(ticket) {
    this.ticket = ticket;
    this.ready = null;
  }

  /** Fetches a ceremony for this name, unless a good one is at hand. Gives the browser's options. */
  async prepare(name) {
    if (!this.isReady(name)) {
      const begun = await ceremony.begin(PATH, { name, ticket: this.ticket });
      this.ready = Object.assign(begun, { name });
    }
    return this.ready;
  }

  isReady(name) {
    return this.ready !== null && this.ready.name === name && ceremony.goodFor(this.ready) > 0;
  }

  /** Makes the passkey; nothing is awaited before the dialog if a ceremony is at hand (Safari 14, as in sign_in.js). */
  async make(name) {
    const ready = this.isReady(name) ? this.ready : await this.prepare(name);
    const credential = await create(ceremony.options(ready));
    this.ready = null;
    try {
      const made = await ceremony.finish(PATH, ready, credential);
      changed();
      return made;
    } catch (error) {
      // The browser keeps it all the same, and would offer it.
      refused(error, ready.publicKey.rp.id, credential.id);
      throw error;
    }
  }
}
