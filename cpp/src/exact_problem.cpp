#include "exact_problem.hpp"

#include <algorithm>
#include <numeric>

namespace quantloom::exact {
namespace {

// Every dim of the tensor moves one rank by one element: tiles and loops multiply back to the tensor.
bool is_plain(const TensorSpec& spec, const Workload& workload) {
  std::uint32_t seen = 0;
  for (const auto& rank : spec.ranks) {
    for (const Term& term : rank) {
      if (workload.bound(term.dim) == 1) continue;
      if (term.coefficient != 1 || (seen >> term.dim & 1U) != 0) return false;
      seen |= 1U << term.dim;
    }
  }
  return true;
}

}  // namespace

Problem::Problem(const Arch& arch, const Workload& workload, Selection selection)
    : parts(arch, workload, selection),
      rows(list_factorizations(parts, "search")),
      temporal_block(static_cast<std::size_t>(arch.num_levels()), -1),
      spatial_block(static_cast<std::size_t>(arch.num_levels()), -1),
      macs(static_cast<double>(workload.macs())) {
  for (int b = 0; b < num_blocks(); ++b) {
    const Block& block = parts.constraints.blocks[static_cast<std::size_t>(b)];
    (block.spatial ? spatial_block : temporal_block)[static_cast<std::size_t>(block.level)] = b;
    if (!block.spatial) continue;
    bool lanes = false;
    for (int d = 0; d < workload.num_dims(); ++d) {
      for (std::uint32_t r = 0; r < num_rows(d) && !lanes; ++r) lanes = factor(d, r, b) > 1;
    }
    if (!lanes) continue;
    lane_blocks.push_back(b);
    lanes_below_level0 = lanes_below_level0 || block.level == 0;
  }
  for (int l = 0; l < arch.num_levels(); ++l) {
    if (arch.level(l).capacity_words) bounded_levels.push_back(l);
  }
  for (int d = 0; d < workload.num_dims(); ++d) active |= static_cast<std::uint32_t>(workload.bound(d) > 1) << d;
  for (int d = 0; d < workload.num_dims(); ++d) {
    std::vector<std::uint32_t>& extents = extents_.emplace_back();
    for (std::uint32_t r = 0; r < num_rows(d); ++r) {
      std::uint32_t product = 1;
      int b = 0;
      for (int l = 0; l < num_levels(); ++l) {
        for (; b < num_blocks() && parts.constraints.blocks[static_cast<std::size_t>(b)].level == l; ++b) product *= factor(d, r, b);
        extents.push_back(product);
      }
    }
  }
  describe_tensors();
  make_groups();
}

void Problem::describe_tensors() {
  const Workload& workload = parts.workload;
  for (int t = 0; t < workload.num_tensors(); ++t) {
    const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(t)];
    Tensor& tensor = tensors.emplace_back();
    tensor.is_output = spec.is_output;
    for (int d = 0; d < workload.num_dims(); ++d) {
      if (!workload.is_relevant(t, d)) continue;
      tensor.relevant |= 1U << d;
      tensor.elements *= static_cast<double>(workload.bound(d));
    }
    if (workload.has_window(t)) {
      tensor.form = Form::window;
    } else if (!is_plain(spec, workload)) {
      tensor.form = spec.is_output ? Form::window : Form::strided;
    }
  }
}

void Problem::make_groups() {
  // Union of tensors that share an irrelevant dim: then their costs depend on a common set of dims.
  std::vector<int> owner(static_cast<std::size_t>(num_tensors()));
  std::iota(owner.begin(), owner.end(), 0);
  const auto irrelevant_to = [&](int d) {
    std::vector<int> out;
    for (int t = 0; t < num_tensors(); ++t) {
      if (is_irrelevant(t, d)) out.push_back(t);
    }
    return out;
  };
  const int dims = parts.workload.num_dims();
  for (int d = 0; d < dims; ++d) {
    const std::vector<int> shared = (active >> d & 1U) != 0 ? irrelevant_to(d) : std::vector<int>{};
    for (const int t : shared) {
      const int from = owner[static_cast<std::size_t>(t)];
      std::replace(owner.begin(), owner.end(), from, owner[static_cast<std::size_t>(shared.front())]);
    }
  }
  Group rest;
  std::vector<Group> by_owner(static_cast<std::size_t>(num_tensors()));
  for (int t = 0; t < num_tensors(); ++t) by_owner[static_cast<std::size_t>(owner[static_cast<std::size_t>(t)])].tensors |= 1U << t;
  for (int d = 0; d < dims; ++d) {
    if ((active >> d & 1U) == 0) continue;
    const std::vector<int> shared = irrelevant_to(d);
    (shared.empty() ? rest : by_owner[static_cast<std::size_t>(owner[static_cast<std::size_t>(shared.front())])]).dims.push_back(d);
  }
  for (const Group& group : by_owner) {
    if (group.tensors == 0) continue;
    bool has_output = false;
    for (int t = 0; t < num_tensors(); ++t) has_output = has_output || (tensors[static_cast<std::size_t>(t)].is_output && (group.tensors >> t & 1U) != 0);
    groups.insert(has_output ? groups.begin() : groups.end(), group);
  }
  if (!rest.dims.empty()) groups.push_back(rest);
}

KeepChoice Problem::keep_choice(std::uint64_t index) const noexcept {
  KeepChoice out;
  out.index = index;
  std::copy(parts.kept.begin(), parts.kept.end(), out.keep.begin());
  for (std::size_t i = 0; i < parts.open.size(); ++i) {
    if ((index >> i & 1U) != 0) out.keep[static_cast<std::size_t>(parts.open[i].level)] |= 1U << parts.open[i].tensor;
  }
  return out;
}

std::vector<Link> Problem::links(const KeepChoice& choice) const {
  std::vector<Link> out;
  for (int t = 0; t < num_tensors(); ++t) {
    if (tensors[static_cast<std::size_t>(t)].form == Form::window) continue;
    int child = -1;
    for (int l = 0; l < num_levels(); ++l) {
      if ((choice.keep[static_cast<std::size_t>(l)] >> t & 1U) == 0) continue;
      if (child >= 0) out.push_back({t, child});
      child = l;
    }
  }
  return out;
}

}  // namespace quantloom::exact
