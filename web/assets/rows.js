// The lists of the settings: a row for each thing, what is known about it, what can be done.

import { el } from "./page.js";

/** The call's path for one thing of a kind. */
export const path = (kind, one) => `/${kind}/${encodeURIComponent(one.id)}`;

/** One line of a list: what it is, what is known about it (in lines), what can be done. */
export function row(kind, one, title, known, actions) {
  return el("li", { class: kind, "data-id": one.id },
    el("div", { class: "what" }, title, ...known.map((parts) => el("p", { class: "meta" }, ...parts))),
    el("div", { class: "actions" }, ...actions));
}

/** The row whose button was pressed. */
export const rowOf = (event) => event.currentTarget.closest("li");

/** Parts with dots between them, those that are not there left out. */
export const spaced = (parts) => parts.filter(Boolean).flatMap((part, index) => (index ? [" · ", ...part] : part));
