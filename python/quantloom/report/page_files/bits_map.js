// Bits of every tensor, points down, layers or activations across: a table whose cells are coloured.

function bitsSection(run, points, state, choose) {
  const names = state.tensors === "weights" ? run.layers : run.activations;
  const bitsOf = (point) => (state.tensors === "weights" ? point.layers.map((layer) => layer[0]) : point.activations);
  const all = points.flatMap(bitsOf);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const kinds = el("fieldset", { class: "tools" }, el("legend", {}, "Bits of"), ...[["weights", "weights of each layer"], ["activations", "activations"]].map(([value, text]) =>
    el("label", {}, el("input", { type: "radio", name: "tensors", value, checked: state.tensors === value, on: { change: () => choose.tensors(value) } }), ` ${text}`)));
  const head = el("tr", {}, el("th", { scope: "col" }, "point"), ...names.map((name, i) =>
    el("th", { scope: "col", title: name, class: state.tensors === "weights" && i === state.layer ? "chosen" : null }, el("span", {}, name))));
  const body = points.map((point, row) => el("tr", { class: row === state.point ? "chosen" : null },
    el("th", { scope: "row" }, el("button", { type: "button", on: { click: () => choose.point(row, false) } }, point.label)),
    ...bitsOf(point).map((bits, i) => {
      const share = most > least ? (bits - least) / (most - least) : 0.5;
      const style = `background:color-mix(in oklab, var(--heat-low), var(--heat-high) ${(100 * share).toFixed(0)}%);color:var(${share > 0.5 ? "--heat-ink-high" : "--heat-ink"})`;
      return el("td", { style, title: `${point.label}, ${names[i]}: ${bits} bit`, on: { click: () => { if (state.tensors === "weights") choose.layer(i); choose.point(row, false); } } }, String(bits));
    })));
  return section("bits", "Bits of every tensor", "Darker cells have more bits (lighter ones on a dark page). Choose a point by its name, or a point and its layer by a cell.",
    kinds,
    el("div", { class: "heat scroll", tabindex: "0", role: "region", "aria-label": `Bits of ${state.tensors} of every point` },
      el("table", {}, el("thead", {}, head), el("tbody", {}, ...body))));
}
