#include "exact_search.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <tuple>

#include "quantities.hpp"

namespace quantloom::exact {
namespace {

bool is_cheaper(double objective, double energy, double than_objective, double than_energy) {
  return objective < than_objective || (objective == than_objective && energy < than_energy);
}

// Whether the lanes of each level, and all together, are within the constraints on their number.
bool uses_lanes(const Problem& problem, const std::vector<std::uint64_t>& lanes) {
  const ResolvedConstraints& constraints = problem.parts.constraints;
  std::uint64_t all = 1;
  for (int l = 0; l < problem.num_levels(); ++l) {
    std::uint64_t here = 1;
    for (std::size_t k = 0; k < lanes.size(); ++k) {
      if (constraints.blocks[static_cast<std::size_t>(problem.lane_blocks[k])].level == l) here = lanes[k];
    }
    const UseLimit& limit = constraints.use[static_cast<std::size_t>(l)];
    if (here < static_cast<std::uint64_t>(limit.min_lanes) || here > static_cast<std::uint64_t>(limit.max_lanes)) return false;
    all *= here;
  }
  return all >= static_cast<std::uint64_t>(constraints.min_units);
}

}  // namespace

Plan::Plan(const Problem& problem, const KeepChoice& choice, CostModel model) : keep(choice), links(problem.links(choice)) {
  for (const int l : problem.bounded_levels) {
    for (int t = 0; t < problem.num_tensors(); ++t) {
      if ((keep.keep[static_cast<std::size_t>(l)] >> t & 1U) != 0) parts.push_back({t, l});
    }
  }
  for (const Group& group : problem.groups) groups.push_back(std::make_unique<GroupLists>(problem, group, keep, links, parts));
  for (const Skeleton& skeleton : list_skeletons(problem, links)) {
    std::array<int, kMaxGroups> lists{};
    for (std::size_t g = 0; g < groups.size(); ++g) lists[g] = groups[g]->find_list(skeleton);
    if (std::find(skeletons.begin(), skeletons.end(), lists) == skeletons.end()) skeletons.push_back(lists);
  }
  for (int t = 0; t < problem.num_tensors(); ++t) {
    const Tensor& tensor = problem.tensors[static_cast<std::size_t>(t)];
    if (tensor.form != Form::window || tensor.is_output) continue;
    if (model == CostModel::compat) {
      windows.push_back(std::make_unique<WindowBound>(problem, choice, t));
    } else {
      overlaps.push_back(std::make_unique<OverlapBound>(problem, choice, t));
    }
  }
  find_completed(problem);
  Signature signature;
  std::vector<std::uint64_t> lanes(problem.lane_blocks.size(), 1);
  add_signatures(problem, model, 0, signature, lanes);
}

void Plan::find_completed(const Problem& problem) {
  completed.assign(groups.size(), 0);
  windows_known = groups.size() - 1;
  std::uint32_t dims_inside = 0;  // dims of groups further in
  for (std::size_t g = groups.size(); g-- > 0;) {
    std::uint32_t dims_here = 0;
    for (const int d : problem.groups[g].dims) dims_here |= 1U << d;
    for (int t = 0; t < problem.num_tensors(); ++t) {
      const Tensor& tensor = problem.tensors[static_cast<std::size_t>(t)];
      if (tensor.form == Form::regular) continue;
      is_plain = false;
      if ((tensor.relevant & dims_inside) == 0 && (tensor.relevant & dims_here) != 0) completed[g] |= 1U << t;
    }
    const auto moves = [&](const auto& bound) { return (problem.tensors[static_cast<std::size_t>(bound->tensor())].relevant & dims_inside) != 0; };
    const bool moves_window = std::any_of(overlaps.begin(), overlaps.end(), moves) || std::any_of(windows.begin(), windows.end(), moves);
    // With one dim further in, the bucket fixes how its lanes lie; with several it would not.
    if (!moves_window && (windows.empty() || std::popcount(dims_inside) <= 1)) windows_known = g;
    dims_inside |= dims_here;
  }
}

void Plan::add_signatures(const Problem& problem, CostModel model, std::size_t group, Signature& signature, std::vector<std::uint64_t>& lanes) {
  const Arch& arch = problem.parts.arch;
  if (group < groups.size()) {
    const auto& buckets = groups[group]->vectors().buckets();
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      std::vector<std::uint64_t> wider = lanes;
      bool fits = true;
      for (std::size_t k = 0; k < lanes.size() && fits; ++k) {
        const Block& block = problem.parts.constraints.blocks[static_cast<std::size_t>(problem.lane_blocks[k])];
        wider[k] *= buckets[i].lanes[k];
        fits = wider[k] <= static_cast<std::uint64_t>(block.fanout_x * block.fanout_y);
      }
      if (!fits) continue;
      signature.bucket[group] = static_cast<int>(i);
      add_signatures(problem, model, group + 1, signature, wider);
    }
    return;
  }
  if (!uses_lanes(problem, lanes)) return;
  double all = 1;
  for (const std::uint64_t n : lanes) all *= static_cast<double>(n);
  signature.steps = problem.parts.workload.macs() / static_cast<Count>(all);
  const Arithmetic& units = arch.arithmetic();
  const bool leaks_idle = model == CostModel::default_model;
  signature.leakage_pj = leaks_idle ? units.leak_energy_pj * all + units.idle_energy_pj * (static_cast<double>(units.instances) - all) : 0;
  std::vector<double> ratio(static_cast<std::size_t>(arch.num_levels()), 1);
  signature.instances.assign(ratio.size(), 1);
  double replication = 1;
  for (int l = arch.num_levels() - 1; l >= 0; --l) {
    // clusters / instances used, as in the price of storage.
    const Level& level = arch.level(l);
    const Count clusters = level.instances / level.cluster_size;
    ratio[static_cast<std::size_t>(l)] = std::min(1.0, static_cast<double>(clusters) / replication);
    signature.instances[static_cast<std::size_t>(l)] = replication;
    signature.leakage_pj += level.leak_energy_pj * replication;
    if (leaks_idle) signature.leakage_pj += level.idle_energy_pj * (static_cast<double>(level.instances) - replication);
    for (std::size_t k = 0; k < lanes.size(); ++k) {
      if (problem.parts.constraints.blocks[static_cast<std::size_t>(problem.lane_blocks[k])].level == l) replication *= static_cast<double>(lanes[k]);
    }
  }
  add_floors(problem, signature);
  signature.rest_tile.assign(groups.size() * parts.size(), 1);
  for (std::size_t g = groups.size() - 1; g-- > 0;) {
    const auto& least = groups[g + 1]->vectors().buckets()[static_cast<std::size_t>(signature.bucket[g + 1])].least_tile;
    for (std::size_t p = 0; p < parts.size(); ++p) {
      const bool is_regular = problem.tensors[static_cast<std::size_t>(parts[p].tensor)].form == Form::regular;
      signature.rest_tile[g * parts.size() + p] = signature.rest_tile[(g + 1) * parts.size() + p] * (is_regular ? least[p] : 1);
    }
  }
  const auto it = std::find(ratios.begin(), ratios.end(), ratio);
  signature.ratio = static_cast<int>(it - ratios.begin());
  if (it == ratios.end()) ratios.push_back(ratio);
  signatures.push_back(signature);
}

void Plan::add_floors(const Problem& problem, Signature& signature) const {
  signature.floor.clear();
  for (const auto& overlap : overlaps) {
    // Lanes over dims irrelevant to the tensor, as far as whole groups are: they hold the same elements again.
    std::vector<double> copies(static_cast<std::size_t>(problem.num_levels()), 1);
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const auto& dims = problem.groups[g].dims;
      if (!std::all_of(dims.begin(), dims.end(), [&](int d) { return problem.is_irrelevant(overlap->tensor(), d); })) continue;
      const auto& lanes = groups[g]->vectors().buckets()[static_cast<std::size_t>(signature.bucket[g])].lanes;
      for (std::size_t k = 0; k < lanes.size(); ++k) {
        const int level = problem.parts.constraints.blocks[static_cast<std::size_t>(problem.lane_blocks[k])].level;
        for (int l = 0; l < level; ++l) copies[static_cast<std::size_t>(l)] *= lanes[k];
      }
    }
    overlap->add_floor(copies, signature.floor);
  }
}

double Search::floor_pj(const Signature& signature, const std::vector<double>& element_pj) noexcept {
  return std::inner_product(element_pj.begin(), element_pj.end(), signature.floor.begin(), 0.0);
}

std::vector<double> Search::floor_element_pj(const Plan& plan, int ratio) const {
  std::vector<double> out;
  for (const auto& overlap : plan.overlaps) {
    std::vector<double> weights = plan.ratios[static_cast<std::size_t>(ratio)];
    for (std::size_t l = 0; l < weights.size(); ++l) weights[l] *= words_per_element(plan, overlap->tensor(), static_cast<int>(l), false);
    overlap->add_element_energy(weights, out);
  }
  return out;
}

// Of the class being solved, rounding left out.
double Search::words_per_element(const Plan& plan, int tensor, int level, bool psum) const {
  const auto t = static_cast<std::size_t>(tensor);
  const TensorBits& bits = settings_.packings[t][static_cast<std::size_t>(packing_[t])].bits;
  const Arch& arch = problem_.parts.arch;
  int width = bits.own;
  if (psum && settings_.options.model == CostModel::default_model) {
    int accumulator = 0;
    while (accumulator + 1 < arch.num_levels() && (plan.keep.keep[static_cast<std::size_t>(accumulator)] >> t & 1U) == 0) ++accumulator;
    width = capped_psum(arch.level(accumulator), bits);
  }
  const WordRate rate = settings_.options.model == CostModel::compat
                            ? WordRate{1, elements_per_word(arch.level(level).word_bits, width)}
                            : word_rate(packing_rule(arch.level(level), settings_.options), arch.level(level).word_bits, width);
  return static_cast<double>(rate.words) / static_cast<double>(rate.elements);
}

Search::Search(const Problem& problem, const SettingTable& settings, const MapperOptions& options, std::size_t most_leaf_bytes)
    : problem_(problem), settings_(settings), options_(options), leaf_(problem, settings, most_leaf_bytes), best_(options.objective) {
  for (std::uint64_t k = 0; k < problem.num_keep_choices(); ++k) plans_.push_back(std::make_unique<Plan>(problem, problem.keep_choice(k), options.model));
  weights_.resize(plans_.size());
  depths_.resize(problem.groups.size());
}

// What does not depend on skeletons, once for each class.
void Search::weigh(std::size_t number) {
  const Plan& plan = *plans_[number];
  PlanWeights& out = weights_[number];
  out.pricings.assign(plan.ratios.size(), {});
  out.floor_element_pj.clear();
  for (std::size_t r = 0; r < plan.ratios.size(); ++r) {
    out.floor_element_pj.push_back(floor_element_pj(plan, static_cast<int>(r)));
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
      Pricing pricing;
      for (const Component& component : plan.groups[g]->components()) {
        const double ratio = plan.ratios[r][static_cast<std::size_t>(component.level)];
        pricing.weights.push_back(ratio * words_per_element(plan, component.tensor, component.level, component.psum));
      }
      pricing.number = pricings_.try_emplace({g, pricing.weights}, static_cast<int>(pricings_.size())).first->second;
      out.pricings[r].push_back(std::move(pricing));
    }
  }
  out.cycles.clear();
  out.energy_pj.clear();
  for (const Signature& signature : plan.signatures) {
    const std::vector<double>& element_pj = out.floor_element_pj[static_cast<std::size_t>(signature.ratio)];
    out.cycles.push_back(cycles_of(signature));
    out.energy_pj.push_back(constant_pj(signature) + floor_pj(signature, element_pj));
  }
  out.words.clear();
  for (const TilePart& part : plan.parts) {
    const auto t = static_cast<std::size_t>(part.tensor);
    const Count elements = settings_.packings[t][static_cast<std::size_t>(packing_[t])].elements_per_word[static_cast<std::size_t>(part.level)];
    const auto unsigned_elements = static_cast<std::uint64_t>(elements);
    const int shift = std::has_single_bit(unsigned_elements) ? std::countr_zero(unsigned_elements) : -1;
    if (!out.words.empty() && plan.parts[out.words.size() - 1].level == part.level) out.words.back().is_last = false;
    out.words.push_back({part.tensor, problem_.tensors[t].form == Form::regular, true, shift, elements, *problem_.parts.arch.level(part.level).capacity_words});
  }
}

PricedList& Search::priced_list(std::size_t plan, int skeleton, std::size_t group, int ratio) {
  const Pricing& pricing = weights_[plan].pricings[static_cast<std::size_t>(ratio)][group];
  return plans_[plan]->groups[group]->price(plans_[plan]->skeletons[static_cast<std::size_t>(skeleton)][group], pricing.number, pricing.weights);
}

void Search::collect(bool only_best, std::vector<Candidate>& out) {
  Candidate best;
  best.objective = best.energy_pj = kInfinity;
  std::vector<const PricedList*> lists;  // [ratio * groups + group]
  for (std::size_t p = 0; p < plans_.size(); ++p) {
    const Plan& plan = *plans_[p];
    const PlanWeights& weights = weights_[p];
    const std::size_t groups = plan.groups.size();
    for (std::size_t s = 0; s < plan.skeletons.size(); ++s) {
      lists.clear();
      for (std::size_t r = 0; r < plan.ratios.size(); ++r) {
        for (std::size_t g = 0; g < groups; ++g) lists.push_back(&priced_list(p, static_cast<int>(s), g, static_cast<int>(r)));
      }
      for (std::size_t i = 0; i < plan.signatures.size(); ++i) {
        const Signature& signature = plan.signatures[i];
        const double cycles = weights.cycles[i];
        const double limit = best_.energy_limit(cycles);
        double energy = weights.energy_pj[i];
        if (energy > limit) continue;
        const PricedList* const* of_ratio = &lists[static_cast<std::size_t>(signature.ratio) * groups];
        for (std::size_t g = 0; g < groups; ++g) energy += of_ratio[g]->least[static_cast<std::size_t>(signature.bucket[g])];
        if (energy > limit || energy == kInfinity) continue;
        const Candidate candidate{objective_value(options_.objective, energy, cycles), energy, static_cast<int>(p), static_cast<int>(s), static_cast<int>(i)};
        if (!only_best) {
          out.push_back(candidate);
        } else if (is_cheaper(candidate.objective, candidate.energy_pj, best.objective, best.energy_pj)) {
          best = candidate;
        }
      }
    }
  }
  if (only_best && best.objective < kInfinity) out.push_back(best);
}

void Search::open(const Candidate& candidate) {
  const auto number = static_cast<std::size_t>(candidate.plan);
  plan_ = plans_[number].get();
  const Signature& signature = plan_->signatures[static_cast<std::size_t>(candidate.signature)];
  signature_ = &signature;
  cycles_ = cycles_of(signature);
  overlap_element_pj_ = &weights_[number].floor_element_pj[static_cast<std::size_t>(signature.ratio)];
  floor_pj_ = floor_pj(signature, *overlap_element_pj_);
  limit_pj_ = best_.energy_limit(cycles_);
  words_ = weights_[number].words.data();
  double rest = 0;
  for (std::size_t g = depths_.size(); g-- > 0;) {
    Depth& depth = depths_[g];
    PricedList& priced = priced_list(number, candidate.skeleton, g, signature.ratio);
    depth.vectors = &plan_->groups[g]->vectors();
    depth.priced = &priced;
    depth.bucket = static_cast<std::size_t>(signature.bucket[g]);
    priced.sort(depth.bucket);
    depth.rest_pj = rest;
    depth.rest_tile = signature.rest_tile.data() + g * plan_->parts.size();  // may be empty
    depth.chosen.resize(plan_->parts.size());
    rest += priced.least[depth.bucket];
    // Any member stands for the lanes until one is chosen.
    depth.vector = depth.vectors->buckets()[depth.bucket].members.front();
  }
  load_rows(depths_.size() - 1);
  weigh_windows(plan_->ratios[static_cast<std::size_t>(signature.ratio)]);
  descend(0, constant_pj(signature) + floor_pj_);
}

void Search::weigh_windows(const std::vector<double>& ratios) {
  window_weights_.assign(plan_->windows.size(), ratios);
  for (std::size_t w = 0; w < plan_->windows.size(); ++w) {
    const auto t = static_cast<std::size_t>(plan_->windows[w]->tensor());
    const auto& packing = settings_.packings[t][static_cast<std::size_t>(packing_[t])];
    for (std::size_t l = 0; l < ratios.size(); ++l) window_weights_[w][l] /= static_cast<double>(packing.elements_per_word[l]);
  }
}

// Of the groups down to this depth.
void Search::load_rows(std::size_t depth) {
  for (std::size_t g = 0; g <= depth; ++g) {
    const GroupVectors& vectors = *depths_[g].vectors;
    const auto& dims = vectors.group().dims;
    for (std::size_t i = 0; i < dims.size(); ++i) rows_[static_cast<std::size_t>(dims[i])] = vectors.row(depths_[g].vector, i);
  }
}

// Whether the tiles can still fit when the groups further in take their smallest extents. Chosen tiles are left as they are where
// they do not.
bool Search::choose(std::size_t depth, int vector) {
  Depth& here = depths_[depth];
  here.vector = vector;
  if (!plan_->is_plain) load_rows(depth);
  const Count* tiles = here.vectors->tiles(vector);
  const Count* before = depth == 0 ? nullptr : depths_[depth - 1].chosen.data();
  Count need = 0;
  for (std::size_t p = 0; p < here.chosen.size(); ++p) {
    const WordRule& rule = words_[p];
    Count tile = before == nullptr ? 1 : before[p];
    if (rule.is_regular) {
      tile *= tiles[p];
    } else if ((plan_->completed[depth] >> rule.tensor & 1U) != 0) {
      tile = spanned_tile(plan_->parts[p]);
    }
    here.chosen[p] = tile;
    tile *= here.rest_tile[p];
    need += rule.shift >= 0 ? (tile + rule.elements - 1) >> rule.shift : ceil_div(tile, rule.elements);
    if (!rule.is_last) continue;
    if (need > rule.capacity_words) return false;
    need = 0;
  }
  return true;
}

// Extent of a tile whose ranks are no plain products, from the rows chosen so far.
Count Search::spanned_tile(const TilePart& part) const {
  Count tile = 1;
  for (const auto& rank : problem_.parts.workload.tensors()[static_cast<std::size_t>(part.tensor)].ranks) {
    Count span = 1;
    for (const Term& term : rank) {
      const Count extent = problem_.extent(term.dim, rows_[static_cast<std::size_t>(term.dim)], part.level);
      span += (extent - 1) * term.coefficient;
    }
    tile *= span;
  }
  return tile;
}

void Search::descend(std::size_t depth, double spent_pj) {
  const Depth& here = depths_[depth];
  for (int e = here.priced->begin[here.bucket]; e < here.priced->begin[here.bucket + 1] && !halted_; ++e) {
    const double energy = spent_pj + here.priced->cost[static_cast<std::size_t>(e)];
    if (energy + here.rest_pj > limit_pj_) {
      ++effort_->cut;
      return;
    }
    if ((++nodes_ & 0x3FF) == 0 && stop_.stop_requested()) halted_ = true;
    if (!choose(depth, here.priced->vector[static_cast<std::size_t>(e)])) continue;
    const double room = limit_pj_ - energy - here.rest_pj;
    if (depth == plan_->windows_known && (overlaps_exceed(room + floor_pj_) || windows_exceed_early(room))) {
      ++effort_->cut;
      continue;
    }
    if (depth + 1 < depths_.size()) {
      descend(depth + 1, energy);
    } else {
      visit_leaf(energy);
    }
  }
}

bool Search::overlaps_exceed(double room_pj) {
  const double* element_pj = overlap_element_pj_->data();
  for (const auto& overlap : plan_->overlaps) {
    room_pj -= overlap->least_energy(rows_.data(), signature_->instances, element_pj);
    element_pj += 2 * overlap->num_hops();
  }
  return room_pj < 0;
}

bool Search::windows_exceed_early(double room_pj) {
  for (std::size_t w = 0; w < plan_->windows.size(); ++w) {
    plan_->windows[w]->begin(rows_.data());
    room_pj -= plan_->windows[w]->least_outer_energy(window_weights_[w]);
    if (room_pj < 0) return true;
  }
  return false;
}

bool Search::windows_exceed(double room_pj) {
  for (std::size_t w = 0; w < plan_->windows.size(); ++w) {
    room_pj -= plan_->windows[w]->least_energy(window_weights_[w], room_pj);
    if (room_pj < 0) return true;
  }
  return false;
}

void Search::visit_leaf(double energy_pj) {
  if (plan_->is_plain) load_rows(depths_.size() - 1);
  if (windows_exceed(limit_pj_ - energy_pj)) {
    ++effort_->cut;
    return;
  }
  leaf_.update_best(rows_.data(), plan_->keep, best_);
  limit_pj_ = best_.energy_limit(cycles_);
  halted_ = stop_.stop_requested() || (priced_limit_ > 0 && leaf_.priced() >= priced_limit_);
}

Best Search::solve(std::size_t setting_class, Count budget, const std::stop_token& stop, Effort& effort) {
  packing_ = settings_.classes[setting_class];
  mac_ = settings_.class_mac[setting_class];
  best_ = Best(options_.objective);
  effort_ = &effort;
  stop_ = stop;
  halted_ = stop.stop_requested();
  const Count priced_before = leaf_.priced();
  priced_limit_ = budget > 0 ? saturating_add(priced_before, budget) : 0;
  leaf_.begin_class(setting_class);
  for (std::size_t p = 0; p < plans_.size(); ++p) weigh(p);
  leaf_.try_known(best_);
  std::vector<Candidate> candidates;
  if (best_.empty() && !halted_) {
    collect(true, candidates);
    if (!candidates.empty()) open(candidates.front());
    candidates.clear();
  }
  if (!halted_) collect(false, candidates);
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    if (a.objective != b.objective || a.energy_pj != b.energy_pj) return is_cheaper(a.objective, a.energy_pj, b.objective, b.energy_pj);
    return std::tie(a.plan, a.skeleton, a.signature) < std::tie(b.plan, b.skeleton, b.signature);
  });
  for (const Candidate& candidate : candidates) {
    const Signature& signature = plans_[static_cast<std::size_t>(candidate.plan)]->signatures[static_cast<std::size_t>(candidate.signature)];
    if (candidate.energy_pj > best_.energy_limit(cycles_of(signature))) {
      ++effort.cut;
      continue;
    }
    open(candidate);
    halted_ = halted_ || stop_.stop_requested();
    if (halted_) {
      effort.open_bound = candidate.objective * kBoundMargin;
      break;
    }
  }
  effort.priced = leaf_.priced() - priced_before;
  effort.complete = !halted_;
  for (const auto& point : best_.points()) leaf_.add_known(point.place);
  return best_;
}

}  // namespace quantloom::exact
