// The lists of the settings: a row for each thing, what is known about it, what can be done.

import { el } from "./page.js";

/** The call's path for one thing of a kind. */
export const path = (kind, one) => `/${kind}/${encodeURIComponent(one.id)}`;

/** One line of a list: what it is, what is known about it (in lines), what can be done. */
export function row(kind, title, known, actions) {
  return el("li", { class: kind },
    el("div", { class: "what" }, title, ...known.filter((parts) => parts.length > 0).map((parts) => el("p", { class: "meta" }, ...parts))),
    el("div", { class: "actions" }, ...actions.filter(Boolean)));
}

/** A row's name, and tags that say something about it. */
export const title = (name, ...tags) =>
  el("h3", { class: "name" }, name, ...tags.filter(Boolean).map((tag) => el("span", { class: "tag" }, tag)));

/** A button of a row; `what` is the thing, for who does not see which row it is in. */
export const action = (kind, text, what, act) =>
  el("button", { class: `${kind} quiet`, type: "button", "aria-label": `${text} ${what}`, onclick: act }, text);

/** Parts with dots between them, those that are not there left out. */
export const spaced = (parts) => parts.filter(Boolean).flatMap((part, index) => (index ? [" · ", ...part] : part));

/** Finds `element` again, although its list may have made it anew meanwhile; else the heading it was under. */
export function again(element) {
  const [row, section] = [element.closest("li[data-id]"), element.closest("section")];
  return () => {
    const same = row && Array.from(document.querySelectorAll("li[data-id]")).find((one) => one.dataset.id === row.dataset.id);
    const button = same && Array.from(same.querySelectorAll("button")).find((one) => one.className === element.className);
    return element.isConnected ? element : button || (section && section.querySelector("h2")) || document.body;
  };
}

/**
 * Makes `list` show `things`, and `empty` where there are none. A row whose thing (or `beside`, what else it shows) did
 * not change is left alone: with it the place of whoever is reading there. Focus in a row that did change stays on the
 * button of that name, or goes to the row's list when the row is gone.
 */
export function fill(list, things, makeRow, empty, beside) {
  const before = new Map(Array.from(list.children, (one) => [one.dataset.id, one]));
  const place = list.contains(document.activeElement) ? again(document.activeElement) : null;
  const rows = things.map((thing) => {
    const shown = JSON.stringify([thing, beside && beside(thing)]);
    const known = before.get(thing.id);
    if (known && known.shown === shown) {
      return known;
    }
    const made = makeRow(thing);
    made.dataset.id = thing.id;
    made.shown = shown;
    return made;
  });
  if (rows.length === 0) {
    rows.push(el("li", { class: "none" }, el("p", { class: "hint" }, empty)));
  }
  let at = list.firstChild;
  for (const one of rows) {
    if (one === at) {
      at = at.nextSibling;
    } else {
      list.insertBefore(one, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
  if (place) {
    place().focus();
  }
}
