// Trusted devices in the settings: which passkeys each desktop lets in, as the desktop itself says.

import { call } from "./api.js";
import { attempt } from "./ask.js";
import { ask } from "./dialog.js";
import { explain } from "./explain.js";
import { byId, el, when } from "./page.js";
import { action, fill, path, row, spaced, title } from "./rows.js";

const nameOf = (tunnel) => tunnel.name || tunnel.id;

/** What one desktop says: a thing for each device, or one that says why there is none. */
async function saidBy(tunnel) {
  try {
    const devices = await call("GET", `${path("tunnels", tunnel)}/devices`);
    return devices.map((device) => ({ id: `${tunnel.id}/${device.id}`, tunnel, device }));
  } catch (error) {
    // A tunnel without a desktop trusts nobody and asks nobody.
    return error.is && error.is("not-found") ? [] : [{ id: tunnel.id, tunnel, error }];
  }
}

function deviceRow({ tunnel, device }, act) {
  const remove = () =>
    ask(`Have ${nameOf(tunnel)} trust “${device.name}” no longer?`, [
      "Its sessions there end at once. When it comes again, the desktop asks whether to let it in.",
    ], { text: "Remove", class: "danger", doing: "Removing …" },
    () => attempt(() => act(`“${device.name}” is trusted there no longer.`,
      () => call("DELETE", `${path("tunnels", tunnel)}${path("devices", device)}`))));
  return row("device", title(device.name), [
    spaced([[`On ${nameOf(tunnel)}`], ["Approved ", when(device.since)], device.last_used ? ["Last used ", when(device.last_used)] : ["Not used yet"]]),
    [el("code", { class: "fingerprint", title: "Fingerprint of its public key" }, device.fingerprint)],
  ], [action("remove", "Remove", `${device.name} from ${nameOf(tunnel)}`, remove)]);
}

function silentRow({ tunnel, error }) {
  const said = explain(error);
  return row("silent", title(nameOf(tunnel)), [[said ? said.what : "It did not answer."]], []);
}

let asked = 0;

/** Asks each desktop and shows what they say; `act` as for passkeys. */
export async function showTrustedDevices({ tunnels }, act) {
  asked += 1;
  const turn = asked;
  const things = [].concat(...(await Promise.all(tunnels.map(saidBy))));
  if (turn !== asked) {
    return; // They were asked anew meanwhile.
  }
  fill(byId("devices"), things, (thing) => (thing.device ? deviceRow(thing, act) : silentRow(thing)),
    "No desktop trusts a device yet. One that is new is asked about there, when it first comes.");
}
