// What of a page cannot be read, reached with the keyboard, or named by a screen reader.
(() => {
  const parse = (text) => { const m = /rgba?\(([^)]+)\)/.exec(text); if (!m) return null; const p = m[1].split(/[ ,\/]+/).map(Number); return [p[0], p[1], p[2], p[3] ?? 1]; };
  const over = (a, b) => [0, 1, 2].map((i) => a[3] * a[i] + (1 - a[3]) * b[i]).concat(1);
  const lum = (c) => { const l = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
  const ground = (e) => { const stack = []; for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c && c[3] > 0) { stack.push(c); if (c[3] === 1) break; } } return stack.reverse().reduce((b, c) => over(c, b), [255, 255, 255, 1]); };
  const poor = new Map();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || !e || e.closest("script, style, title, [disabled], .disabled, [aria-disabled=true], .visually-hidden, dialog:not([open])")) continue;
    const box = e.getBoundingClientRect(); if (!box.width || !box.height) continue;
    const style = getComputedStyle(e); if (style.visibility === "hidden") continue;
    let colour = parse(e.closest("svg") ? style.fill : style.color); if (!colour) continue;
    let fade = 1; for (let a = e; a; a = a.parentElement) fade *= Number(getComputedStyle(a).opacity);
    const g = ground(e); colour = over([colour[0], colour[1], colour[2], colour[3] * fade], g);
    const [hi, lo] = [lum(colour), lum(g)].sort((x, y) => y - x), ratio = (hi + 0.05) / (lo + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.set(`${e.tagName.toLowerCase()}.${e.className?.baseVal ?? e.className}`, `${ratio.toFixed(2)} "${text.slice(0, 30)}"`);
  }
  const focusable = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])";
  const unreachable = new Map();
  for (const e of document.querySelectorAll("*")) {
    const style = getComputedStyle(e);
    if (!["pointer", "grab"].includes(style.cursor) || !e.getBoundingClientRect().width) continue;
    if (e.parentElement && ["pointer", "grab"].includes(getComputedStyle(e.parentElement).cursor)) continue;
    if (e.closest(focusable) || e.querySelector(focusable) || e.closest("[disabled], label, .q-checkbox, .q-radio, [role=tab]")) continue;
    if (e.closest("tr")?.querySelector("button")) continue;  // the same by its button
    unreachable.set(`${e.tagName.toLowerCase()}.${e.className?.baseVal ?? e.className}`, e.textContent.trim().slice(0, 30));
  }
  const nameless = [...document.querySelectorAll("button, a[href], input, [role=button], [role=slider], [role=combobox]")].filter((e) => e.getBoundingClientRect().width && !(e.innerText?.trim() || e.textContent.trim() || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.title || e.labels?.length)).map((e) => e.outerHTML.slice(0, 140));
  return { poor: Object.fromEntries(poor), unreachable: Object.fromEntries(unreachable), nameless };
})()
