// Where energy and cycles of the chosen point go: by level and tensor, layer by layer; and which level binds.

const color = (i) => `var(--c${i % 8})`;
const tensorsOf = (levels) => [...new Set(levels.flatMap((l) => Object.keys(l.tensors)))];

// Costs of the point's layers, null where the page does not have one.
const costsOf = (run, point) => point.layers.map((layer) => (layer[5] >= 0 ? run.mappings[layer[5]].cost : null));

function levelParts(cost) {
  const rows = cost.levels.map((l) => ({
    name: l.level,
    tensors: Object.fromEntries(Object.entries(l.tensors).map(([name, t]) => [name, t.energy_pj])),
    rest: l.network_energy_pj + l.leak_energy_pj,
  }));
  rows.push({ name: "arithmetic", tensors: {}, rest: cost.arithmetic_energy_pj + cost.arithmetic_leak_energy_pj });
  return rows.map((row) => ({ ...row, total: Object.values(row.tensors).reduce((a, b) => a + b, row.rest) }));
}

function sumByLevel(costs) {
  const sums = new Map();
  for (const row of costs.flatMap(levelParts)) {
    const sum = sums.get(row.name) || { name: row.name, tensors: {}, rest: 0, total: 0 };
    for (const [name, pj] of Object.entries(row.tensors)) sum.tensors[name] = (sum.tensors[name] || 0) + pj;
    sum.rest += row.rest;
    sum.total += row.total;
    sums.set(row.name, sum);
  }
  return [...sums.values()];
}

function missing(run, point) {
  if (run.status !== "finished") return "The search is not finished: mappings are written when it ends.";
  if (run.mappings_of_every > 1) return `To keep this page small it holds the mappings of every ${ordinal(run.mappings_of_every)} point only, and not those of ${point.label}; mappings.json beside it has them all.`;
  return "This run was written without the breakdown of its mappings.";
}

function energySection(run, point, state, choose) {
  const title = `Energy of ${point.label}`;
  const costs = costsOf(run, point);
  if (costs.some((cost) => cost === null || cost === undefined)) return section("energy", title, null, el("p", {}, missing(run, point)));
  const rows = sumByLevel(costs);
  const tensors = tensorsOf(costs.flatMap((c) => c.levels));
  const most = Math.max(...rows.map((r) => r.total));
  const total = rows.reduce((sum, row) => sum + row.total, 0);
  const scale = energyScale([most]);
  const number = (pj) => (pj ? digits(pj * scale.factor, 4) : "–");
  const byLevel = table(`Energy by level and tensor, in ${scale.unit}, all layers: ${energyText(total)} in all`,
    [{ title: "level" }, ...[...tensors, "networks, leakage, arithmetic", "sum", "share"].map((t) => ({ title: t, num: true })), { title: "", className: "wide" }],
    rows.map((row) => ({ cells: [row.name, ...tensors.map((t) => number(row.tensors[t])), number(row.rest), number(row.total), percent(row.total / total, 1),
      bar([...tensors.map((t, i) => ({ value: row.tensors[t] || 0, color: color(i), title: `${row.name}, ${t}: ${energyText(row.tensors[t] || 0)}` })), { value: row.rest, color: "var(--c6)", title: `${row.name}: ${energyText(row.rest)}` }], most)] })));
  const beside = point.operators_energy_pj ? ` Operators beside the layers take ${energyText(point.operators_energy_pj)} more, charged as traffic of the outermost level; they are not in these tables.` : "";
  return section("energy", title, `Where the energy of one sample goes, under the best mapping of every layer.${beside}`,
    legend([...tensors.map((t, i) => [t, color(i)]), ["networks, leakage, arithmetic", "var(--c6)"]]), byLevel,
    el("h3", {}, "Layer by layer"), ...layerEnergies(run, point, costs, state, choose));
}

function layerButton(run, i, choose) {
  return el("button", { type: "button", on: { click: () => choose.layer(i) } }, run.layers[i]);
}
const bitsText = (layer) => `${layer[0]} / ${layer[1]} / ${layer[2]}`;

function layerEnergies(run, point, costs, state, choose) {
  const names = levelParts(costs[0]).map((row) => row.name);
  const most = Math.max(...point.layers.map((layer) => layer[3]));
  const scale = energyScale([most]);
  return [legend(names.map((name, i) => [name, color(i)])),
    table("Energy of every layer, by level", [{ title: "layer" }, { title: "bits w / in / out", num: true }, { title: `energy, ${scale.unit}`, num: true }, { title: "", className: "wide" }],
      point.layers.map((layer, i) => ({
        chosen: i === state.layer,
        cells: [layerButton(run, i, choose), bitsText(layer), digits(layer[3] * scale.factor, 4),
          bar(levelParts(costs[i]).map((row, k) => ({ value: row.total, color: color(k), title: `${run.layers[i]}, ${row.name}: ${energyText(row.total)}` })), most)],
      })))];
}

function latencySection(run, point, state, choose) {
  const title = `Latency of ${point.label}`;
  const costs = costsOf(run, point);
  if (costs.some((cost) => cost === null || cost === undefined)) return section("latency", title, null, el("p", {}, missing(run, point)));
  const names = costs[0].levels.map((l) => l.level);
  const most = Math.max(...point.layers.map((layer) => layer[4]));
  const total = point.layers.reduce((sum, layer) => sum + layer[4], 0);
  const bound = point.layers.reduce((sum, layer, i) => sum + (costs[i].limited_by === null ? layer[4] : 0), 0);
  const look = (name) => (name === null ? { className: "compute" } : { color: color(names.indexOf(name)) });
  const used = [...new Set(costs.map((c) => c.limited_by))];
  return section("latency", title, `${whole(total)} cycles; ${percent(bound / total, 1)} of them in layers that wait for arithmetic, the others for the level named.`,
    legend(used.map((name) => [name === null ? "arithmetic" : `waits for ${name}`, name === null ? null : look(name).color, look(name).className])),
    table("Cycles of every layer and what binds them", [{ title: "layer" }, { title: "cycles", num: true }, { title: "cycles of arithmetic", num: true }, { title: "units in use", num: true }, { title: "waits for" }, { title: "", className: "wide" }],
      point.layers.map((layer, i) => ({
        chosen: i === state.layer,
        cells: [layerButton(run, i, choose), whole(layer[4]), whole(costs[i].compute_cycles), percent(costs[i].utilization, 1), costs[i].limited_by === null ? "arithmetic" : costs[i].limited_by,
          bar([{ value: layer[4], title: `${run.layers[i]}: ${whole(layer[4])} cycles`, ...look(costs[i].limited_by) }], most)],
      }))));
}
