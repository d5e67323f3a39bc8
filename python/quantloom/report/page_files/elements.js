// Elements and numbers. All text goes into the page as text nodes: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}
const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const byId = (id) => document.getElementById(id);

function digits(value, significant) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const decimals = Math.max(0, significant - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en-US", { minimumFractionDigits: Math.min(decimals, 6), maximumFractionDigits: Math.min(decimals, 6) });
}
const whole = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: 2 }));
// 2nd, 3rd, 4th, 11th, 21st
function ordinal(n) {
  const ending = n % 100 >= 11 && n % 100 <= 13 ? "th" : ["th", "st", "nd", "rd"][n % 10] || "th";
  return `${n}${ending}`;
}
const percent = (share, decimals = 2) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(decimals)} %`);

// A scale for a column of values: {factor, unit}, the largest below 1000.
function scaleFor(values, unit, perUnit) {
  const most = Math.max(0, ...values.filter((v) => Number.isFinite(v))) * perUnit;
  const steps = [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3], ["", 1], ["m", 1e-3], ["µ", 1e-6], ["n", 1e-9], ["p", 1e-12]];
  const [prefix, size] = steps.find(([, s]) => most >= s) || ["p", 1e-12];
  return { factor: perUnit / size, unit: prefix + unit };
}
const energyScale = (values) => scaleFor(values, "J", 1e-12);
function energyText(pj) {
  const scale = energyScale([pj]);
  return pj === null ? "–" : `${digits(pj * scale.factor, 4)} ${scale.unit}`;
}
function bytesText(bits) {
  if (bits === null || bits === undefined) return "–";
  let size = bits / 8;
  for (const unit of ["B", "KiB", "MiB"]) {
    if (size < 1024) return `${digits(size, 4)} ${unit}`;
    size /= 1024;
  }
  return `${digits(size, 4)} GiB`;
}

// columns: [{title, num, className}]; rows: [{cells: [text or node], chosen, attributes}]; the first cell heads its row.
function table(caption, columns, rows) {
  const head = el("tr", {}, ...columns.map((c) => el("th", { scope: "col", class: c.num ? "num" : null }, c.title)));
  const body = rows.map((row) =>
    el("tr", { class: row.chosen ? "chosen" : null, "aria-current": row.chosen ? "true" : null, ...row.attributes },
      ...row.cells.map((cell, i) => {
        const kind = columns[i].num ? "num" : columns[i].className;
        return i === 0 ? el("th", { scope: "row", class: kind }, cell) : el("td", { class: kind }, cell);
      })));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, ...body)));
}
const asTable = (summary, content) => el("details", {}, el("summary", {}, summary), content);

function section(id, title, note, ...content) {
  return el("section", { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title), note ? el("p", { class: "note" }, note) : null, ...content);
}
const legend = (entries) =>
  el("ul", { class: "legend" }, ...entries.map(([text, color, className]) =>
    el("li", {}, color instanceof Node ? color : el("i", { style: color ? `background:${color}` : null, class: className || null, "aria-hidden": "true" }), text)));

// A stacked bar: parts [{value, color, className, title}], as a share of `most`.
function bar(parts, most) {
  return el("div", { class: "bar", "aria-hidden": "true" }, ...parts.filter((p) => p.value > 0).map((p) =>
    el("i", { class: p.className || null, title: p.title, style: `width:${((100 * p.value) / (most || 1)).toFixed(3)}%;${p.color ? `background:${p.color}` : ""}` })));
}

function niceTicks(low, high, about) {
  const raw = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((s) => s * power >= raw) * power;
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) ticks.push(Number(t.toPrecision(12)));
  return ticks;
}

function showTip(anchor, entries) {
  const tip = byId("tip");
  tip.replaceChildren(el("dl", {}, ...entries.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])));
  tip.hidden = false;
  const box = anchor.getBoundingClientRect();
  const left = Math.min(box.right + 10, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(4, left) + window.scrollX}px`;
  tip.style.top = `${Math.max(4, box.top - tip.offsetHeight - 8) + window.scrollY}px`;
}
const hideTip = () => { byId("tip").hidden = true; };
