"use strict";
(() => {
  const at = (id) => document.getElementById(id);

  const show = (what, on, text) => {
    at(`${what}-dot`).className = `dot ${on ? "on" : "off"}`;
    at(`${what}-state`).textContent = text;
  };

  // Who it is, as the edge tells the app, and how long the session lasts, as the edge tells the browser.
  const tell = (term, text) => {
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = term;
    dd.textContent = text;
    at("session").append(dt, dd);
  };
  fetch("/whoami").then((answer) => answer.json()).then(({ user }) => {
    if (user) at("name").textContent = `, ${user}`;
  }).catch(() => {});
  fetch("/.patapim/session").then((answer) => answer.ok ? answer.json() : null).then((session) => {
    for (const [key, value] of Object.entries(session || {})) tell(key.replace(/_/g, " "), String(value));
  }).catch(() => {});

  // A full page load either way: without a session the edge sends the browser to the sign-in site.
  at("logout").addEventListener("click", async () => {
    await fetch("/.patapim/logout", { method: "POST" }).catch(() => {});
    location.reload();
  });

  const events = new EventSource("/clock");
  events.onopen = () => show("clock", true, "one event a second");
  events.onmessage = (event) => { at("clock").textContent = event.data; };
  events.onerror = () => show("clock", false, "cut; the browser tries again");

  const lines = at("lines");
  const add = (kind, text, note) => {
    const line = document.createElement("li");
    line.className = kind;
    line.textContent = text;
    if (note) {
      const took = document.createElement("span");
      took.className = "took";
      took.textContent = note;
      line.append(took);
    }
    lines.append(line);
    while (lines.children.length > 200) lines.firstChild.remove();
    lines.scrollTop = lines.scrollHeight;
  };

  let socket = null;
  let sent = [];
  let pause = 500;
  const connect = () => {
    const opened = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/echo`);
    opened.onopen = () => {
      socket = opened;
      sent = [];
      pause = 500;
      show("terminal", true, "connected");
      add("told", "connected: whatever you send comes back");
    };
    opened.onmessage = (event) => {
      const began = sent.shift();
      const note = began === undefined ? "" : `   ${(performance.now() - began).toFixed(1)} ms`;
      add("got", event.data, note);
    };
    opened.onclose = () => {
      if (socket === opened) add("told", "cut");
      socket = null;
      show("terminal", false, "cut; trying again");
      setTimeout(connect, pause);
      pause = Math.min(pause * 2, 15000);
    };
  };
  connect();

  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = at("line");
    if (!socket || !field.value) return;
    add("sent", field.value);
    sent.push(performance.now());
    socket.send(field.value);
    field.value = "";
  });
})();
