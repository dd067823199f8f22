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

let later = null;

/**
 * Says something in the status line, which screen readers announce; `kind` is "good", "bad" or "". While a question is
 * open, what is bad is said in it, and what is good once it is closed.
 */
export function say(kind, what, next) {
  const open = document.querySelector(".dialog .status");
  if (open && kind === "good") {
    later = [kind, what, next];
    return;
  }
  const status = open || byId("status");
  status.className = `status ${kind}`.trim();
  status.replaceChildren(...(what ? [el("p", {}, el("strong", {}, what))] : []), ...(next ? [el("p", {}, next)] : []));
}

/** Says what had to wait for a question to be closed. */
export function sayNow() {
  if (later) {
    say(...later);
  }
  later = null;
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

function relative(iso) {
  const seconds = (new Date(iso).getTime() - Date.now()) / 1000;
  const unit = UNITS.find(([, length]) => Math.abs(seconds) >= length);
  return unit
    ? new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.round(seconds / unit[1]), unit[0])
    : "just now";
}

/** A time as people say it, with the exact one at hand. It goes on being right while the page is open. */
export const when = (iso) =>
  el("time", { class: "relative", datetime: iso, title: new Date(iso).toLocaleString() }, relative(iso));

setInterval(() => {
  for (const time of document.querySelectorAll("time.relative")) {
    time.textContent = relative(time.dateTime);
  }
}, 30000);

/** "1 session", "2 sessions". */
export const plural = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
