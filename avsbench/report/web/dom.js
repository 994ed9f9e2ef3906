// Elements, numbers in words, announcements. What comes from the data reaches the page as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const NOTHING = "–";

/** An element with attributes (`class`, `onclick`, true/false) and children: elements, texts, lists of both, or null. */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for a drawing. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return node;
}

/** A link; an address that is neither relative nor of the web stays text. */
function link(text, address) {
  if (!address) return text;
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(address.replaceAll(/[\0- ]/g, "")); // browsers skip these, too
  if (scheme && !/^https?$/i.test(scheme[1])) return text;
  return el("a", { href: address }, text);
}

/** Text in which `code` between backticks, and nothing else, has a form of its own. */
function prose(text) {
  return String(text).replaceAll("**", "").split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

/** A list of notes; null if there are none. */
function notes(lines) {
  return lines.length === 0 ? null : el("div", { class: "notes" }, el("ul", {}, lines.map((line) => el("li", {}, prose(line)))));
}

/** A block that opens and closes. */
function fold(summary, content, open = false) {
  return el("details", { class: "fold", open }, el("summary", {}, summary), content);
}

/** A number with so many decimals; a dash where there is none. */
function fixed(value, decimals = 2) {
  return value === null || value === undefined ? NOTHING : value.toFixed(decimals).replace("-", "−");
}

/** A signed number: +0.52, −1.20, 0.00. */
function signed(value, decimals = 2) {
  if (value === null || value === undefined) return NOTHING;
  const rounded = Number(value.toFixed(decimals)) || 0; // and not -0
  return `${rounded > 0 ? "+" : ""}${fixed(rounded, decimals)}`;
}

/** A quantity of any size with three leading digits. */
function brief(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en", { minimumFractionDigits: 0, maximumFractionDigits: Math.min(digits, 5) });
}

function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** Tell a screen reader what changed. */
function announce(text) {
  document.getElementById("status").textContent = text;
}

/** Draw anew what stands in `host`; the element of the same `data-focus` is focused again, and regions stay scrolled. */
function redraw(host, ...content) {
  const focused = host.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const left = [...host.querySelectorAll(".scroll")].map((region) => region.scrollLeft);
  host.replaceChildren(...content.flat(Infinity).filter(Boolean));
  host.querySelectorAll(".scroll").forEach((region, i) => { region.scrollLeft = left[i] ?? 0; });
  if (focused) host.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}
