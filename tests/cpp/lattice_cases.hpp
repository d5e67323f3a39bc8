// Random small spaces without constraints, and one that is too much for a few thousand beginnings.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "draws.hpp"
#include "fixtures.hpp"
#include "quantloom/mac_table.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/mapspace.hpp"

namespace quantloom::test {

inline constexpr Count kLargestSpace = 20000;  // mappings of a random space, so that walking it stays quick

class CaseMaker : public Draws {
 public:
  explicit CaseMaker(std::uint32_t seed) : Draws(seed, 60) {}

  [[nodiscard]] Workload workload() {
    if (one_in(3)) return matmul(pick({1, 2, 3, 4, 6, 8}), pick({1, 2, 3, 4, 6, 8, 12}), pick({1, 2, 3, 4, 6, 9}));
    // G: a group or a batch; two dims that every tensor sees alike; perhaps one that only the outputs lack.
    const std::vector<Dim> dims = {{"G", pick({1, 1, 1, 2, 3})},
                                   {"M", pick({1, 2, 4, 6})},
                                   {"C", pick({1, 2, 4, 6})},
                                   {"P", pick({1, 2, 3, 4})},
                                   {"Q", pick({1, 2, 2, 4})}};
    const auto rank = [](int dim) { return std::vector<Term>{{dim, 1}}; };
    return {"pointwise",
            dims,
            {{"Weights", {rank(0), rank(1), rank(2)}, false},
             {"Inputs", {rank(0), rank(2), rank(3), rank(4)}, false},
             {"Outputs", {rank(0), rank(1), rank(3), rank(4)}, true}}};
  }

  // One or two ranks with windows: strides, dilations, holes; channels, groups and batches or not.
  [[nodiscard]] Workload window_workload() {
    const bool is_flat = one_in(3);
    const std::vector<Dim> dims = {{"G", pick({1, 1, 2, 3})},
                                   {"M", pick({1, 1, 2, 3, 4})},
                                   {"C", pick({1, 1, 2, 3})},
                                   {"P", pick({2, 3, 4, 6, 8})},
                                   {"R", pick({1, 2, 3, 3, 4})},
                                   {"Q", is_flat ? pick({1, 2}) : pick({2, 3, 4})},
                                   {"S", is_flat ? 1 : pick({1, 2, 3})},
                                   {"N", pick({1, 1, 1, 2})}};
    const auto rank = [](int dim) { return std::vector<Term>{{dim, 1}}; };
    const auto window = [&](int out, int kernel) {
      return std::vector<Term>{{out, pick({1, 1, 1, 2, 3})}, {kernel, pick({1, 1, 1, 2})}};
    };
    return {"window",
            dims,
            {{"Weights", {rank(0), rank(1), rank(2), rank(4), rank(6)}, false},
             {"Inputs", {rank(7), rank(0), rank(2), window(3, 4), window(5, 6)}, false},
             {"Outputs", {rank(7), rank(0), rank(1), rank(3), rank(5)}, true}}};
  }

  [[nodiscard]] Arch arch() {
    const auto levels = pick({2, 3, 3, 4, 4});
    std::vector<Level> out;
    Count x = 1;
    Count y = 1;
    for (int l = levels; l-- > 0;) {
      Level level = make_level("L" + std::to_string(l), x, y);
      describe(level, l == levels - 1);
      out.insert(out.begin(), level);
      if (one_in(2)) x *= pick({2, 3, 4});
      if (one_in(4)) y *= pick({2, 3});
    }
    Arithmetic units = make_macs(x, y);
    units.energy_pj = energy();
    if (one_in(4)) units.mac_table = bit_scalable_macs(16, pick({2, 4}), energy());
    if (one_in(6)) units.psum_bits = pick({8, 16, 20});
    if (one_in(6)) units.leak_energy_pj = 0.25;
    if (one_in(6)) units.idle_energy_pj = 0.125;
    return {"random", out, units, {}};
  }

  // A long hierarchy in which most levels are for one or two tensors, so that branch and bound can list its copies;
  // small ones inside.
  [[nodiscard]] Arch long_arch() {
    constexpr int kLevels = 5;
    std::vector<Level> out;
    std::vector<Constraint> constraints;
    Count x = 1;
    int open = 0;
    for (int l = kLevels; l-- > 0;) {
      const bool outermost = l == kLevels - 1;
      Level level = make_level("L" + std::to_string(l), x, 1);
      describe(level, outermost);
      level.energy.read_pj *= l + 1;
      if (!outermost) level.capacity_words = l < 3 ? pick({1, 2, 3, 4, 6, 8, 12, 16}) : pick({24, 32, 48, 64});
      out.insert(out.begin(), level);
      if (one_in(3)) x *= pick({2, 3});
      if (outermost) continue;
      Constraint copies;
      copies.level = level.name;
      copies.target = ConstraintTarget::keep;
      for (const char* tensor : {"Weights", "Inputs", "Outputs"}) {
        if (open == 6 || one_in(2)) {
          copies.bypass.emplace_back(tensor);
        } else {
          ++open;
        }
      }
      constraints.push_back(copies);
    }
    Arithmetic units = make_macs(x, 1);
    units.energy_pj = energy();
    return {"long", out, units, constraints};
  }

  [[nodiscard]] std::vector<std::vector<int>> settings() {
    std::vector<std::vector<int>> out;
    const auto bits = [&] { return pick({16, 8, 5, 4, 2}); };
    for (int i = 0; i < 3; ++i) out.push_back({bits(), bits(), bits()});
    return out;
  }

 private:
  void describe(Level& level, bool outermost) {
    level.energy = {energy(), energy(), energy(), "", "", ""};
    level.is_dram = outermost && one_in(2);
    level.word_bits = pick({16, 16, 24, 32});
    level.block_words = pick({1, 1, 2, 4});
    if (level.instances % 2 == 0 && one_in(3)) level.cluster_size = 2;
    if (!outermost && !one_in(8)) level.capacity_words = pick({2, 4, 8, 12, 16, 24, 48});
    if (one_in(4)) level.read_bandwidth = 0.5 * pick({1, 2, 3, 4});
    if (one_in(4)) level.write_bandwidth = 0.5 * pick({1, 2, 3, 4});
    if (one_in(6)) level.shared_bandwidth = 0.5 * pick({1, 2, 3, 4});
    level.bandwidth_in_bits = one_in(8);
    if (one_in(4)) level.address_energy_pj = 0.125;
    if (one_in(5)) level.packing = one_in(2) ? PackingRule::dense : PackingRule::none;
    if (one_in(6)) level.leak_energy_pj = 0.5;
    if (one_in(6)) level.idle_energy_pj = 0.125;
  }
};

// Few enough mappings to walk in milliseconds.
inline bool is_small(const Arch& arch, const Workload& workload) {
  const Mapspace space(arch, workload, Selection::free);
  if (std::stod(space.size().to_string()) > 1e13) return false;
  Count visited = 0;
  for (MappingWalker walker(space, Enumeration::distinct); walker.next();) {
    if (++visited > kLargestSpace) return false;
  }
  return true;
}

// A layer with a window on three levels, too much for a few thousand beginnings.
inline Workload dense_layer() {
  const auto at = [](int dim) { return std::vector<Term>{{dim, 1}}; };
  return {"dense",
          {{"M", 256}, {"C", 256}, {"P", 12}, {"Q", 12}, {"R", 3}, {"S", 3}},
          {{"Weights", {at(0), at(1), at(4), at(5)}, false},
           {"Inputs", {at(1), {{2, 1}, {4, 1}}, {{3, 1}, {5, 1}}}, false},
           {"Outputs", {at(0), at(2), at(3)}, true}}};
}

inline Arch three_levels() {
  Level spad = make_level("spad", 1, 1);
  spad.capacity_words = 256;
  Level buffer = make_level("buffer", 1, 1);
  buffer.capacity_words = 16384;
  buffer.energy = {6, 6, 6, "", "", ""};
  Level dram = make_level("DRAM", 1, 1);
  dram.is_dram = true;
  dram.energy = {200, 200, 200, "", "", ""};
  return {"three", {spad, buffer, dram}, make_macs(1, 1), {}};
}

inline MapperOptions free_options(Count budget, int threads = 1) {
  MapperOptions options;
  options.selection = Selection::free;
  options.threads = threads;
  options.budget = budget;
  return options;
}

}  // namespace quantloom::test
