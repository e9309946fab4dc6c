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
  // a number at an axis, without the digits of a value that only ends it
  tick: (value) => String(Number(value.toPrecision(4))),

  // text of a tooltip over all series at one time: only those that have a name to show
  tip(rows) {
    const list = Array.isArray(rows) ? rows : [rows];
    if (!list.length) return "";
    const clock = new Date(list[0].axisValue ?? list[0].value[0]).toISOString().slice(11, 19);
    const escape = (text) => String(text).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
    const groups = new Map();
    for (const row of list) {
      // "what | of which quantity | unit"; one with an underscore is only the edge of a band
      const [name, quantity = "", unit = ""] = String(row.seriesName).split("|");
      if (name.startsWith("_")) continue;
      const value = row.value[2] ?? Number(row.value[1]).toPrecision(5);
      const line = `${escape(name)} <b>${escape(value)}</b> ${escape(unit)}`;
      groups.set(quantity, [...(groups.get(quantity) || []), line]);
    }
    return [clock, ...[...groups].map(([quantity, lines]) => (quantity ? `${escape(quantity)}: ` : "") + lines.join(", "))].join("<br>");
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
    const wrong = form.closest("main").querySelector(".wrong"), fields = form.elements;
    const post = (path, body) => fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    wrong.textContent = "";
    try {
      if (fields.fresh.value) {
        const body = { name: fields.name.value, old: fields.password.value, new: fields.fresh.value };
        const changed = await post("/api/password", body);
        if (!changed.ok) {
          const problem = await changed.json();
          wrong.textContent = [problem.detail, problem.expected].filter(Boolean).join("; expected: ");
          return;
        }
        fields.password.value = fields.fresh.value;
        fields.fresh.value = "";
      }
      const body = { name: fields.name.value, password: fields.password.value, reason: fields.reason.value };
      const answer = await post("/api/sign-in", body);
      if (answer.ok) {
        const next = new URLSearchParams(location.search).get("next") || "/";
        location.href = next.startsWith("/") && !next.startsWith("//") ? next : "/";
        return;
      }
      const problem = await answer.json();
      const said = [problem.detail || problem.title || "That did not work.", problem.hint].filter(Boolean).join("; ");
      wrong.textContent = said[0].toUpperCase() + said.slice(1);
      const more = { PasswordExpired: "fresh", DataError: "more" }[problem.error];
      if (more) {
        const label = form.querySelector(`.${more}`);
        label.hidden = false;
        label.querySelector("input").focus();
        return;
      }
    } catch { wrong.textContent = "The server does not answer. Is it running?"; }
    fields.password.value = "";
    fields.password.focus();
  },
  async signOut() { await fetch("/api/sign-out", { method: "POST" }); location.href = "/sign-in"; },
  // a chart as PNG or PDF: its colours as they are now, with title and note above it
  async picture(id, form, name, title, note) {
    const svg = document.getElementById(id)?.querySelector("svg");
    if (!svg) return;
    const style = getComputedStyle(document.body), scale = 3, head = 52;
    const colour = (key) => style.getPropertyValue(key).trim();
    const { width, height } = svg.getBoundingClientRect();
    const copy = svg.cloneNode(true);
    copy.setAttribute("width", width); copy.setAttribute("height", height);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const sheet = document.createElementNS("http://www.w3.org/2000/svg", "style");
    sheet.textContent = await galenic.fonts();
    copy.prepend(sheet);
    const text = new XMLSerializer().serializeToString(copy).replace(/var\((--[\w-]+)\)/g, (_, key) => colour(key));
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * scale); canvas.height = Math.round((height + head) * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.fillStyle = colour("--card"); pen.fillRect(0, 0, width, height + head);
    pen.fillStyle = colour("--text"); pen.font = `500 15px ${style.fontFamily}`; pen.fillText(title, 12, 22, width - 24);
    pen.fillStyle = colour("--muted"); pen.font = `12px ${style.fontFamily}`; pen.fillText(note, 12, 40, width - 24);
    pen.drawImage(image, 0, head, width, height);
    URL.revokeObjectURL(image.src);
    const blob = await new Promise((done) => canvas.toBlob(done, form === "pdf" ? "image/jpeg" : "image/png", 0.95));
    galenic.save(form === "pdf" ? await galenic.pdf(blob, canvas.width, canvas.height, title) : blob, `${name}.${form}`);
  },
  // the fonts of the page as text: a picture cannot load them
  async fonts() {
    const loaded = performance.getEntriesByType("resource").map((one) => one.name).filter((name) => name.endsWith(".woff2"));
    const within = (sheet) => [...sheet.cssRules].flatMap((rule) => (rule.styleSheet ? within(rule.styleSheet) : [rule]));
    const rules = [...document.styleSheets].flatMap(within).filter((rule) => rule instanceof CSSFontFaceRule);
    const made = rules.filter((rule) => rule.cssText.includes("Roboto")).map(async (rule) => {
      const file = /url\("?([^")]+)"?\)/.exec(rule.cssText)?.[1], url = file && new URL(file, rule.parentStyleSheet.href).href;
      if (!loaded.includes(url)) return "";
      const bytes = await (await fetch(url)).blob(), reader = new FileReader();
      const data = await new Promise((done) => { reader.onload = () => done(reader.result); reader.readAsDataURL(bytes); });
      return rule.cssText.replace(file, data);
    });
    return (await Promise.all(made)).join("\n");
  },
  save(blob, name) {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  },
  // one page as wide as A4 is long, with one JPEG picture on it (ISO 32000-1, 7.5 and 8.9.5)
  async pdf(jpeg, width, height, title) {
    const wide = 842, high = Math.round(wide * height / width), parts = [], places = [];
    const bytes = new Uint8Array(await jpeg.arrayBuffer()), write = new TextEncoder();
    let length = 0;
    const add = (part) => { const made = typeof part === "string" ? write.encode(part) : part; parts.push(made); length += made.length; };
    const object = (...body) => { places.push(length); add(`${places.length} 0 obj\n`); body.forEach(add); add("\nendobj\n"); };
    const hex = [...title].map((c) => c.codePointAt(0) > 0xffff ? "fffd" : c.charCodeAt(0).toString(16).padStart(4, "0")).join("");
    const draw = `q ${wide} 0 0 ${high} 0 0 cm /I Do Q`;
    add("%PDF-1.4\n");
    object("<< /Type /Catalog /Pages 2 0 R >>");
    object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>");
    object(`<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${wide} ${high}] /Contents 5 0 R /Resources << /XObject << /I 4 0 R >> >> >>`);
    object(`<< /Type /XObject /Subtype /Image /Width ${width} /Height ${height} /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode /Length ${bytes.length} >>\nstream\n`, bytes, "\nendstream");
    object(`<< /Length ${draw.length} >>\nstream\n${draw}\nendstream`);
    object(`<< /Title <feff${hex}> /Producer (galenic) >>`);
    const table = length;
    add(`xref\n0 ${places.length + 1}\n0000000000 65535 f \n${places.map((at) => `${String(at).padStart(10, "0")} 00000 n \n`).join("")}`);
    add(`trailer\n<< /Size ${places.length + 1} /Root 1 0 R /Info 6 0 R >>\nstartxref\n${table}\n%%EOF\n`);
    return new Blob(parts, { type: "application/pdf" });
  },
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
    const link = document.querySelector(`.topbar nav a[data-key="${CSS.escape(event.key)}"]`);
    const place = event.key === "t" && twin ? twin : link?.getAttribute("href");
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

// a quantity into the trends: drag it there, click it, or Enter on it; touch drags as the mouse does
const dropZone = () => [...document.querySelectorAll("[data-takes-quantity]")].find((zone) => zone.offsetParent !== null);
galenic.show = (name, toggle = false) => dropZone()?.dispatchEvent(new CustomEvent("quantity", { detail: { name, toggle } }));
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-show]");
  if (button) galenic.show(button.dataset.show, true);
});
let carried = null;
const carrying = (event) => {
  const far = Math.hypot(event.clientX - carried.x, event.clientY - carried.y) > 6;
  if (!carried.ghost && far) {
    carried.ghost = Object.assign(document.createElement("div"), { className: "carried", textContent: carried.label });
    document.body.append(carried.ghost);
    document.body.classList.add("carrying");
  }
  if (!carried.ghost) return;
  carried.ghost.style.transform = `translate(${event.clientX + 12}px, ${event.clientY + 8}px)`;
  const zone = dropZone();
  zone?.classList.toggle("over", zone.contains(document.elementFromPoint(event.clientX, event.clientY)));
  event.preventDefault();
};
const dropped = (event) => {
  removeEventListener("pointermove", carrying);
  const { name, ghost } = carried, zone = dropZone();
  carried = null;
  ghost?.remove();
  document.body.classList.remove("carrying");
  zone?.classList.remove("over");
  if (event.type !== "pointerup") return;
  const onZone = zone?.contains(document.elementFromPoint(event.clientX, event.clientY));
  if (!ghost || onZone) galenic.show(name);
};
document.addEventListener("pointerdown", (event) => {
  const from = event.target.closest("[data-quantity]");
  if (!from || event.button || event.target.closest("button, a, input")) return;
  carried = { name: from.dataset.quantity, label: from.dataset.label || from.dataset.quantity, x: event.clientX, y: event.clientY };
  addEventListener("pointermove", carrying);
  addEventListener("pointerup", dropped, { once: true });
  addEventListener("pointercancel", dropped, { once: true });
});
document.addEventListener("keydown", (event) => {
  const from = event.target.closest?.("[data-quantity]");
  if (!from || event.target !== from || (event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  galenic.show(from.dataset.quantity);
});

// ledger: two marked entries are compared, the third takes the place of the first
let marks = [];
document.addEventListener("change", (event) => {
  const box = event.target.closest?.("[data-mark]");
  if (!box) return;
  marks = marks.filter((one) => one.isConnected && one !== box && one.checked);
  if (box.checked) marks.push(box);
  while (marks.length > 2) marks.shift().checked = false;
  box.closest(".card").dispatchEvent(new CustomEvent("mark", { detail: marks.map((one) => one.dataset.mark) }));
});
document.addEventListener("click", (event) => {
  for (const name of ["earlier", "sign"]) {
    const button = event.target.closest(`[data-${name}]`);
    if (button) button.closest(".card").dispatchEvent(new CustomEvent(name, { detail: button.dataset[name] }));
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
