// Sessions in the settings: where somebody is signed in as this person, and how to end it.

import { call } from "./api.js";
import { attempt } from "./ask.js";
import { ask } from "./dialog.js";
import { byId, plural, show, when } from "./page.js";
import { action, fill, path, row, spaced, title } from "./rows.js";

const BY = { backup_code: "by backup code", magic_link: "by mailed link", password: "by password" };

/** What a session is on, as its person calls it. */
export function where(session, tunnels) {
  const tunnel = tunnels.find((one) => one.id === session.tunnel);
  return session.tunnel ? (tunnel && tunnel.name) || session.tunnel : "Sign-in site";
}

const browserOf = (session) =>
  [session.browser, session.device_type !== "Unknown" && session.device_type].filter(Boolean).join(" on ") || "A browser";

function sessionRow(session, tunnels, act, fail) {
  const place = where(session, tunnels);
  const end = async () => {
    const ending = () => act("Ended.", () => call("DELETE", path("sessions", session)));
    if (session.current) {
      await ask("End the session you are in?", ["You are signed out here. Your other sessions go on."],
        { text: "End it", class: "danger" }, () => attempt(ending));
    } else {
      await ending().catch(fail);
    }
  };
  return row("session", title(place, session.current && "This browser"), [
    spaced([
      [browserOf(session)],
      session.address && [session.address],
      [BY[session.method] || `by “${session.device_name}”`],
    ]),
    spaced([["Since ", when(session.since)], ["Last seen ", when(session.last_seen)]]),
  ], [action("end", "End", `the session on ${place}, ${browserOf(session)}`, end)]);
}

/** Shows how things are; `act` as for passkeys. */
export function showSessions({ sessions, tunnels }, act, fail) {
  // The one that asks is first: the others are held against it.
  const sorted = sessions.slice().sort((a, b) => Number(b.current) - Number(a.current));
  fill(byId("sessions"), sorted, (session) => sessionRow(session, tunnels, act, fail), "Nobody is signed in as you.",
    (session) => where(session, tunnels));
  show(sessions.length > 1, "end-all");
}

/** Wires the section up. */
export function startSessions(act) {
  byId("end-all").addEventListener("click", () => {
    const count = byId("sessions").querySelectorAll(".session").length;
    ask("End all sessions?", [
      `${plural(count, "session")}, this one included. Whatever they have open closes at once.`,
      "Access tokens go on; each has its own button.",
    ], { text: "End all", class: "danger", doing: "Ending them …" },
    () => attempt(() => act("All sessions are ended.", () => call("DELETE", "/sessions"))));
  });
}
