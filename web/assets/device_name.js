// A name to suggest for a passkey made here.

import { isAuthenticator } from "./passkey_support.js";

/** The browser that calls itself this. */
export function browser(agent) {
  const known = [[/Edg(?:e|A|iOS)?\//, "Edge"], [/OPR\//, "Opera"], [/Firefox\/|FxiOS\//, "Firefox"], [/Chrome\/|CriOS\//, "Chrome"], [/Safari\//, "Safari"]];
  const found = known.find(([pattern]) => pattern.test(agent));
  return found ? found[1] : "a browser";
}

function android(agent) {
  // Newer browsers say "K" instead of the model.
  const model = /Android [^;)]+; ([^;)]+?)(?: Build\/[^;)]*)?\)/.exec(agent);
  const named = model && model[1].length > 1 && !/^(?:Mobile|Tablet|rv:.*)$/.test(model[1]);
  return named ? model[1] : /Mobile/.test(agent) ? "Android phone" : "Android tablet";
}

/** Like "MacBook Touch ID" or "Windows Hello on Edge". */
export async function suggestedName() {
  const agent = navigator.userAgent;
  if (/iPhone|iPod/.test(agent)) {
    return "iPhone";
  }
  // An iPad calls itself a Macintosh; no Macintosh has a touch screen.
  if (/iPad/.test(agent) || (/Macintosh/.test(agent) && navigator.maxTouchPoints > 1)) {
    return "iPad";
  }
  if (/Android/.test(agent)) {
    return android(agent);
  }
  if (/CrOS/.test(agent)) {
    return "Chromebook";
  }
  const own = await isAuthenticator();
  if (/Macintosh/.test(agent)) {
    return own ? "MacBook Touch ID" : `Security key, ${browser(agent)} on Mac`;
  }
  if (/Windows/.test(agent)) {
    return own ? `Windows Hello on ${browser(agent)}` : `Security key, ${browser(agent)} on Windows`;
  }
  return `${browser(agent)} on ${/Linux/.test(agent) ? "Linux" : "this device"}`;
}
