// Desktops in the settings: the tunnels that they serve, and who may call them.

import { call } from "./api.js";
import { attempt, field, line } from "./ask.js";
import { ask } from "./dialog.js";
import { byId, el, when } from "./page.js";
import { action, fill, path, row, spaced, title } from "./rows.js";

const nameOf = (tunnel) => tunnel.name || tunnel.id;

const stateOf = (tunnel) => [
  el("span", { class: tunnel.online ? "dot on" : "dot" }),
  ...(tunnel.online ? ["Online"] : tunnel.last_seen ? ["Offline, last seen ", when(tunnel.last_seen)] : ["Not seen yet"]),
];

function tunnelRow(tunnel, act) {
  const rename = () =>
    line("Rename this desktop’s tunnel", "New name", tunnel.name || "", "Save", (name) =>
      act("Renamed.", () => call("PATCH", path("tunnels", tunnel), { name })));
  const origins = () => {
    const input = el("textarea", { rows: "4", spellcheck: "false", autocapitalize: "none", placeholder: "One per line" });
    input.value = tunnel.allowed_origins.join("\n");
    return ask(`Who may call ${nameOf(tunnel)}?`, [
      "Pages of other sites cannot use your session here. Name the origins of those that should.",
      field("Allowed origins", input, "Just as browsers write them, without a path at the end."),
    ], { text: "Save", class: "primary", doing: "Saving …" }, () => attempt(() => {
      const allowed = input.value.split(/\s+/).filter(Boolean);
      return act("Saved.", () => call("PATCH", path("tunnels", tunnel), { allowed_origins: allowed }));
    }));
  };
  const remove = () =>
    ask(`Remove ${nameOf(tunnel)}?`, [
      "Its desktop is unlinked, its sessions end and its access tokens die, at once.",
      `The address ${tunnel.id} is never given to anybody again, you included.`,
    ], { text: "Remove", class: "danger", doing: "Removing …" },
    () => attempt(() => act(`${nameOf(tunnel)} is removed.`, () => call("DELETE", path("tunnels", tunnel)))));
  return row("tunnel-row", title(nameOf(tunnel)), [
    stateOf(tunnel),
    spaced([tunnel.desktop && [`Served by “${tunnel.desktop}”`], [el("a", { href: tunnel.url }, new URL(tunnel.url).host)]]),
    tunnel.allowed_origins.length > 0 ? [`Open to ${tunnel.allowed_origins.join(", ")}`] : [],
  ], [
    action("rename", "Rename", nameOf(tunnel), rename),
    action("origins", "Origins", `that may call ${nameOf(tunnel)}`, origins),
    action("remove", "Remove", nameOf(tunnel), remove),
  ]);
}

/** Shows how things are; `act` as for passkeys. */
export function showDesktops({ tunnels }, act) {
  fill(byId("desktops"), tunnels, (tunnel) => tunnelRow(tunnel, act), "No desktop is linked yet.");
}
