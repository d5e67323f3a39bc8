#include "exact_lists.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

#include "quantloom/error.hpp"

namespace quantloom::exact {
namespace {

constexpr std::uint64_t kMostVectors = std::uint64_t{1} << 22;

}  // namespace

GroupVectors::GroupVectors(const Problem& problem, const Group& group, const std::vector<TilePart>& parts)
    : group_(group), parts_(parts.size()) {
  std::uint64_t size = 1;
  for (const int d : group.dims) size *= problem.num_rows(d);
  if (size > kMostVectors) {
    throw Error(ErrorKind::mapping, "workload '" + problem.parts.workload.name() + "': too many factorizations to list for the exact search");
  }
  size_ = static_cast<int>(size);
  const std::size_t dims = group.dims.size();
  rows_.resize(static_cast<std::size_t>(size_) * dims);
  for (int v = 0; v < size_; ++v) {
    auto rest = static_cast<std::uint32_t>(v);
    for (std::size_t i = 0; i < dims; ++i) {
      const std::uint32_t rows = problem.num_rows(group.dims[i]);
      rows_[static_cast<std::size_t>(v) * dims + i] = rest % rows;
      rest /= rows;
    }
  }
  fill_tiles(problem, parts);
  fill_buckets(problem);
}

void GroupVectors::fill_tiles(const Problem& problem, const std::vector<TilePart>& parts) {
  tiles_.assign(static_cast<std::size_t>(size_) * parts.size(), 1);
  for (int v = 0; v < size_; ++v) {
    for (std::size_t p = 0; p < parts.size(); ++p) {
      Count& tile = tiles_[static_cast<std::size_t>(v) * parts.size() + p];
      for (std::size_t i = 0; i < group_.dims.size(); ++i) {
        if (!problem.is_irrelevant(parts[p].tensor, group_.dims[i])) tile *= problem.extent(group_.dims[i], row(v, i), parts[p].level);
      }
    }
  }
}

void GroupVectors::fill_buckets(const Problem& problem) {
  std::map<std::vector<std::uint32_t>, std::size_t> known;
  std::vector<std::uint32_t> lanes(problem.lane_blocks.size());
  for (int v = 0; v < size_; ++v) {
    for (std::size_t k = 0; k < lanes.size(); ++k) {
      lanes[k] = 1;
      for (std::size_t i = 0; i < group_.dims.size(); ++i) lanes[k] *= problem.factor(group_.dims[i], row(v, i), problem.lane_blocks[k]);
    }
    const auto [it, is_new] = known.try_emplace(lanes, buckets_.size());
    if (is_new) buckets_.push_back({lanes, {}, std::vector<Count>(tiles(v), tiles(v) + parts_)});
    Bucket& bucket = buckets_[it->second];
    bucket.members.push_back(v);
    for (std::size_t p = 0; p < parts_; ++p) bucket.least_tile[p] = std::min(bucket.least_tile[p], tiles(v)[p]);
  }
}

GroupLists::GroupLists(const Problem& problem, const Group& group, const KeepChoice& keep, const std::vector<Link>& links,
                       const std::vector<TilePart>& parts)
    : problem_(problem), group_(group), links_(links), vectors_(problem, group, parts) {
  for (const int d : group.dims) dims_ |= 1U << d;
  for (int t = 0; t < problem.num_tensors(); ++t) {
    if ((group.tensors >> t & 1U) == 0) continue;
    for (int l = 0; l < problem.num_levels(); ++l) {
      if ((keep.keep[static_cast<std::size_t>(l)] >> t & 1U) == 0) continue;
      components_.push_back({t, l, false});
      if (problem.tensors[static_cast<std::size_t>(t)].is_output) components_.push_back({t, l, true});
    }
  }
}

int GroupLists::find_list(const Skeleton& skeleton) {
  std::vector<std::uint32_t> key;
  for (const std::uint32_t units : skeleton.units) key.push_back(units & dims_);
  const auto blocks = static_cast<std::size_t>(problem_.num_blocks());
  for (std::size_t i = 0; i < links_.size(); ++i) {
    if ((group_.tensors >> links_[i].tensor & 1U) == 0) continue;
    for (std::size_t b = 0; b < blocks; ++b) key.push_back(skeleton.runs[i * blocks + b] & dims_);
  }
  const auto [it, is_new] = known_.try_emplace(key, static_cast<int>(lists_.size()));
  if (is_new) {
    lists_.push_back(std::make_unique<List>());
    lists_.back()->key = std::move(key);
    build(*lists_.back());
  }
  return it->second;
}

void GroupLists::build(List& list) const {
  const auto blocks = static_cast<std::size_t>(problem_.num_blocks());
  const auto satisfies_units = [&](int vector) {
    for (std::size_t b = 0; b < blocks; ++b) {
      if (list.key[b] == 0) continue;
      for (std::size_t i = 0; i < group_.dims.size(); ++i) {
        const int d = group_.dims[i];
        if ((list.key[b] >> d & 1U) != 0 && problem_.factor(d, vectors_.row(vector, i), static_cast<int>(b)) > 1) return false;
      }
    }
    return true;
  };
  for (const GroupVectors::Bucket& bucket : vectors_.buckets()) {
    list.begin.push_back(static_cast<int>(list.vector.size()));
    for (const int v : bucket.members) {
      if (!satisfies_units(v)) continue;
      list.vector.push_back(v);
      add_energy(list, v, list.energy);
    }
  }
  list.begin.push_back(static_cast<int>(list.vector.size()));
}

// Product of the irrelevant temporal loops above the link's child that are not in its run.
double GroupLists::run_factor(const List& list, int vector, std::size_t link) const {
  const auto blocks = static_cast<std::size_t>(problem_.num_blocks());
  std::size_t position = blocks;
  for (std::size_t i = 0; i < link; ++i) position += (group_.tensors >> links_[i].tensor & 1U) != 0 ? blocks : 0;
  double product = 1;
  for (std::size_t b = 0; b < blocks; ++b) {
    const Block& block = problem_.parts.constraints.blocks[b];
    if (block.spatial || block.level <= links_[link].child) continue;
    for (std::size_t i = 0; i < group_.dims.size(); ++i) {
      const int d = group_.dims[i];
      if (!problem_.is_irrelevant(links_[link].tensor, d) || (list.key[position + b] >> d & 1U) != 0) continue;
      product *= problem_.factor(d, vectors_.row(vector, i), static_cast<int>(b));
    }
  }
  return product;
}

// Lanes in dims irrelevant to the tensor, of the spatial blocks of levels first_level .. end_level - 1.
double GroupLists::irrelevant_lanes(int vector, int tensor, int first_level, int end_level) const {
  double product = 1;
  for (const int b : problem_.lane_blocks) {
    const int level = problem_.parts.constraints.blocks[static_cast<std::size_t>(b)].level;
    if (level < first_level || level >= end_level) continue;
    for (std::size_t i = 0; i < group_.dims.size(); ++i) {
      if (problem_.is_irrelevant(tensor, group_.dims[i])) product *= problem_.factor(group_.dims[i], vectors_.row(vector, i), b);
    }
  }
  return product;
}

// Whether the operands that the arithmetic units take from this level are MACs / irrelevant lanes below. Not where units
// may hand operands to each other, and not for a window whose two dims could both have lanes below the level: diagonals
// then hold equal elements.
bool GroupLists::counts_operands(int tensor, int level) const {
  if (problem_.lanes_below_level0) return false;
  const Tensor& shape = problem_.tensors[static_cast<std::size_t>(tensor)];
  if (shape.form != Form::window) return true;
  if (shape.is_output) return false;
  const auto has_lanes = [&](int dim) {
    return std::any_of(problem_.lane_blocks.begin(), problem_.lane_blocks.end(), [&](int b) {
      if (problem_.parts.constraints.blocks[static_cast<std::size_t>(b)].level > level) return false;
      for (std::uint32_t r = 0; r < problem_.num_rows(dim); ++r) {
        if (problem_.factor(dim, r, b) > 1) return true;
      }
      return false;
    });
  };
  for (const auto& rank : problem_.parts.workload.tensors()[static_cast<std::size_t>(tensor)].ranks) {
    if (std::count_if(rank.begin(), rank.end(), [&](const Term& term) { return has_lanes(term.dim); }) > 1) return false;
  }
  return true;
}

// One energy per component. Rounding to words and blocks, hops and bandwidth are left out: all of them only add.
void GroupLists::add_energy(const List& list, int vector, std::vector<double>& out) const {
  int inner = -1;  // the tensor's next kept level further in
  for (std::size_t c = 0; c < components_.size(); ++c) {
    const auto [t, level, psum] = components_[c];
    if (psum) continue;  // written with the complete sums before it
    if (c == 0 || components_[c - 1].tensor != t) inner = -1;
    const Tensor& tensor = problem_.tensors[static_cast<std::size_t>(t)];
    const double above = irrelevant_lanes(vector, t, level + 1, problem_.num_levels());
    const double first_touch = tensor.is_output ? tensor.elements * above : 0;
    double served = 0;  // elements handed to the next inner kept level or the arithmetic units
    double filled = 0;
    if (inner < 0) served = counts_operands(t, level) ? problem_.macs / irrelevant_lanes(vector, t, 0, level + 1) : first_touch;
    for (std::size_t i = 0; i < links_.size() && tensor.form != Form::window; ++i) {
      if (links_[i].tensor != t) continue;
      if (links_[i].child == level) filled = tensor.elements * run_factor(list, vector, i) * above;
      if (inner >= 0 && links_[i].child == inner) served = tensor.elements * run_factor(list, vector, i) * above;
    }
    const Level& hardware = problem_.parts.arch.level(level);
    const double address = hardware.address_energy_pj.value_or(0);
    const auto per_access = [&](double block_pj) { return block_pj / static_cast<double>(hardware.block_words); };
    const double read_pj = per_access(hardware.energy.read_pj);
    const double fill_pj = per_access(hardware.energy.fill_pj) + address;
    const double update_pj = per_access(hardware.energy.update_pj) + address;
    if (tensor.is_output) {
      const bool bounded = tensor.form != Form::window;
      const double fills = std::max(0.0, filled - first_touch);
      // The last update of an element brings the complete sum, unless other instances hold parts of it.
      const double complete = above > 1 ? 0 : std::min(served, first_touch);
      out.push_back(bounded ? complete * update_pj : 0);
      out.push_back(bounded ? (served - complete) * update_pj + (served - first_touch) * read_pj + fills * fill_pj : 0);
    } else {
      const bool bounded = tensor.form != Form::window || inner < 0;
      out.push_back(bounded ? served * (read_pj + address) + filled * fill_pj : 0);
    }
    inner = level;
  }
}

PricedList& GroupLists::price(int list_index, int pricing, const std::vector<double>& weights) {
  List& list = *lists_[static_cast<std::size_t>(list_index)];
  if (list.priced.size() <= static_cast<std::size_t>(pricing)) list.priced.resize(static_cast<std::size_t>(pricing) + 1);
  std::unique_ptr<PricedList>& slot = list.priced[static_cast<std::size_t>(pricing)];
  if (slot) return *slot;
  slot = std::make_unique<PricedList>();
  slot->vector = list.vector;
  slot->begin = list.begin;
  slot->cost.resize(list.vector.size());
  const double* energy = list.energy.data();
  for (double& cost : slot->cost) {
    for (const double weight : weights) cost += *energy++ * weight;
  }
  const std::size_t buckets = list.begin.size() - 1;
  slot->least.assign(buckets, std::numeric_limits<double>::infinity());
  slot->is_sorted.assign(buckets, 0);
  for (std::size_t b = 0; b < buckets; ++b) {
    for (int e = list.begin[b]; e < list.begin[b + 1]; ++e) slot->least[b] = std::min(slot->least[b], slot->cost[static_cast<std::size_t>(e)]);
  }
  return *slot;
}

void PricedList::sort(std::size_t bucket) {
  if (is_sorted[bucket] != 0) return;
  is_sorted[bucket] = 1;
  const auto first = static_cast<std::size_t>(begin[bucket]);
  std::vector<std::pair<double, int>> members;
  for (auto e = first; e < static_cast<std::size_t>(begin[bucket + 1]); ++e) members.emplace_back(cost[e], vector[e]);
  std::sort(members.begin(), members.end());
  for (std::size_t i = 0; i < members.size(); ++i) std::tie(cost[first + i], vector[first + i]) = members[i];
}

}  // namespace quantloom::exact
