// The mapping of the chosen layer at the chosen point, drawn as a loop nest with what every level holds.

function nestSection(run, point, state) {
  const layer = point.layers[state.layer];
  const title = `Mapping of ${run.layers[state.layer]} in ${point.label}`;
  if (layer[5] < 0) return section("mapping", title, null, el("p", {}, missing(run, point)));
  const { mapping, cost } = run.mappings[layer[5]];
  const bits = `Weights ${layer[0]} bit, Inputs ${layer[1]} bit, Outputs ${layer[2]} bit.`;
  const content = [el("div", { class: "nest", tabindex: "0", role: "group", "aria-label": "Loop nest, outermost level first" }, levelNode(mapping, cost, 0))];
  if (cost) content.push(el("h3", {}, "What every level holds and moves"), levelsTable(cost));
  return section("mapping", title, `${bits} Levels from the outermost inwards; each holds the tiles named beside it while the loops inside run. Loops on x and y run at once on different units.`, ...content);
}

function levelNode(mapping, cost, depth) {
  if (depth === mapping.length) return el("div", { class: "loop" }, "multiply and accumulate");
  const here = mapping[depth];
  const priced = cost ? cost.levels.find((l) => l.level === here.level) : null;
  const words = priced ? Object.values(priced.tensors).reduce((sum, t) => sum + t.utilized_words, 0) : 0;
  const filled = priced && priced.capacity_words ? `${whole(words)} of ${whole(priced.capacity_words)} words in use` : "";
  const loops = [
    ...here.temporal.map(([dim, bound]) => ["", dim, bound]),
    ...here.spatial.y.map(([dim, bound]) => [" at once along y", dim, bound]),
    ...here.spatial.x.map(([dim, bound]) => [" at once along x", dim, bound]),
  ].filter(([, , bound]) => bound > 1);
  return el("div", { class: "level", style: `--lc:${color(depth)}` },
    el("div", { class: "head" }, here.level, el("small", {}, filled)),
    el("ul", {}, ...here.keep.map((tensor) => el("li", {}, tileText(tensor, priced))), here.keep.length === 0 ? el("li", {}, "keeps nothing") : null),
    ...loops.map(([where, dim, bound]) => el("div", { class: where ? "loop space" : "loop" }, "for ", el("b", {}, dim), ` in 0..${bound - 1}${where}`)),
    el("div", { class: "inside" }, levelNode(mapping, cost, depth + 1)));
}

function tileText(tensor, priced) {
  const held = priced && priced.tensors[tensor];
  return held ? `${tensor} ${held.tile.join("×") || "1"} in ${whole(held.utilized_words)} words` : tensor;
}

function levelsTable(cost) {
  const rows = cost.levels.flatMap((l) => Object.entries(l.tensors).map(([tensor, t]) => ({
    cells: [`${l.level}, ${tensor}`, t.tile.join("×") || "1", t.stored_bits ? String(t.stored_bits) : "word", whole(t.utilized_words), whole(t.reads_words), whole(t.fills_words), whole(t.updates_words), energyText(t.energy_pj)],
  })));
  const titles = ["tile", "bits", "words held", "words read", "words filled", "words updated", "energy, all instances"];
  return table("Words are of one instance of the level", [{ title: "level and tensor" }, ...titles.map((title) => ({ title, num: true }))], rows);
}
