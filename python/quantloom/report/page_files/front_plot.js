// The front: a cost against accuracy, every point a radio button of one group.

const COSTS = {
  energy_pj: ["Energy", "J", 1e-12],
  latency_cycles: ["Latency", "cycles", 1],
  edp_pj_cycles: ["Energy-delay product", "J·cycles", 1e-12],
  sum_edp_pj_cycles: ["Sum of layer EDPs", "J·cycles", 1e-12],
  weight_memory_bits: ["Weight memory", "bit", 1],
  peak_activation_memory_bits: ["Peak activation memory", "bit", 1],
  bops: ["Bit operations", "BOP", 1],
};
const OBJECTIVE_COST = { energy_pj: "energy_pj", cycles: "latency_cycles", edp: "edp_pj_cycles", sum_edp: "sum_edp_pj_cycles", weight_bits: "weight_memory_bits", peak_activation_bits: "peak_activation_memory_bits", bops: "bops" };
const TICKS = [0, 20, 40, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 98.5, 99, 99.5, 99.9];
const level = (accuracy) => -Math.log10(Math.max(1 - accuracy, 1e-4));

function pointEntries(point) {
  return [
    ["point", point.label],
    ["accuracy, validation", percent(point.accuracy_validation)],
    ["accuracy, test", percent(point.accuracy_test)],
    ...((point.trained_validation ?? null) === null ? [] : [["after training", `validation ${percent(point.trained_validation)}${point.trained_test === null ? ", off the front then" : `, test ${percent(point.trained_test)}`}`]]),
    ["energy", point.operators_energy_pj ? `${energyText(point.energy_pj)}, ${energyText(point.operators_energy_pj)} of it in operators` : energyText(point.energy_pj)],
    ["latency", `${whole(point.latency_cycles)} cycles`],
    ["weight memory", bytesText(point.weight_memory_bits)],
    ["bits of weights", point.average_weight_bits === null ? "–" : digits(point.average_weight_bits, 3)],
    ["bits of activations", point.average_activation_bits === null ? "–" : digits(point.average_activation_bits, 3)],
  ];
}

function axes(frame, x, y, labels) {
  const { width, height, left, top, right, bottom } = frame;
  const parts = [];
  for (const tick of y.ticks) {
    parts.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: y.at(tick), y2: y.at(tick) }),
      svg("text", { x: left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, y.text(tick)));
  }
  for (const tick of x.ticks) {
    parts.push(svg("line", { class: "grid", x1: x.at(tick), x2: x.at(tick), y1: top, y2: height - bottom }),
      svg("text", { x: x.at(tick), y: height - bottom + 20, "text-anchor": "middle" }, x.text(tick)));
  }
  parts.push(svg("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, labels.x),
    svg("text", { transform: `translate(18 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, labels.y));
  return svg("g", { "aria-hidden": "true" }, ...parts);
}

function frontSvg(run, points, cost, chosen, choose) {
  const frame = { width: 960, height: 520, left: 84, top: 14, right: 26, bottom: 56 };
  const drawn = [...points, ...run.curves.flatMap((curve) => curve.points)];
  const all = drawn.map((p) => p[cost]);
  const scale = scaleFor(all, COSTS[cost][1], COSTS[cost][2]);
  const span = Math.max(...all) - Math.min(...all) || Math.max(...all) || 1;
  const [low, high] = [Math.min(...all) - 0.06 * span, Math.max(...all) + 0.08 * span];
  const floor = Math.min(...drawn.map((p) => p.accuracy_validation));
  const best = Math.max(run.float_accuracy_validation || 0, ...drawn.map((p) => p.accuracy_validation));
  const bottomLevel = level(1 - Math.min(1, (1 - floor) * 1.08));
  const topLevel = level(1 - (1 - Math.min(best, 1 - 1e-4)) / 1.12);
  const x = {
    at: (v) => frame.left + ((v - low) / (high - low)) * (frame.width - frame.left - frame.right),
    ticks: niceTicks(low * scale.factor, high * scale.factor, 7).map((t) => t / scale.factor),
    text: (t) => String(Number((t * scale.factor).toPrecision(6))),
  };
  const y = {
    at: (a) => frame.height - frame.bottom - ((level(a) - bottomLevel) / (topLevel - bottomLevel || 1)) * (frame.height - frame.bottom - frame.top),
    ticks: TICKS.map((t) => t / 100).filter((t) => level(t) >= bottomLevel && level(t) <= topLevel),
    text: (t) => `${Number((100 * t).toPrecision(4))}`,
  };
  const plot = svg("svg", { class: "plot", viewBox: `0 0 ${frame.width} ${frame.height}`, role: "radiogroup", "aria-label": `Points of the front and uniform bits: ${COSTS[cost][0]} against accuracy on validation. Arrow keys choose.` },
    axes(frame, x, y, { x: `${COSTS[cost][0]} (${scale.unit})`, y: "Accuracy on validation (%, log scale of the error)" }));
  plot.append(seenMarks(run, cost, x, y, frame));
  if (run.float_accuracy_validation !== null) {
    const at = y.at(run.float_accuracy_validation);
    plot.append(svg("g", { "aria-hidden": "true" }, svg("line", { class: "float", x1: frame.left, x2: frame.width - frame.right, y1: at, y2: at }),
      svg("text", { x: frame.left + 6, y: at - 5 }, "not quantized")));
  }
  plot.append(steps(points.filter((p) => p.uniform_bits === null && !p.is_baseline), cost, x, y, frame));
  plot.append(rivalMarks(run, cost, x, y, frame));
  const marks = points.map((point, i) => mark(point, i, x.at(point[cost]), y.at(point.accuracy_validation), i === chosen, choose));
  plot.append(...marks);
  plot.addEventListener("keydown", (event) => moveByKey(event, points, cost, chosen, choose));
  return plot;
}

function seenMarks(run, cost, x, y, frame) {
  const column = 1 + run.candidate_costs.indexOf(cost);
  const shown = svg("g", { "aria-hidden": "true" });
  for (const row of run.candidates) {
    const [cx, cy] = [x.at(row[column]), y.at(row[0])];
    if (cx >= frame.left && cx <= frame.width - frame.right && cy <= frame.height - frame.bottom) {
      shown.append(svg("circle", { class: "seen", cx: cx.toFixed(1), cy: cy.toFixed(1), r: 3 }));
    }
  }
  return shown;
}

function steps(front, cost, x, y, frame) {
  let best = -1;
  let path = "";
  for (const point of [...front].sort((a, b) => a[cost] - b[cost] || b.accuracy_validation - a.accuracy_validation)) {
    if (point.accuracy_validation <= best) continue;
    const [px, py] = [x.at(point[cost]), y.at(point.accuracy_validation)];
    path += path ? `H${px}V${py}` : `M${px} ${py}`;
    best = point.accuracy_validation;
  }
  return svg("path", { class: "steps", "aria-hidden": "true", d: path ? `${path}H${frame.width - frame.right}` : "M0 0" });
}

function mark(point, index, cx, cy, isChosen, choose) {
  const label = pointEntries(point).map(([k, v]) => (k === "point" ? v : `${k} ${v}`)).join(", ");
  const shape = point.is_baseline
    ? svg("rect", { class: "shape", x: cx - 6, y: cy - 6, width: 12, height: 12 })
    : svg("circle", { class: "shape", cx, cy, r: 6 });
  const text = point.is_baseline
    ? svg("text", { class: "uniform", x: cx + 10, y: cy + 17, "aria-hidden": "true" }, point.uniform_bits === null ? point.label : `${point.uniform_bits} bit`)
    : null;
  const node = svg("g", { class: point.is_baseline ? "mark uniform" : "mark", role: "radio", "aria-label": label, "aria-checked": String(isChosen), tabindex: isChosen ? "0" : "-1", "data-point": index },
    svg("circle", { class: "hit", cx, cy, r: 12 }), svg("circle", { class: "ring", cx, cy, r: 10.5 }), shape, text);
  node.addEventListener("click", () => choose(index, true));
  node.addEventListener("pointerenter", () => showTip(node.querySelector(".shape"), pointEntries(point)));
  node.addEventListener("pointerleave", hideTip);
  node.addEventListener("focus", () => { if (node.matches(":focus-visible")) showTip(node.querySelector(".shape"), pointEntries(point)); });
  node.addEventListener("blur", hideTip);
  return node;
}

function moveByKey(event, points, cost, chosen, choose) {
  const order = points.map((_, i) => i).sort((a, b) => points[a][cost] - points[b][cost] || a - b);
  const at = order.indexOf(chosen);
  const to = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: order.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  choose(order[(to + order.length) % order.length], true);
}

function frontTable(points, chosen, choose) {
  const energy = energyScale(points.map((p) => p.energy_pj));
  const edp = scaleFor(points.map((p) => p.edp_pj_cycles), "J·cycles", 1e-12);
  const columns = [{ title: "point" }, ...["validation", "test", `energy, ${energy.unit}`, "latency, cycles", `EDP, ${edp.unit}`, "weights", "bits of weights", "bits of activations"].map((title) => ({ title, num: true }))];
  return table("Points of the front, cheapest first, and the baselines", columns, points.map((p, i) => ({
    chosen: i === chosen,
    cells: [el("button", { type: "button", on: { click: () => choose(i, false) } }, p.label), percent(p.accuracy_validation), percent(p.accuracy_test), digits(p.energy_pj * energy.factor, 4), whole(p.latency_cycles),
      digits(p.edp_pj_cycles * edp.factor, 4), bytesText(p.weight_memory_bits), digits(p.average_weight_bits, 3), digits(p.average_activation_bits, 3)],
  })));
}
