// Sections named in comments are those of docs/model.md.
#include "default_counts.hpp"

#include <algorithm>
#include <span>

#include "default_hops.hpp"

namespace quantloom {
namespace {

using Point = std::array<Count, kMaxRanks>;

constexpr std::size_t kMostRuns = std::size_t{1} << 22;  // that are listed

// The loop is over places whose data the network does not share.
bool is_apart(const NestLoop& loop, std::uint32_t apart) { return (apart >> loop.level & 1U) != 0; }

bool keeps(const Nest& nest, int level, int tensor) { return (nest.keep[static_cast<std::size_t>(level)] >> tensor & 1U) != 0; }

// Loops outside of `child` are loops[0] .. loops[outside_end - 1]; child -1 stands for the arithmetic units.
int outside_end(const Nest& nest, int child) { return child < 0 ? nest.num_loops : nest.begin[static_cast<std::size_t>(child)]; }

Count minus(Count a, Count b) { return a == kSaturated ? kSaturated : a - b; }

// Section 5.5, no window: tiles are equal or disjoint, so a tile is new at each iteration of the temporal loops from the
// innermost relevant one outwards.
Count tile_visits(const Workload& workload, const Nest& nest, int tensor, int child) {
  Count visits = 1;
  bool relevant = false;
  for (int i = outside_end(nest, child) - 1; i >= 0; --i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    if (loop.kind != LoopKind::temporal) continue;
    relevant = relevant || workload.is_relevant(tensor, loop.dim);
    if (relevant) visits = saturating_mul(visits, loop.bound);
  }
  return visits;
}

Count temporal_steps_outside(const Nest& nest, int child) {
  Count steps = 1;
  for (int i = 0; i < outside_end(nest, child); ++i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    if (loop.kind == LoopKind::temporal) steps = saturating_mul(steps, loop.bound);
  }
  return steps;
}

Count coefficient(const std::vector<Term>& rank, int dim) {
  Count sum = 0;
  for (const Term& term : rank) {
    if (term.dim == dim) sum += term.coefficient;
  }
  return sum;
}

struct Steps {
  std::array<SumStep, Nest::kMaxLoops> of;  // left uninitialised: only the first `count` are there
  int count = 0;
  void add(Count step, Count bound) {
    if (bound > 1) of[static_cast<std::size_t>(count++)] = {step, bound};
  }
  std::span<SumStep> all() { return std::span(of).first(static_cast<std::size_t>(count)); }
};

// Runs of n values, a grain apart, begin at every sum i_k * step_k: how many different values they have together.
// The runs are as many as the product of the bounds at most; past kMostRuns of them the count is unknown.
Count values_of_runs(std::span<const SumStep> steps, Count grain, Count n, std::vector<Count>& starts) {
  starts.assign(1, 0);
  for (const auto& [step, bound] : steps) {
    const std::size_t before = starts.size();
    if (static_cast<std::size_t>(bound) > kMostRuns / before) return kSaturated;
    for (Count i = 1; i < bound; ++i) {
      for (std::size_t s = 0; s < before; ++s) starts.push_back(starts[s] + i * step);
    }
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  }
  // Only runs on the same grid meet.
  std::sort(starts.begin(), starts.end(), [grain](Count a, Count b) { return std::pair(a % grain, a) < std::pair(b % grain, b); });
  Count values = 0;
  Count counted = 0;  // up to this value of the grid, exclusive
  for (std::size_t s = 0; s < starts.size(); ++s) {
    const bool meets = s > 0 && starts[s] % grain == starts[s - 1] % grain && starts[s] < counted;
    const Count from = meets ? counted : starts[s];
    counted = starts[s] + n * grain;
    values += (counted - from) / grain;
  }
  return values;
}

// Different offsets of children, by listing them all; kSaturated past kMostRuns of them.
Count distinct_points(const TensorSpec& tensor, const Nest& nest, int begin, int end, std::uint32_t apart, DefaultScratch& scratch) {
  const std::size_t ranks = tensor.ranks.size();
  std::vector<Count>& points = scratch.points;
  points.assign(ranks, 0);
  for (int i = begin; i < end; ++i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    if (loop.kind == LoopKind::temporal || is_apart(loop, apart)) continue;
    const std::size_t before = points.size();
    if (static_cast<std::size_t>(loop.bound) > kMostRuns / (before / ranks)) return kSaturated;
    for (Count k = 1; k < loop.bound; ++k) {
      for (std::size_t p = 0; p < before; ++p) {
        points.push_back(points[p] + k * loop.stride * coefficient(tensor.ranks[p % ranks], loop.dim));
      }
    }
  }
  const std::size_t count = points.size() / ranks;
  const auto at = [&](std::uint32_t p) { return std::span(points).subspan(p * ranks, ranks); };
  std::vector<std::uint32_t>& order = scratch.order;
  order.resize(count);
  for (std::size_t p = 0; p < count; ++p) order[p] = static_cast<std::uint32_t>(p);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return std::ranges::lexicographical_compare(at(a), at(b)); });
  const auto last = std::unique(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return std::ranges::equal(at(a), at(b)); });
  return static_cast<Count>(last - order.begin());
}

// Section 6.8: no reduction is left to do above the level, in other instances.
bool is_complete_above(const Workload& workload, const Nest& nest, int tensor, int level) {
  for (int i = 0; i < outside_end(nest, level); ++i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    if (loop.kind != LoopKind::temporal && !workload.is_relevant(tensor, loop.dim)) return false;
  }
  return true;
}

// Values first .. end - 1.
struct Run {
  Count first = 0;
  Count end = 0;
};

// What the children between two levels hold of one rank, as ascending runs with gaps between them; none if there are too many.
std::vector<Run> held_runs(const Nest& nest, const std::vector<Term>& rank, const std::array<Count, kMaxDims>& inside, int child, int parent) {
  Count extent = 1;
  for (const Term& term : rank) extent += (inside[static_cast<std::size_t>(term.dim)] - 1) * term.coefficient;
  std::vector<Run> runs{{0, extent}};
  for (int i = nest.begin[static_cast<std::size_t>(parent)]; i < outside_end(nest, child); ++i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    const Count step = loop.kind == LoopKind::temporal ? 0 : loop.stride * coefficient(rank, loop.dim);
    if (step == 0) continue;
    const std::size_t before = runs.size();
    if (static_cast<std::size_t>(loop.bound) > kMostRuns / before) return {};
    for (Count k = 1; k < loop.bound; ++k) {
      for (std::size_t r = 0; r < before; ++r) runs.push_back({runs[r].first + k * step, runs[r].end + k * step});
    }
    std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.first < b.first; });
    std::size_t last = 0;
    for (std::size_t r = 1; r < runs.size(); ++r) {
      if (runs[r].first <= runs[last].end) {
        runs[last].end = std::max(runs[last].end, runs[r].end);
      } else {
        runs[++last] = runs[r];
      }
    }
    runs.resize(last + 1);
  }
  return runs;
}

// Values in `a` that are in `b` moved by `shift`.
Count shared_values(const std::vector<Run>& a, const std::vector<Run>& b, Count shift) {
  Count shared = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const Count first = std::max(a[i].first, b[j].first + shift);
    const Count end = std::min(a[i].end, b[j].end + shift);
    shared += std::max<Count>(0, end - first);
    ++(a[i].end < b[j].end + shift ? i : j);
  }
  return shared;
}

// Some network between the two levels hands up the parts of one sum one by one.
bool carries_parts(const Arch& arch, const Workload& workload, const Nest& nest, int tensor, int child, int level) {
  for (int l = child + 1; l <= level; ++l) {
    if (arch.level(l).reduction) continue;
    for (int i = nest.spatial_begin[static_cast<std::size_t>(l)]; i < nest.end(l); ++i) {
      if (!workload.is_relevant(tensor, nest.loops[static_cast<std::size_t>(i)].dim)) return true;
    }
  }
  return false;
}

// Bit l set: the network below level l does not share what goes this way.
struct Apart {
  std::uint32_t down = 0;  // inputs
  std::uint32_t up = 0;    // outputs
};

Apart find_apart(const Arch& arch) {
  Apart out;
  for (int l = 0; l < arch.num_levels(); ++l) {
    out.down |= static_cast<std::uint32_t>(!arch.level(l).multicast) << l;
    out.up |= static_cast<std::uint32_t>(!arch.level(l).reduction) << l;
  }
  return out;
}

// What the children of `child`'s next kept level exchange with it. child -1: the arithmetic units, which hold nothing.
struct Link {
  Count moves = 0;     // elements that one child newly needs, or hands up
  Count distinct = 0;  // of these, different ones
  Count refills = 0;   // outputs: partial sums that come back to it
};

Link count_link(const Workload& workload, const Nest& nest, int tensor, int child, Count tile, bool windowed, DefaultScratch& scratch) {
  Link link;
  link.moves = child < 0 ? nest.temporal_steps : tile_traffic(workload, nest, tensor, child);
  if (windowed) {
    link.distinct = elements_below(workload, nest, tensor, child, child, scratch);
    if (child >= 0) link.refills = minus(link.moves, link.distinct);
    return link;
  }
  link.distinct = tile;
  for (int i = 0; i < outside_end(nest, child); ++i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    if (loop.kind == LoopKind::temporal && workload.is_relevant(tensor, loop.dim)) link.distinct = saturating_mul(link.distinct, loop.bound);
  }
  if (child >= 0) link.refills = minus(link.moves, link.distinct);
  return link;
}

// No two groups of children below any instances of the level ever have an element in common. distinct: of one child.
bool are_apart(const Workload& workload, const Nest& nest, int tensor, int child, int level, Count groups, Count distinct, DefaultScratch& scratch) {
  const Count together = elements_below(workload, nest, tensor, child, nest.num_levels, scratch);
  return together == saturating_mul(saturating_mul(groups, nest.replication(level)), distinct);
}

}  // namespace

Count distinct_sums(std::span<SumStep> steps, DefaultScratch& scratch) {
  std::sort(steps.begin(), steps.end(), [](const SumStep& a, const SumStep& b) { return a.step < b.step; });
  Count first = 1;  // the values 0, grain, 2 * grain ... (n - 1) * grain
  Count n = 1;
  std::size_t k = 0;
  for (; k < steps.size(); ++k) {
    const auto [step, bound] = steps[k];
    if (k == 0) first = step;
    if (step % first != 0 || step / first > n) break;
    n += (bound - 1) * (step / first);
  }
  // From here on every step may jump over all values before it: then each iteration adds as many values again.
  Count reach = (n - 1) * first;
  Count product = n;
  const std::size_t regular = k;
  for (; k < steps.size(); ++k) {
    const auto [step, bound] = steps[k];
    if (step <= reach) break;
    product = saturating_mul(product, bound);
    reach += (bound - 1) * step;
  }
  if (k == steps.size()) return product;
  return values_of_runs(steps.subspan(regular), first, n, scratch.sums);
}

bool has_plain_ranks(const Workload& workload, const TensorSpec& tensor) {
  std::uint32_t seen = 0;
  for (const auto& rank : tensor.ranks) {
    int moving = 0;
    for (const Term& term : rank) {
      if (workload.bound(term.dim) == 1) continue;
      const std::uint32_t bit = 1U << term.dim;
      if (term.coefficient != 1 || ++moving > 1 || (seen & bit) != 0) return false;
      seen |= bit;
    }
  }
  return true;
}

bool ranks_share_dims(const Workload& workload, const TensorSpec& tensor) {
  std::uint32_t seen = 0;
  for (const auto& rank : tensor.ranks) {
    std::uint32_t mine = 0;
    for (const Term& term : rank) {
      if (workload.bound(term.dim) > 1) mine |= 1U << term.dim;
    }
    if ((seen & mine) != 0) return true;
    seen |= mine;
  }
  return false;
}

Count tile_traffic(const Workload& workload, const Nest& nest, int tensor, int child) noexcept {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  const auto& inside = nest.extent[static_cast<std::size_t>(child)];
  const Count tile = tile_elements(spec, inside);
  if (!workload.has_window(tensor)) return saturating_mul(tile, tile_visits(workload, nest, tensor, child));

  const std::size_t ranks = spec.ranks.size();
  Point extent;
  Point wrapped;  // how far the loops further inside fall back when they start again
  for (std::size_t r = 0; r < ranks; ++r) {
    extent[r] = 1;
    for (const Term& term : spec.ranks[r]) extent[r] += (inside[static_cast<std::size_t>(term.dim)] - 1) * term.coefficient;
    wrapped[r] = 0;
  }
  Count outer = temporal_steps_outside(nest, child);
  if (outer == kSaturated || tile == kSaturated) return kSaturated;
  Count traffic = tile;
  for (int i = outside_end(nest, child) - 1; i >= 0; --i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    if (loop.kind != LoopKind::temporal) continue;
    outer /= loop.bound;
    Count overlap = 1;
    for (std::size_t r = 0; r < ranks; ++r) {
      const Count step = loop.stride * coefficient(spec.ranks[r], loop.dim);
      const Count move = step - wrapped[r];
      overlap *= std::max<Count>(0, extent[r] - (move < 0 ? -move : move));
      wrapped[r] += (loop.bound - 1) * step;
    }
    traffic = saturating_add(traffic, saturating_mul(saturating_mul(loop.bound - 1, outer), tile - overlap));
  }
  return traffic;
}

Count distinct_children(const Workload& workload, const Nest& nest, int tensor, int inner, int outer, std::uint32_t apart, DefaultScratch& scratch) {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  const int begin = nest.begin[static_cast<std::size_t>(outer)];
  const int end = nest.end(inner);
  Count plain = 1;  // without a window every relevant index makes another tile
  Count places = 1;
  for (int i = begin; i < end; ++i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    if (loop.kind == LoopKind::temporal) continue;
    if (is_apart(loop, apart)) {
      places = saturating_mul(places, loop.bound);
    } else if (workload.is_relevant(tensor, loop.dim)) {
      plain = saturating_mul(plain, loop.bound);
    }
  }
  if (plain == 1 || !workload.has_window(tensor)) return saturating_mul(places, plain);
  if (ranks_share_dims(workload, spec)) return saturating_mul(places, distinct_points(spec, nest, begin, end, apart, scratch));
  for (const auto& rank : spec.ranks) {
    Steps steps;
    for (int i = begin; i < end; ++i) {
      const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
      const Count factor = loop.kind == LoopKind::temporal || is_apart(loop, apart) ? 0 : coefficient(rank, loop.dim);
      if (factor > 0) steps.add(loop.stride * factor, loop.bound);
    }
    places = saturating_mul(places, distinct_sums(steps.all(), scratch));
  }
  return places;
}

Count array_traffic(const Workload& workload, const Nest& nest, int tensor, int child, int parent) {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  const auto& inside = nest.extent[static_cast<std::size_t>(child)];
  std::vector<std::vector<Run>> held;  // [rank]: coordinates that some child holds
  Count all = 1;
  for (const auto& rank : spec.ranks) {
    held.push_back(held_runs(nest, rank, inside, child, parent));
    if (held.back().empty()) return kSaturated;
    all = saturating_mul(all, shared_values(held.back(), held.back(), 0));
  }
  Count outer = temporal_steps_outside(nest, child);
  if (outer == kSaturated || all == kSaturated) return kSaturated;
  Count traffic = all;
  Point wrapped{};
  for (int i = outside_end(nest, child) - 1; i >= 0; --i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    if (loop.kind != LoopKind::temporal) continue;
    outer /= loop.bound;
    Count overlap = 1;
    for (std::size_t r = 0; r < spec.ranks.size(); ++r) {
      const Count step = loop.stride * coefficient(spec.ranks[r], loop.dim);
      overlap *= shared_values(held[r], held[r], step - wrapped[r]);
      wrapped[r] += (loop.bound - 1) * step;
    }
    traffic = saturating_add(traffic, saturating_mul(saturating_mul(loop.bound - 1, outer), all - overlap));
  }
  return traffic;
}

Count elements_below(const Workload& workload, const Nest& nest, int tensor, int child, int top, DefaultScratch& scratch) {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  Count product = 1;
  for (const auto& rank : spec.ranks) {
    Steps steps;
    Count extent = 1;
    for (const Term& term : rank) {
      if (child >= 0) extent += (nest.extent[static_cast<std::size_t>(child)][static_cast<std::size_t>(term.dim)] - 1) * term.coefficient;
    }
    steps.add(1, extent);
    for (int i = 0; i < outside_end(nest, child); ++i) {
      const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
      const bool counts = loop.kind == LoopKind::temporal || loop.level <= top;
      const Count factor = counts ? coefficient(rank, loop.dim) : 0;
      if (factor > 0) steps.add(loop.stride * factor, loop.bound);
    }
    product = saturating_mul(product, distinct_sums(steps.all(), scratch));
  }
  return product;
}

Count distinct_elements(const Workload& workload, const Nest& nest, int tensor, int level, DefaultScratch& scratch) {
  return elements_below(workload, nest, tensor, level, level, scratch);
}

WindowedSums count_windowed_sums(const Workload& workload, const Nest& nest, int tensor, int child, int level, DefaultScratch& scratch) {
  const Count here = elements_below(workload, nest, tensor, child, level, scratch);
  const Count everywhere = elements_below(workload, nest, tensor, child, nest.num_levels, scratch);
  return {here, everywhere == saturating_mul(here, nest.replication(level)) ? here : 0};
}

// Levels where some update is not the last one of its element.
static std::uint32_t windowed_partial_levels(const Arch& arch, const Workload& workload, const Nest& nest, int tensor) {
  DefaultScratch scratch;
  std::uint32_t partial = 0;
  int child = -1;
  for (int l = 0; l < nest.num_levels; ++l) {
    if (!keeps(nest, l, tensor)) continue;
    const Count parts = distinct_children(workload, nest, tensor, child + 1, l, find_apart(arch).up, scratch);
    const Count moves = child < 0 ? nest.temporal_steps : tile_traffic(workload, nest, tensor, child);
    const WindowedSums sums = count_windowed_sums(workload, nest, tensor, child, l, scratch);
    if (saturating_mul(parts, moves) != sums.final_updates) partial |= 1U << l;
    child = l;
  }
  return partial;
}

std::uint32_t partial_levels(const Arch& arch, const Workload& workload, const Nest& nest, int tensor) noexcept {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  if (!spec.is_output) return 0;
  if (!has_plain_ranks(workload, spec)) return windowed_partial_levels(arch, workload, nest, tensor);
  std::uint32_t partial = 0;
  int child = -1;
  for (int l = 0; l < nest.num_levels; ++l) {
    if (!keeps(nest, l, tensor)) continue;
    // Some element arrives more than once, or what arrives is a part only.
    bool returns = false;
    bool moved = child < 0;  // arithmetic units let go of their sum at every step
    for (int i = outside_end(nest, child) - 1; i >= 0; --i) {
      const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
      if (loop.kind != LoopKind::temporal) continue;
      const bool relevant = workload.is_relevant(tensor, loop.dim);
      returns = returns || (moved && !relevant);
      moved = moved || relevant;
    }
    if (returns || carries_parts(arch, workload, nest, tensor, child, l) || !is_complete_above(workload, nest, tensor, l)) partial |= 1U << l;
    child = l;
  }
  return partial;
}

void count_default(const Arch& arch, const Workload& workload, const Nest& nest, int tensor, DefaultScratch& scratch, DefaultCounts& out) {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  for (int l = 0; l < nest.num_levels; ++l) out.levels[static_cast<std::size_t>(l)] = {};
  out.partial = partial_levels(arch, workload, nest, tensor);
  const Apart apart = find_apart(arch);
  const bool windowed = spec.is_output && !has_plain_ranks(workload, spec);
  int child = -1;
  Link link = count_link(workload, nest, tensor, child, 1, windowed, scratch);
  for (int p = 0; p < nest.num_levels; ++p) {
    if (!keeps(nest, p, tensor)) continue;
    Count groups = 1;  // different tiles below one instance of the level looked at; outputs: what goes down
    Count parts = 1;   // outputs: sums that come up
    for (int l = child + 1; l <= p; ++l) {
      DefaultLevelCounts& network = out.levels[static_cast<std::size_t>(l)];
      const Count fanout = nest.mapped_fanout(l);
      const Count reached = saturating_mul(fanout, groups);
      const Count arriving = saturating_mul(fanout, parts);
      if (fanout > 1) {
        groups = distinct_children(workload, nest, tensor, child + 1, l, spec.is_output ? 0 : apart.down, scratch);
        parts = spec.is_output && apart.up != 0 ? distinct_children(workload, nest, tensor, child + 1, l, apart.up, scratch) : groups;
      }
      network.multicast = ceil_div(reached, groups);
      network.hops_down = mean_hops(arch, spec, nest, child, l, spec.is_output ? 0 : apart.down);
      network.down = saturating_mul(groups, spec.is_output ? link.refills : link.moves);
      if (!spec.is_output) continue;
      network.up = saturating_mul(parts, link.moves);
      network.hops_up = apart.up == 0 ? network.hops_down : mean_hops(arch, spec, nest, child, l, apart.up);
      // Arithmetic units hand up products: complete only where nothing is left to add over time.
      const bool alone = windowed ? groups == parts && are_apart(workload, nest, tensor, child, l, groups, link.distinct, scratch)
                                  : is_complete_above(workload, nest, tensor, l) && !carries_parts(arch, workload, nest, tensor, child, l);
      const bool complete = alone && (child >= 0 || link.moves == link.distinct);
      network.final_up = complete ? saturating_mul(groups, link.distinct) : 0;
      network.reductions = saturating_mul(minus(arriving, parts), link.moves);
    }
    DefaultLevelCounts& level = out.levels[static_cast<std::size_t>(p)];
    if (!spec.is_output && arch.level(p).forwarding) {
      const Count apart_down = level.down;
      for (int l = child + 1; l <= p; ++l) {
        out.levels[static_cast<std::size_t>(l)].down =
            child >= 0 ? array_traffic(workload, nest, tensor, child, l)
                       : saturating_mul(distinct_children(workload, nest, tensor, 0, l, 0, scratch), link.moves);
      }
      level.links = minus(apart_down, level.down);
    }
    level.tile = tile_elements(spec, nest.extent[static_cast<std::size_t>(p)]);
    const Link next = count_link(workload, nest, tensor, p, level.tile, windowed, scratch);
    level.distinct = next.distinct;
    if (spec.is_output) {
      level.updates = level.up;
      WindowedSums sums{level.distinct, is_complete_above(workload, nest, tensor, p) ? saturating_mul(groups, link.distinct) : 0};
      if (windowed) sums = count_windowed_sums(workload, nest, tensor, child, p, scratch);
      level.final_updates = sums.final_updates;
      level.reads = minus(level.updates, sums.distinct);
    } else {
      level.reads = level.down;
    }
    if (child >= 0) out.levels[static_cast<std::size_t>(child)].fills = spec.is_output ? link.refills : link.moves;
    child = p;
    link = next;
  }
}

}  // namespace quantloom
