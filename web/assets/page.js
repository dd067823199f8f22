// Small tools for pages: elements made of text, the status line, times.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** A new element; `on…` attributes are listeners, children are elements or text, never markup. */
export function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (value !== undefined && value !== null && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Shows the elements with these ids, or hides them. */
export function show(visible, ...ids) {
  for (const id of ids) {
    byId(id).hidden = !visible;
  }
}

/** Says something in the status line, which screen readers announce. `kind` is "good", "bad" or "". */
export function say(kind, what, next) {
  const status = byId("status");
  status.className = `status ${kind}`.trim();
  status.replaceChildren(...(what ? [el("p", {}, el("strong", {}, what))] : []), ...(next ? [el("p", {}, next)] : []));
}

/** Empties the status line. */
export const hush = () => say("");

/** Marks a button as working until the returned function is called. It stays focusable, so that nobody is lost. */
export function busy(button, text) {
  const label = button.querySelector("span") || button;
  const before = label.textContent;
  label.textContent = text;
  button.setAttribute("aria-disabled", "true");
  return () => {
    label.textContent = before;
    button.removeAttribute("aria-disabled");
  };
}

/** Is a button working at the moment? */
export const isBusy = (button) => button.getAttribute("aria-disabled") === "true";

const UNITS = [["year", 31557600], ["month", 2629800], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

/** A day of the calendar, with the exact time at hand. */
export function day(iso) {
  const time = new Date(iso);
  const text = time.toLocaleDateString("en", { day: "numeric", month: "long", year: "numeric" });
  return el("time", { datetime: iso, title: time.toLocaleString() }, text);
}

/** A time as people say it, with the exact one at hand. */
export function when(iso) {
  const time = new Date(iso);
  const seconds = (time.getTime() - Date.now()) / 1000;
  const unit = UNITS.find(([, length]) => Math.abs(seconds) >= length);
  const text = unit
    ? new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.round(seconds / unit[1]), unit[0])
    : "just now";
  return el("time", { datetime: iso, title: time.toLocaleString() }, text);
}
