// Searches made beside the main one, and the front after training: their fronts and dominated shares, each with a colour, a dash and a shape of its own.

const RIVAL_STYLES = [["var(--c2)", "7 3", "M0-6 5.5 4H-5.5Z"], ["var(--c1)", "2 3", "M0-6 6 0 0 6-6 0Z"], ["var(--c3)", "9 3 2 3", "M-5-5 5 5M5-5-5 5"], ["var(--front)", "1 3", "M-5-5H5V5H-5Z"]];
const rivalStyle = (i) => RIVAL_STYLES[i % RIVAL_STYLES.length];
const rivalName = (curve) => curve.name.replaceAll("_", " ");

const rivalLine = (i, d) => svg("path", { class: "curve", d, stroke: rivalStyle(i)[0], "stroke-dasharray": rivalStyle(i)[1] });
const rivalShape = (i, x, y) => svg("path", { class: "rival", d: rivalStyle(i)[2], transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, fill: rivalStyle(i)[0], stroke: rivalStyle(i)[0] });
const rivalSwatch = (i) => svg("svg", { class: "swatch", viewBox: "0 0 40 14", "aria-hidden": "true" }, rivalLine(i, "M0 7H40"), rivalShape(i, 20, 7));
const rivalLegend = (curves) => curves.map((curve, i) => [`${rivalName(curve)} (${whole(curve.points.length)})`, rivalSwatch(i)]);

// Not buttons: nothing but totals is kept of them. Keyboards and screen readers have the table.
function rivalMarks(run, cost, x, y, frame) {
  const shown = svg("g", { id: "rivals", "aria-hidden": "true" });
  run.curves.forEach((curve, i) => {
    const line = steps(curve.points, cost, x, y, frame);
    shown.append(rivalLine(i, line.getAttribute("d")));
    for (const point of curve.points) {
      const shape = rivalShape(i, x.at(point[cost]), y.at(point.accuracy_validation));
      shape.addEventListener("pointerenter", () => showTip(shape, pointEntries(point)));
      shape.addEventListener("pointerleave", hideTip);
      shown.append(shape);
    }
  });
  return shown;
}

function rivalTables(run) {
  if (run.curves.length === 0) return [];
  const all = run.curves.flatMap((curve) => curve.points);
  const energy = energyScale(all.map((p) => p.energy_pj));
  const edp = scaleFor(all.map((p) => p.edp_pj_cycles), "J·cycles", 1e-12);
  const columns = [{ title: "point" }, ...["validation", "test", `energy, ${energy.unit}`, "latency, cycles", `EDP, ${edp.unit}`, "weights", "bits of weights", "bits of activations"].map((title) => ({ title, num: true }))];
  return [asTable("Other searches as a table", table("Points of the other searches, as they are charged", columns, all.map((p) => ({
    cells: [p.label, percent(p.accuracy_validation), percent(p.accuracy_test), digits(p.energy_pj * energy.factor, 4), whole(p.latency_cycles),
      digits(p.edp_pj_cycles * edp.factor, 4), bytesText(p.weight_memory_bits), digits(p.average_weight_bits, 3), digits(p.average_activation_bits, 3)],
  }))))];
}

function traceSection(run) {
  const note = `Share of the box between 0 and the worst uniform baseline that the search dominates, after each ${run.hypervolume_step}. Higher is better.`;
  if (run.hypervolume.length === 0) return section("trace", "Hypervolume", note, el("p", {}, "Nothing to show: there is no generation yet, or no uniform baseline to measure against."));
  const rivals = run.curves.filter((curve) => curve.hypervolume.length > 0);
  const number = (curve) => run.curves.indexOf(curve);
  const frame = { width: 960, height: rivals.length ? 320 : 260, left: 84, top: 14, right: 26, bottom: 56 };
  const all = [run.hypervolume, ...rivals.map((curve) => curve.hypervolume)];
  const shares = all.flat().map(([, share]) => share);
  const ends = all.flat().map(([at]) => at);
  const [first, last] = [Math.min(...ends), Math.max(...ends)];
  const [low, high] = [Math.min(...shares), Math.max(...shares)];
  const pad = (high - low || 0.02) * 0.15;
  const x = { at: (v) => frame.left + ((v - first) / (last - first || 1)) * (frame.width - frame.left - frame.right), ticks: niceTicks(first, last, 8).filter(Number.isInteger), text: String };
  const y = { at: (v) => frame.height - frame.bottom - ((v - low + pad) / (high - low + 2 * pad)) * (frame.height - frame.bottom - frame.top), ticks: niceTicks(low - pad, high + pad, 5), text: (t) => String(Number(t.toPrecision(5))) };
  const path = (trace) => trace.map(([at, share], i) => `${i ? "L" : "M"}${x.at(at)} ${y.at(share)}`).join("");
  const title = (who, [at, share]) => svg("title", {}, `${who}, ${run.hypervolume_step} ${at}: ${share.toPrecision(6)}`);
  const dots = run.hypervolume.length > 60 ? [] : run.hypervolume.map((step) => svg("circle", { cx: x.at(step[0]), cy: y.at(step[1]), r: 3.5, fill: "var(--front)" }, title("search", step)));
  const ofRivals = rivals.map((curve) => {
    const shape = rivalShape(number(curve), x.at(curve.hypervolume.at(-1)[0]), y.at(curve.hypervolume.at(-1)[1]));
    shape.append(title(rivalName(curve), curve.hypervolume.at(-1)));
    return [rivalLine(number(curve), path(curve.hypervolume)), shape];
  }).flat();
  const ended = (trace) => trace.at(-1)[1].toPrecision(4);
  const words = [`from ${run.hypervolume[0][1].toPrecision(4)} to ${ended(run.hypervolume)}`, ...rivals.map((curve) => `${rivalName(curve)} to ${ended(curve.hypervolume)}`)];
  return section("trace", "Hypervolume", note,
    ...(rivals.length ? [legend([["search", "var(--front)"], ...rivals.map((curve) => [rivalName(curve), rivalSwatch(number(curve))])])] : []),
    el("div", { class: "scroll" }, svg("svg", { class: "plot", viewBox: `0 0 ${frame.width} ${frame.height}`, role: "img", "aria-label": `Dominated share ${words.join("; ")}; the table below has every value.` },
      axes(frame, x, y, { x: run.hypervolume_step, y: "dominated share" }), ...ofRivals, svg("path", { class: "steps", d: path(run.hypervolume) }), ...dots)),
    asTable("As a table", traceTable(run, rivals, [...new Set(ends)].sort((a, b) => a - b))));
}

function traceTable(run, rivals, ends) {
  const columns = rivals.length ? ["search", ...rivals.map(rivalName)] : ["share"];
  const found = [run.hypervolume, ...rivals.map((curve) => curve.hypervolume)].map((trace) => new Map(trace));
  return table("Dominated share", [run.hypervolume_step, ...columns].map((title) => ({ title, num: true })),
    ends.map((at) => ({ cells: [String(at), ...found.map((shares) => (shares.has(at) ? shares.get(at).toPrecision(7) : ""))] })));
}
