// A new passkey in the making: with an invitation, or in the settings.

import { call } from "./api.js";
import { create } from "./passkey.js";

// See sign_in.js.
const GOOD_FOR = 4 * 60 * 1000;

export class Registration {
  /** `ticket` is an invitation's, or undefined for somebody signed in. */
  constructor(ticket) {
    this.ticket = ticket;
    this.ready = null;
  }

  /** Fetches a ceremony for this name, unless a good one is at hand. Gives the browser's options. */
  async prepare(name) {
    if (!this.isReady(name)) {
      const { ceremony, publicKey } = await call("POST", "/passkeys/registration", { name, ticket: this.ticket });
      this.ready = { ceremony, publicKey, name, until: Date.now() + GOOD_FOR };
    }
    return this.ready;
  }

  isReady(name) {
    return this.ready !== null && this.ready.name === name && Date.now() < this.ready.until;
  }

  /** Makes the passkey; nothing is awaited before the dialog if a ceremony is at hand (Safari 14, as in sign_in.js). */
  async make(name) {
    const { ceremony, publicKey } = this.isReady(name) ? this.ready : await this.prepare(name);
    const credential = await create(publicKey);
    this.ready = null;
    return call("POST", `/passkeys/registration/${encodeURIComponent(ceremony)}`, credential);
  }
}
