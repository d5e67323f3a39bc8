// Puts the page together and redraws the sections that depend on the chosen point, layer, axis or tensors.

const run = JSON.parse(byId("data").textContent);
const points = [...run.points, ...run.baselines.map((p) => ({ ...p, is_baseline: true }))];
const firstCost = OBJECTIVE_COST[run.objectives.find((name) => name !== "error")] || "energy_pj";
const state = { point: Math.max(0, run.points.length - 1), layer: 0, cost: firstCost, tensors: "weights" };

const choose = {
  point(index, focus) { state.point = index; redraw(focus); },
  layer(index) { state.layer = index; redraw(false); },
  tensors(kind) { state.tensors = kind; redraw(false); },
  cost(name) { state.cost = name; redraw(false); },
};

function frontSection() {
  const axis = el("select", { id: "cost", on: { change: (event) => choose.cost(event.target.value) } },
    ...Object.entries(COSTS).filter(([name]) => points.every((p) => p[name] !== null)).map(([name, [text]]) => el("option", { value: name, selected: name === state.cost }, text)));
  const part = run.points.length > 1 ? `every ${ordinal(run.points_every)}` : "the first";
  const left = run.points_in_all > run.points.length ? `, ${part} of ${whole(run.points_in_all)}` : "";
  const seen = run.candidate_step > 1 ? `evaluated, every ${ordinal(run.candidate_step)} of ${whole(run.evaluations)}` : `evaluated (${whole(run.evaluations)})`;
  return section("front", run.status === "finished" ? "Front" : "Front so far",
    "Accuracy that can be had up to a cost. A point is chosen by a click, or with the arrow keys; the sections below show it.",
    el("div", { class: "tools" }, el("label", {}, "Cost ", axis)),
    legend([[`front (${whole(run.points.length)}${left})`, "var(--front)"], ["baselines", "var(--uniform)"], [seen, "var(--seen)"], ["chosen", "var(--chosen)"], ...rivalLegend(run.curves)]),
    el("div", { class: "scroll" }, frontSvg(run, points, state.cost, state.point, choose.point)),
    asTable("As a table", frontTable(points, state.point, choose.point)), ...rivalTables(run));
}

function savingsSection() {
  const words = { energy_pj: "energy", cycles: "latency", edp: "EDP", sum_edp: "sum of layer EDPs", weight_bits: "weight memory", peak_activation_bits: "peak activation memory", bops: "bit operations" };
  const gain = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(2)} points`;
  const rows = run.savings.filter((s) => s.chosen_on === "validation").map((s) => ({
    cells: [s.baseline, words[s.objective] || s.objective, s.point, percent(s.saved, 2), gain(s.gain_validation), gain(s.gain_test)],
  }));
  const note = "For each baseline the cheapest point that is at least as accurate on validation; baselines that no point beats are not listed.";
  const columns = [{ title: "against" }, { title: "cost" }, { title: "point" }, ...["saved", "accuracy, validation", "accuracy, test"].map((title) => ({ title, num: true }))];
  return section("savings", "What the front saves", note, rows.length ? table("Savings at no lower accuracy", columns, rows) : el("p", {}, run.status === "finished" ? "The front beats no baseline." : "Computed when the search ends."));
}

function sourcesSection() {
  const rows = run.energy_sources.map((s) => ({ cells: [`${s.component}, ${s.action}`, digits(s.energy_pj, 4), s.unit.replace(/^pJ /, ""), s.source] }));
  return section("sources", "Where the energies are from", null,
    table("Every energy of the accelerator", [{ title: "component and action" }, { title: "pJ", num: true }, { title: "" }, { title: "source", className: "text" }], rows));
}

function manifestSection() {
  const { config, sessions, inputs } = run.manifest;
  const plain = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));
  const rows = (values) => Object.entries(values || {}).map(([key, value]) => ({ cells: [key, plain(value)] }));
  const columns = [{ title: "" }, { title: "", className: "text" }];
  return section("manifest", "Manifest", "What this run depends on; a run with the same is the same.",
    table("Settings", columns, rows(config)),
    el("details", {}, el("summary", {}, "SHA-256 of the inputs"), table("Inputs", columns, rows(inputs))),
    ...(sessions || []).map((s, i) => el("details", {}, el("summary", {}, `Session ${i + 1}: ${s.started_utc || ""}`), table(`Session ${i + 1}`, columns, rows(s)))),
    asTable("manifest.json", el("pre", { tabindex: "0" }, JSON.stringify(run.manifest, null, 1))));
}

// id -> how to draw it; those with a point need one.
const drawers = {
  front: () => frontSection(),
  bits: () => bitsSection(run, points, state, choose),
  energy: () => energySection(run, points[state.point], state, choose),
  latency: () => latencySection(run, points[state.point], state, choose),
  mapping: () => nestSection(run, points[state.point], state),
};

function redraw(focus) {
  hideTip();
  const active = document.activeElement;
  const place = active && active.closest("section") ? [active.closest("section").id, focusKey(active)] : null;
  const scrolled = byId("bits").querySelector(".heat").scrollLeft;
  const open = [...document.querySelectorAll("#front details")].some((d) => d.open);
  for (const [id, draw] of Object.entries(drawers)) byId(id).replaceWith(draw());
  byId("bits").querySelector(".heat").scrollLeft = scrolled;
  for (const details of document.querySelectorAll("#front details")) details.open = open;
  byId("point").value = String(state.point);
  byId("layer").value = String(state.layer);
  byId("chosen").textContent = pointEntries(points[state.point]).slice(1, 5).map(([k, v]) => `${k} ${v}`).join(" · ");
  if (focus) document.querySelector("#front .mark[aria-checked='true']").focus();
  else if (place && place[1] !== null) restoreFocus(place);
}

// Redrawing replaces elements: the one that had the focus is found again by its position among those of its kind.
const FOCUSABLE = "button, select, input, summary, [tabindex='0']";
const focusKey = (node) => [...node.closest("section").querySelectorAll(FOCUSABLE)].indexOf(node);
function restoreFocus([id, key]) {
  const node = byId(id).querySelectorAll(FOCUSABLE)[key];
  if (node) node.focus({ preventScroll: true });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light page" : "Dark page";
}

function start() {
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  const planned = run.planned_evaluations ? ` of at most ${whole(run.planned_evaluations)}` : "";
  byId("about").append(
    el("span", { class: `badge ${run.status}` }, run.status === "finished" ? "finished" : "not finished: what is known so far"),
    ` ${whole(run.evaluations)}${planned} assignments evaluated by ${run.accuracy_method}. ${run.data ? `Data: ${run.data}. ` : ""}Not quantized: validation ${percent(run.float_accuracy_validation)}, test ${percent(run.float_accuracy_test)}.`);
  if (points.length === 0) {
    byId("main").append(section("front", "Front so far", null, el("p", {}, "No assignment has been evaluated yet.")), sourcesSection(), manifestSection());
    return;
  }
  byId("point").append(...points.map((p, i) => el("option", { value: i }, p.label)));
  byId("layer").append(...run.layers.map((name, i) => el("option", { value: i }, name)));
  byId("point").addEventListener("change", (event) => choose.point(Number(event.target.value), false));
  byId("layer").addEventListener("change", (event) => choose.layer(Number(event.target.value)));
  byId("controls").hidden = false;
  byId("main").append(drawers.front(), savingsSection(), drawers.bits(), drawers.energy(), drawers.latency(), drawers.mapping(), traceSection(run), sourcesSection(), manifestSection());
  redraw(false);
}
start();
