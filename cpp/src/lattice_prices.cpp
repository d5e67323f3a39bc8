// Sections named in comments are those of docs/model.md.
#include "lattice_prices.hpp"

#include <algorithm>

#include "quantities.hpp"
#include "tensor_price.hpp"

namespace quantloom::lattice {
namespace {

double words_per_element(const WordRate& rate) { return static_cast<double>(rate.words) / static_cast<double>(rate.elements); }

double blocks_of(const Level& level, Count words) { return static_cast<double>(level.block_words == 1 ? words : ceil_div(words, level.block_words)); }

}  // namespace

Prices::Prices(const Problem& problem, const SettingTable& settings, std::size_t setting_class)
    : problem_(problem), lane_groups_(problem), mac_(settings.class_mac[setting_class]), arithmetic_pj_(static_cast<double>(problem.parts.workload.macs()) * mac_.energy_pj) {
  const Arch& arch = problem.parts.arch;
  rates_.resize(static_cast<std::size_t>(problem.num_tensors()));
  for (std::size_t t = 0; t < rates_.size(); ++t) {
    const bool is_output = problem.is_output(static_cast<int>(t));
    if (is_output) output_ = static_cast<int>(t);
    const SettingTable::Packing& packing = settings.packings[t][static_cast<std::size_t>(settings.classes[setting_class][t])];
    most_per_word_.push_back(packing.elements_per_word);
    for (const Level& level : arch.levels()) {
      const PackingRule rule = packing_rule(level, settings.options);
      const WordRate own = word_rate(rule, level.word_bits, packing.bits.own);
      std::vector<ElementRates> by_accumulator(1, {own, own});
      for (const Level& accumulator : arch.levels()) {
        const int width = is_output ? capped_psum(accumulator, packing.bits) : packing.bits.own;
        by_accumulator.push_back({own, word_rate(rule, level.word_bits, width)});
      }
      by_accumulator.front().psum = std::min_element(by_accumulator.begin() + 1, by_accumulator.end(), [](const ElementRates& a, const ElementRates& b) {
                                      return words_per_element(a.psum) < words_per_element(b.psum);
                                    })->psum;
      rates_[t].push_back(std::move(by_accumulator));
    }
  }
}

void Prices::plan(const Lanes& lanes, bool with_bounds) {
  const Arch& arch = problem_.parts.arch;
  const auto levels = static_cast<std::size_t>(problem_.num_levels());
  const std::size_t tensors = rates_.size();
  Count instances = 1;
  Count irrelevant_above = 1;
  std::array<Count, kMaxLatticeTensors> distinct{};
  std::array<double, kMaxLatticeTensors> irrelevant{};
  distinct.fill(1);
  irrelevant.fill(1);
  for (std::size_t t = 0; t < tensors; ++t) {
    for (const LatticeDim& dim : problem_.dims) {
      if ((dim.relevant >> t & 1U) != 0) {
        distinct[t] *= dim.bound;
      } else {
        irrelevant[t] *= static_cast<double>(dim.bound);
      }
    }
  }
  leakage_pj_ = 0;
  for (std::size_t l = levels; l-- > 0;) {
    const Level& level = arch.level(static_cast<int>(l));
    clusters_[l] = static_cast<double>(std::min(instances, level.instances / level.cluster_size));
    complete_above_[l] = irrelevant_above == 1;
    leakage_pj_ += level.leak_energy_pj * static_cast<double>(instances) + level.idle_energy_pj * static_cast<double>(level.instances - instances);
    for (std::size_t t = 0; t < tensors; ++t) {
      distinct_[t][l] = distinct[t];
      irrelevant_extent_[t][l] = irrelevant[t];
      relevant_lanes_[t][l] = 1;
    }
    for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
      const std::uint32_t relevant = problem_.dims[d].relevant;
      instances *= lanes[l][d];
      if ((relevant >> output_ & 1U) == 0) irrelevant_above *= lanes[l][d];
      for (std::size_t t = 0; t < tensors; ++t) {
        if ((relevant >> t & 1U) == 0) {
          irrelevant[t] /= lanes[l][d];
        } else {
          relevant_lanes_[t][l] *= lanes[l][d];
          distinct[t] /= lanes[l][d];
        }
      }
    }
  }
  const Arithmetic& units = arch.arithmetic();
  leakage_pj_ += units.leak_energy_pj * static_cast<double>(instances) + units.idle_energy_pj * static_cast<double>(units.instances - instances);
  steps_ = problem_.parts.workload.macs() / instances;
  compute_cycles_ = quantloom::compute_cycles(steps_, mac_.rate);
  if (problem_.window.tensor() >= 0) plan_window(lanes);
  if (!with_bounds) return;
  plan_copies();
  for (const Way way : {any, with_copy, without_copy}) plan_bounds(way);
}

// What is different for a tensor with a window: elements have several indices, and lanes of two dims of a rank may hold the same.
void Prices::plan_window(const Lanes& lanes) {
  const Window& window = problem_.window;
  const auto w = static_cast<std::size_t>(window.tensor());
  const auto levels = static_cast<std::size_t>(problem_.num_levels());
  const std::size_t dims = problem_.dims.size();
  Extents values{};
  for (std::size_t d = 0; d < dims; ++d) values[d] = problem_.dims[d].bound;
  for (std::size_t l = levels; l-- > 0;) {
    distinct_[w][l] = window.least_distinct(values);
    irrelevant_extent_[w][l] = 1;
    for (std::size_t d = 0; d < dims; ++d) values[d] /= lanes[l][d];
  }
  // Different sums of the lanes of levels from .. to - 1: at least, or as if no two were equal.
  const auto count = [&](std::size_t from, std::size_t to, bool at_least) {
    Extents between;
    between.fill(1);
    Count product = 1;
    for (std::size_t d = 0; d < dims; ++d) {
      for (std::size_t l = from; l < to; ++l) between[d] *= lanes[l][d];
      if (window.is_alone(d) || (window.rank(d) >= 0 && !at_least)) product *= between[d];
    }
    for (int r = 0; r < window.num_ranks() && at_least; ++r) product *= lane_groups_.least(r, lanes, from, to);
    return static_cast<double>(product);
  };
  for (std::size_t from = 0; from <= levels; ++from) {
    for (std::size_t q = from; q < levels; ++q) {
      window_lanes_of_copy_[from][q] = count(from, q + 1, true);
      double least = kInfinity;
      for (std::size_t child = 0; child <= from; ++child) least = std::min(least, count(child, q + 1, true) / count(child, from, false));
      window_lanes_[from][q] = std::max(1.0, least);
    }
  }
}

// Sections 6.7 and 6.8: an input is read; a partial sum is updated, and read again unless it is the first of its element.
double Prices::taken_pj(int tensor, int level, int accumulator, Count needs, double& reads, double& writes) const {
  const auto l = static_cast<std::size_t>(level);
  const Level& hardware = problem_.parts.arch.level(level);
  const ElementRates& rate = rates(tensor, level, accumulator);
  const double address = hardware.address_energy_pj.value_or(0);
  if (tensor != output_) {
    const Count words = packed_words(needs, rate.own);
    reads += static_cast<double>(words);
    return (blocks_of(hardware, words) * hardware.energy.read_pj + static_cast<double>(words) * address) * clusters_[l];
  }
  const Count complete = complete_above_[l] ? distinct(tensor, level) : 0;
  const Count updates = packed_words(needs - complete, rate.psum, complete, rate.own);
  const Count back = packed_words(needs - distinct(tensor, level), rate.psum);
  reads += static_cast<double>(back);
  writes += static_cast<double>(updates);
  return (blocks_of(hardware, updates) * hardware.energy.update_pj + blocks_of(hardware, back) * hardware.energy.read_pj + static_cast<double>(updates) * address) *
         clusters_[l];
}

double Prices::filled_pj(int tensor, int level, int accumulator, Count moves, double& writes) const {
  const Level& hardware = problem_.parts.arch.level(level);
  const ElementRates& rate = rates(tensor, level, accumulator);
  const Count words = tensor == output_ ? packed_words(moves - distinct(tensor, level), rate.psum) : packed_words(moves, rate.own);
  writes += static_cast<double>(words);
  const double per_instance = blocks_of(hardware, words) * hardware.energy.fill_pj + static_cast<double>(words) * hardware.address_energy_pj.value_or(0);
  return per_instance * clusters_[static_cast<std::size_t>(level)];
}

// Section 7.2: sums are partial where some of an element's arrive more than once, or other instances hold parts of them.
Count Prices::tile_words(int tensor, int level, int accumulator, Count tile, Count needs) const {
  const ElementRates& rate = rates(tensor, level, accumulator);
  const bool is_partial = tensor == output_ && (needs > distinct(tensor, level) || !complete_above_[static_cast<std::size_t>(level)]);
  return packed_words(tile, is_partial ? rate.psum : rate.own);
}

Count Prices::least_tile_words(int tensor, int level, Count tile) const {
  return ceil_div(tile, most_per_word_[static_cast<std::size_t>(tensor)][static_cast<std::size_t>(level)]);
}

double Prices::most_elements(int tensor, int level) const {
  const auto& capacity = problem_.parts.arch.level(level).capacity_words;
  if (!capacity) return kInfinity;
  return static_cast<double>(*capacity) * static_cast<double>(most_per_word_[static_cast<std::size_t>(tensor)][static_cast<std::size_t>(level)]);
}

// taken_pj() without rounding, as a line in the number of elements.
Prices::Line Prices::taken_line(int tensor, int level, int accumulator) const {
  const auto l = static_cast<std::size_t>(level);
  const Level& hardware = problem_.parts.arch.level(level);
  const ElementRates& rate = rates(tensor, level, accumulator);
  const double address = hardware.address_energy_pj.value_or(0);
  const auto block_words = static_cast<double>(hardware.block_words);
  const double read_pj = hardware.energy.read_pj / block_words;
  if (tensor != output_) return {(read_pj + address) * words_per_element(rate.own) * clusters_[l], 0, level, 0};
  const double update_pj = hardware.energy.update_pj / block_words + address;
  const auto sums = static_cast<double>(distinct(tensor, level));
  const double psum = words_per_element(rate.psum);
  const double complete = complete_above_[l] ? sums * (words_per_element(rate.own) - psum) * update_pj : 0;
  return {(update_pj + read_pj) * psum * clusters_[l], (complete - sums * read_pj * psum) * clusters_[l], level, 0};
}

double Prices::filled_slope(int tensor, int level, int accumulator) const {
  const Level& hardware = problem_.parts.arch.level(level);
  const double word_pj = hardware.energy.fill_pj / static_cast<double>(hardware.block_words) + hardware.address_energy_pj.value_or(0);
  return word_pj * words_per_element(tensor == output_ ? rates(tensor, level, accumulator).psum : rates(tensor, level, accumulator).own) *
         clusters_[static_cast<std::size_t>(level)];
}

// Elements that a copy takes in at least where another tensor has a copy too, unless the loops beyond are its run. The dims that
// are irrelevant to it are relevant to the other one, so they reach no further than that one's tile, which fits the level.
double Prices::crowded_moves(int tensor, int level) const {
  const auto l = static_cast<std::size_t>(level);
  const auto& capacity = problem_.parts.arch.level(level).capacity_words;
  double widest = 0;
  for (std::size_t t = 0; t < most_per_word_.size() && capacity; ++t) {
    if (static_cast<int>(t) != tensor) widest = std::max(widest, static_cast<double>(*capacity) * static_cast<double>(most_per_word_[t][l]));
  }
  const auto once = static_cast<double>(distinct(tensor, level));
  return widest == 0 ? once : once * std::max(1.0, irrelevant_extent_[static_cast<std::size_t>(tensor)][l] / widest);
}

// What a copy costs, whatever lies further out. The accumulator, a copy of the output, lies no further out than the copy.
void Prices::plan_copies() {
  const std::size_t slots = static_cast<std::size_t>((problem_.num_levels() + 1) * problem_.num_tensors()) * static_cast<std::size_t>(problem_.num_levels() + 1);
  taken_.resize(slots);
  filled_.resize(slots);
  crowded_moves_.resize(slots);
  for (int l = 0; l < problem_.num_levels(); ++l) {
    for (int t = 0; t < problem_.num_tensors(); ++t) {
      for (int a = kUnits; a <= last_accumulator(t, l); ++a) {
        const std::size_t at = slot(l, t, a);
        taken_[at] = taken_line(t, l, a == kUnits ? l : a);
        filled_[at] = filled_slope(t, l, a);
        crowded_moves_[at] = crowded_moves(t, l);
      }
    }
  }
}

// From the outermost level inwards.
void Prices::plan_bounds(Way way) {
  const int levels = problem_.num_levels();
  const int tensors = problem_.num_tensors();
  const int second = levels - 2;
  std::vector<double>& fresh = fresh_[way];
  const std::size_t slots = taken_.size();
  fresh.assign(slots, kInfinity);
  shared_.assign(slots, 0);
  lines_[way].resize(slots * kMaxLevels);
  line_count_[way].assign(slots, 0);
  const auto may_keep = [&](int tensor, int level) {
    if (way == with_copy && level > second) return false;
    if (way == without_copy && level == second) return false;
    return ((problem_.open[static_cast<std::size_t>(level)] | problem_.forced[static_cast<std::size_t>(level)]) >> tensor & 1U) != 0;
  };
  for (int l = levels - 1; l >= -1; --l) {
    const auto from = static_cast<std::size_t>(l + 1);
    for (int t = 0; t < tensors; ++t) {
      const bool has_window = t == problem_.window.tensor();
      std::array<double, kMaxLevels> lanes{};    // of levels l + 1 to q
      std::array<double, kMaxLevels> of_copy{};  // how many times as many there are if the level has a copy
      double product = 1;
      for (std::size_t q = from; q < static_cast<std::size_t>(levels); ++q) {
        product *= static_cast<double>(relevant_lanes(t, static_cast<int>(q)));
        lanes[q] = has_window ? window_lanes_[from][q] : product;
        of_copy[q] = has_window ? window_lanes_of_copy_[from][q] / lanes[q] : 1;
      }
      for (int a = kUnits; a <= last_accumulator(t, l); ++a) {
        const std::size_t at = slot(l, t, a);
        Line* const first = lines_[way].data() + at * kMaxLevels;
        Line* last = first;
        for (int q = l + 1; q < levels; ++q) {
          if (!may_keep(t, q)) continue;
          const Line& line = taken_[slot(q, t, a)];
          const std::size_t copy = slot(q, t, a == kUnits ? q : a);
          *last++ = {line.slope * lanes[static_cast<std::size_t>(q)], line.offset + fresh[copy], q, shared_[copy]};
        }
        line_count_[way][at] = static_cast<std::size_t>(last - first);
        if (l == levels - 1 || (way == with_copy && l == second)) {
          fresh[at] = 0;
        } else if (l >= 0) {
          const auto least_from = [&](double moves) {
            double least = kInfinity;
            for (const Line* line = first; line != last; ++line) least = std::min(least, line->slope * of_copy[static_cast<std::size_t>(line->level)] * moves + line->offset);
            return least + filled_[at] * (t == output_ ? moves - static_cast<double>(distinct(t, l)) : moves);
          };
          fresh[at] = least_from(static_cast<double>(distinct(t, l)));
          if (fresh[at] < kInfinity) shared_[at] = least_from(crowded_moves_[at]) - fresh[at];
        }
      }
    }
  }
}

double Prices::rest_pj(Way way, int level, int tensor, int accumulator, Count needs) const {
  double least = kInfinity;
  for (const Line& line : lines(way, level, tensor, accumulator)) least = std::min(least, line.slope * static_cast<double>(needs) + line.offset);
  return least;
}

}  // namespace quantloom::lattice
