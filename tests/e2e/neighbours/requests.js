// What a page on one tunnel can send to another, and to the sign-in site, with the visitor's cookies. Each try has a
// name and asks for a path that ends in it; what came of it is told back by that name.
async ({ victim, deployer }) => {
  const told = {};
  const at = (name) => `${victim}/write/${name}`;
  const attempts = [];
  const attempt = (name, attack) => attempts.push((async () => {
    try { told[name] = String(await attack(at(name))); } catch (error) { told[name] = `stopped: ${error.name}`; }
  })());

  const send = (url, how) => fetch(url, { credentials: "include", ...how }).then((answer) =>
    answer.type === "opaque" ? "unread" : answer.text().then((text) => `read: ${answer.status} ${text}`));
  attempt("fetch", (url) => send(url));
  attempt("no-cors", (url) => send(url, { mode: "no-cors" }));
  attempt("post", (url) => send(url, { method: "POST", body: "x" }));
  attempt("no-cors-post", (url) => send(url, { method: "POST", body: "x", mode: "no-cors" }));
  attempt("keepalive", (url) => send(url, { method: "POST", body: "x", mode: "no-cors", keepalive: true }));
  attempt("put", (url) => send(url, { method: "PUT", body: "x" }));
  attempt("delete", (url) => send(url, { method: "DELETE" }));
  attempt("header", (url) => send(url, { headers: { "x-patapim-token": "patapim_x" } }));
  attempt("fetch-redirected", () => send("/bounce/fetch-redirected", { method: "POST", body: "x", mode: "no-cors" }));
  attempt("logout", () => send(`${victim}/.patapim/logout`, { method: "POST", mode: "no-cors" }));
  attempt("session", () => send(`${victim}/.patapim/session`));
  attempt("xhr", (url) => new Promise((done) => {
    const request = new XMLHttpRequest();
    request.onload = () => done(`read: ${request.status} ${request.responseText}`);
    request.onerror = () => done("failed");
    request.open("GET", url);
    request.withCredentials = true;
    request.send();
  }));
  attempt("event-source", (url) => new Promise((done) => {
    const source = new EventSource(url, { withCredentials: true });
    source.onopen = () => done("opened");
    source.onerror = () => { source.close(); done("failed"); };
  }));
  attempt("websocket", () => new Promise((done) => {
    const socket = new WebSocket(`${victim.replace("https", "wss")}/ws`);
    socket.onopen = () => done("opened");
    socket.onerror = () => done("failed");
  }));

  const element = (tag, attributes) => new Promise((done) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.onload = made.onloadeddata = () => done("loaded");
    made.onerror = () => done("failed");
    document.body.append(made);
  });
  attempt("image", (src) => element("img", { src }));
  attempt("image-cors", (src) => element("img", { crossOrigin: "use-credentials", src }));
  attempt("script", (src) => element("script", { src }));
  attempt("module", (src) => element("script", { type: "module", crossOrigin: "use-credentials", src }));
  attempt("style", (href) => element("link", { rel: "stylesheet", href }));
  attempt("video", (src) => element("video", { preload: "auto", src }));
  attempt("object", (data) => element("object", { data }));
  attempt("embed", (src) => element("embed", { src }));
  attempt("frame", (src) => element("iframe", { src }));
  attempt("prefetch-link", (href) => element("link", { rel: "prefetch", href }));
  attempt("preload", (href) => element("link", { rel: "preload", as: "image", href }));
  attempt("worker", (url) => new Promise((done) => {
    const script = new Blob([`try { importScripts("${url}"); postMessage("loaded") } catch { postMessage("failed") }`]);
    new Worker(URL.createObjectURL(script)).onmessage = ({ data }) => done(data);
  }));
  attempt("sandboxed", (url) => new Promise((done) => {
    addEventListener("message", ({ data }) => done(data), { once: true });
    const script = `fetch("${url}", { method: "POST", mode: "no-cors", credentials: "include" })
      .then(() => "unread", () => "failed").then((told) => parent.postMessage(told, "*"))`;
    element("iframe", { sandbox: "allow-scripts", srcdoc: `<script>${script}</script>` });
  }));
  attempt("own-worker", async (url) => {
    await navigator.serviceWorker.register("/relay.js");
    const { active } = await navigator.serviceWorker.ready;
    const { port1, port2 } = new MessageChannel();
    const heard = new Promise((done) => { port1.onmessage = ({ data }) => done(data); });
    active.postMessage(url, [port2]);
    return heard;
  });

  const post = (name, action, enctype) => attempt(name, () => new Promise((done) => {
    const frame = document.body.appendChild(Object.assign(document.createElement("iframe"), { name: `in-${name}` }));
    const form = Object.assign(document.createElement("form"), { action, enctype, method: "POST", target: frame.name });
    document.body.append(form);
    frame.onload = () => done("loaded");
    form.submit();
  }));
  post("form", at("form"), "text/plain");
  post("form-redirected", "/bounce/form-redirected", "multipart/form-data");
  post("form-logout", `${victim}/.patapim/logout`, "text/plain");

  // Nobody hears of these again but the network.
  attempt("beacon", (url) => navigator.sendBeacon(url, "x"));
  attempt("ping", (ping) => {
    const link = Object.assign(document.createElement("a"), { href: "#", ping });
    document.body.append(link);
    link.click();
  });

  attempt("icon", (href) => document.head.append(Object.assign(document.createElement("link"), { rel: "icon", href })));
  attempt("report", () => element("iframe", { src: "/reporter" }));
  const speculate = (kind) => attempt(kind, (url) => {
    const textContent = JSON.stringify({ [kind]: [{ source: "list", urls: [url], eagerness: "immediate" }] });
    document.body.append(Object.assign(document.createElement("script"), { type: "speculationrules", textContent }));
  });
  speculate("prefetch");
  speculate("prerender");

  const api = `${deployer}/api/v1`;
  attempt("deployer-sign-out", () => send(`${api}/sign-out`, { method: "POST", mode: "no-cors" }));
  attempt("deployer-read", () => send(`${api}/passkeys`));
  attempt("deployer-page", () => send(`${deployer}/`));
  attempt("deployer-delete", () => send(`${api}/sessions`, { method: "DELETE" }));
  attempt("deployer-script", () => element("script", { src: `${api}/tunnels` }));
  attempt("deployer-events", () => new Promise((done) => {
    const source = new EventSource(`${api}/events`, { withCredentials: true });
    source.onopen = () => done("opened");
    source.onerror = () => { source.close(); done("failed"); };
  }));
  post("deployer-form", `${api}/sign-out`, "text/plain");

  await Promise.all(attempts);
  return told;
}
