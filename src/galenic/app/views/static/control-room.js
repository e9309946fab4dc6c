// What the browser does by itself: patches of values, keyboard, theme, sign-in, lost contact.
"use strict";
window.galenic = {
  // changes: {key: text | {text, title, class, attrs: {name: value}, html}}
  patch(changes) {
    for (const [key, change] of Object.entries(changes)) {
      for (const element of document.querySelectorAll(`[data-live="${CSS.escape(key)}"]`)) {
        if (typeof change !== "object") { element.textContent = change; continue; }
        if (change.text !== undefined) element.textContent = change.text;
        if (change.html !== undefined) element.innerHTML = change.html;
        if (change.title !== undefined) element.title = change.title;
        if (change.class !== undefined) element.setAttribute("class", change.class);
        for (const [name, value] of Object.entries(change.attrs || {})) element.setAttribute(name, value);
      }
    }
  },
  // text of a tooltip over all series at one time: only those that have a name to show
  tip(rows) {
    const list = Array.isArray(rows) ? rows : [rows];
    if (!list.length) return "";
    const clock = new Date(list[0].axisValue ?? list[0].value[0]).toISOString().slice(11, 19);
    const shown = list.filter((row) => !String(row.seriesName).startsWith("_"));
    const escape = (text) => String(text).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
    return [clock, ...shown.map((row) => {
      const value = row.value[2] ?? Number(row.value[1]).toPrecision(5);
      return `${escape(row.seriesName)}: <b>${escape(value)}</b>`;
    })].join("<br>");
  },
  theme(name) {
    const dark = name === "dark" || (name !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    window.Quasar?.Dark.set(dark);
    document.body.classList.toggle("body--dark", dark);
    document.body.classList.toggle("body--light", !dark);
  },
  switchTheme() {
    const next = document.body.classList.contains("body--dark") ? "light" : "dark";
    localStorage.setItem("galenic-theme", next);
    galenic.theme(next);
  },
  async signIn(form) {
    const wrong = form.querySelector(".wrong");
    wrong.textContent = "";
    try {
      const answer = await fetch("/api/sign-in", {
        method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ name: form.elements.name.value, password: form.elements.password.value }),
      });
      if (answer.ok) {
        const next = new URLSearchParams(location.search).get("next") || "/";
        location.href = next.startsWith("/") && !next.startsWith("//") ? next : "/";
        return;
      }
      const problem = await answer.json();
      wrong.textContent = problem.detail || problem.title || "That did not work.";
    } catch { wrong.textContent = "The server does not answer. Is it running?"; }
    form.elements.password.value = "";
    form.elements.password.focus();
  },
  async signOut() { await fetch("/api/sign-out", { method: "POST" }); location.href = "/sign-in"; },
  places: { o: "/", s: "/services", m: "/models", a: "/alarms", r: "/records", d: "/data", e: "/settings" },
};

galenic.theme(localStorage.getItem("galenic-theme"));
document.addEventListener("DOMContentLoaded", () => setTimeout(() => galenic.theme(localStorage.getItem("galenic-theme")), 0));

// keyboard
let goingTo = 0;
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "Escape") {
    document.getElementById("help")?.close();
    if (typing) event.target.blur();
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (Date.now() - goingTo < 1500) {
    goingTo = 0;
    const twin = document.querySelector("[data-first-twin]")?.dataset.firstTwin;
    const place = event.key === "t" && twin ? twin : galenic.places[event.key];
    if (place) { event.preventDefault(); location.href = place; }
  } else if (event.key === "g") goingTo = Date.now();
  else if (event.key === "?") document.getElementById("help")?.showModal();
  else if (event.key === "/") {
    const search = document.querySelector("input[aria-label*='earch'], .search input");
    event.preventDefault();
    if (search) search.focus(); else location.href = "/services?search=";
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const items = [...document.querySelectorAll("[data-row]")];
    if (!items.length) return;
    const at = items.indexOf(document.activeElement), step = event.key === "ArrowDown" ? 1 : -1;
    items[Math.min(items.length - 1, Math.max(0, at + step))].focus();
    event.preventDefault();
  }
});

// contact: the server says something at least every 2 s; after 6 s of silence the banner shows
galenic.heard = Date.now();
galenic.beat = () => { galenic.heard = Date.now(); };
setInterval(() => {
  if (!document.getElementById("contact-lost")) return;
  const lost = Date.now() - galenic.heard > 6000;
  if (lost && !document.body.classList.contains("contact-lost"))
    document.getElementById("contact-since").textContent = new Date(galenic.heard).toLocaleTimeString();
  document.body.classList.toggle("contact-lost", lost);
  if (lost) fetch("/api/health").then((answer) => {
    // the server is back but this page's connection is not: begin anew
    if (answer.ok && Date.now() - galenic.heard > 15000) location.reload();
  }).catch(() => {});
}, 1000);
