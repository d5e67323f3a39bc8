// Small random accelerators, layers and bit-widths with every switch of the models, from a number.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "draws.hpp"
#include "fixtures.hpp"
#include "quantloom/mac_table.hpp"

namespace quantloom::test {

class CaseMaker : public Draws {
 public:
  explicit CaseMaker(std::uint32_t seed) : Draws(seed, 40) {}

  // Ranks that are multiples of a dim, and windows whose dims the hardware can spread over its lanes.
  [[nodiscard]] Workload strided_workload() {
    const std::vector<Dim> dims{
        {"M", pick({1, 2, 3})}, {"P", pick({2, 3, 4, 6})}, {"R", pick({1, 2, 3, 4})}, {"C", pick({1, 2})}};
    const Count stride = pick({1, 1, 2, 3});
    const bool window = !one_in(3);
    std::vector<Term> slides{{1, stride}};
    if (window) slides.push_back({2, pick({1, 1, 2})});
    TensorSpec inputs{"Inputs", {{{3, pick({1, 2})}}, slides}, false};
    if (!window && one_in(2)) inputs.ranks.push_back({{2, pick({1, 3})}});
    return {"strided",
            dims,
            {{"Weights", {{{0, 1}}, {{2, pick({1, 1, 2})}}, {{3, 1}}}, false},
             inputs,
             {"Outputs", {{{0, pick({1, 1, 2})}}, {{1, pick({1, 1, 3})}}}, true}}};
  }

  // Lanes at every level, no limits on factors: windows spread over both of their dims.
  [[nodiscard]] Arch wide_arch(const Workload& workload) {
    const int levels = pick({2, 3, 3});
    std::vector<Level> out;
    std::vector<Constraint> constraints;
    Count x = 1;
    Count y = 1;
    for (int l = levels; l-- > 0;) {
      Level level = make_level("L" + std::to_string(l), x, y);
      describe(level, l == levels - 1);
      level.energy.read_pj *= 1 + 3 * l;
      if (l + 1 < levels) level.capacity_words = pick({4, 6, 9, 16, 40});
      out.insert(out.begin(), level);
      constraints.push_back(keep(level.name, workload, l == levels - 1));
      if (one_in(2)) constraints.push_back(order(level.name, workload));
      if (l == 0 && !one_in(3)) continue;
      x *= pick({1, 2, 3, 4, 6});
      y *= pick({1, 1, 2, 3});
    }
    return {"wide", out, units(x, y), constraints, true};
  }

  [[nodiscard]] Workload workload() {
    if (one_in(4)) return test::matmul(pick({1, 2, 3, 4, 6, 8}), pick({1, 2, 4, 6}), pick({1, 2, 3, 4}));
    const bool grouped = one_in(3);
    const bool depthwise = grouped && !one_in(3);
    std::vector<Dim> dims;
    if (grouped) dims.push_back({"G", pick({2, 3, 4})});
    dims.push_back({"C", depthwise ? 1 : pick({1, 2, 3, 4})});
    dims.push_back({"M", depthwise ? 1 : pick({1, 2, 4, 6})});
    const bool kernel = one_in(2);
    for (const auto& [name, bound] : std::vector<std::pair<const char*, int>>{{"R", kernel ? pick({1, 2, 3}) : 1},
                                                                              {"S", kernel ? pick({1, 1, 3}) : 1},
                                                                              {"N", pick({1, 1, 1, 2})},
                                                                              {"P", pick({1, 2, 3, 4, 6})},
                                                                              {"Q", pick({1, 1, 2, 4})}}) {
      dims.push_back({name, bound});
    }
    const auto at = [&](const char* name) {
      for (std::size_t d = 0; d < dims.size(); ++d) {
        if (dims[d].name == name) return static_cast<int>(d);
      }
      return -1;
    };
    const Count stride = pick({1, 1, 1, 2, 3});
    const Count dilation = pick({1, 1, 1, 2});
    TensorSpec weights{"Weights", {{{at("C"), 1}}, {{at("M"), 1}}, {{at("R"), 1}}, {{at("S"), 1}}}, false};
    TensorSpec inputs{"Inputs",
                      {{{at("N"), 1}},
                       {{at("C"), 1}},
                       {{at("R"), dilation}, {at("P"), stride}},
                       {{at("S"), dilation}, {at("Q"), stride}}},
                      false};
    TensorSpec outputs{"Outputs", {{{at("N"), 1}}, {{at("M"), 1}}, {{at("Q"), 1}}, {{at("P"), 1}}}, true};
    if (grouped) {
      for (TensorSpec* tensor : {&weights, &inputs, &outputs}) tensor->ranks.insert(tensor->ranks.begin(), {{0, 1}});
    }
    return {"random", dims, {weights, inputs, outputs}};
  }

  [[nodiscard]] Arch arch(const Workload& workload) {
    const int levels = pick({2, 3, 3, 4});
    std::vector<Level> out;
    Count x = 1;
    Count y = 1;
    for (int l = levels; l-- > 0;) {
      Level level = make_level("L" + std::to_string(l), x, y);
      describe(level, l == levels - 1);
      out.insert(out.begin(), level);
      x *= l == 0 && !one_in(4) ? 1 : pick({1, 1, 2, 3, 4});
      y *= l == 0 && !one_in(4) ? 1 : pick({1, 1, 1, 2});
    }
    std::vector<Constraint> constraints;
    for (int l = 0; l < levels; ++l) {
      const std::string name = out[static_cast<std::size_t>(l)].name;
      if (!one_in(5) || l == levels - 1) constraints.push_back(keep(name, workload, l == levels - 1));
      if (!one_in(3)) constraints.push_back(loops(name, ConstraintTarget::temporal, workload));
      const bool outer = l > 0;
      const Count fan_x =
          (outer ? out[static_cast<std::size_t>(l - 1)].mesh_x : x) / out[static_cast<std::size_t>(l)].mesh_x;
      const Count fan_y =
          (outer ? out[static_cast<std::size_t>(l - 1)].mesh_y : y) / out[static_cast<std::size_t>(l)].mesh_y;
      if (fan_x * fan_y > 1 && !one_in(3)) constraints.push_back(loops(name, ConstraintTarget::spatial, workload));
    }
    return {"random", out, units(x, y), constraints, true};
  }

  [[nodiscard]] std::vector<std::vector<int>> settings() {
    std::vector<std::vector<int>> out;
    for (int i = 0; i < 4; ++i) out.push_back({pick({16, 8, 4, 3, 2, 0}), pick({16, 8, 5, 4, 2}), pick({16, 8, 4, 2})});
    return out;
  }

 private:
  [[nodiscard]] Arithmetic units(Count x, Count y) {
    Arithmetic out = test::make_macs(x, y);
    out.energy_pj = energy();
    if (one_in(4)) out.mac_table = bit_scalable_macs(16, pick({2, 4}), energy());
    if (one_in(5))
      out.mac_table =
          bit_serial_macs(16, one_in(2) ? SerialOperand::first : SerialOperand::both, pick({0, 3, 16}), energy());
    if (one_in(6)) out.psum_bits = pick({8, 16, 20});
    if (one_in(6)) out.leak_energy_pj = 0.25;
    if (one_in(6)) out.idle_energy_pj = 0.125;
    return out;
  }

  // What only the default model knows.
  void extend(Level& level) {
    if (one_in(5)) level.packing = one_in(2) ? PackingRule::dense : PackingRule::none;
    level.bandwidth_in_bits = one_in(8);
    level.multicast = !one_in(5);
    level.reduction = !one_in(5);
    level.forwarding = one_in(5);
    if (one_in(5)) level.adder_energy_pj = 0.25;
    if (one_in(6)) level.idle_energy_pj = 0.125;
  }

  void describe(Level& level, bool outermost) {
    extend(level);
    level.energy = {energy(), energy(), energy(), "", "", ""};
    level.is_dram = outermost && one_in(2);
    level.word_bits = pick({16, 16, 16, 24, 32});
    level.block_words = pick({1, 1, 2, 4});
    if (level.instances % 2 == 0 && one_in(3)) level.cluster_size = 2;
    if (!outermost) level.capacity_words = pick({4, 8, 12, 16, 24, 48, 100});
    if (one_in(4)) level.read_bandwidth = 0.5 * pick({1, 2, 3, 4});
    if (one_in(4)) level.write_bandwidth = 0.5 * pick({1, 2, 3, 4});
    if (one_in(6)) level.shared_bandwidth = 0.5 * pick({1, 2, 3, 4});
    if (one_in(4)) level.address_energy_pj = 0.125;
    if (one_in(5)) level.hop_energy_pj = 0.25;
    if (one_in(6)) level.router_energy_pj = 0.125;
    if (one_in(5)) level.leak_energy_pj = 0.5;
  }

  [[nodiscard]] Constraint keep(const std::string& level, const Workload& workload, bool outermost) {
    Constraint out;
    out.level = level;
    out.target = ConstraintTarget::keep;
    for (const TensorSpec& tensor : workload.tensors()) {
      if (outermost ? !one_in(12) : one_in(2)) {
        out.keep.push_back(tensor.name);
      } else if (!one_in(8)) {
        out.bypass.push_back(tensor.name);
      }
    }
    return out;
  }

  // The order of the temporal loops, given in full.
  [[nodiscard]] Constraint order(const std::string& level, const Workload& workload) {
    Constraint out;
    out.level = level;
    out.has_permutation = true;
    for (const Dim& dim : workload.dims()) out.permutation_inner.push_back(dim.name);
    std::shuffle(out.permutation_inner.begin(), out.permutation_inner.end(), random_);
    return out;
  }

  // A random prefix or suffix of the order and a few limits.
  [[nodiscard]] Constraint loops(const std::string& level, ConstraintTarget target, const Workload& workload) {
    Constraint out;
    out.level = level;
    out.target = target;
    std::vector<std::string> names;
    for (const Dim& dim : workload.dims()) names.push_back(dim.name);
    std::shuffle(names.begin(), names.end(), random_);
    for (const std::string& name : names) {
      const Count bound = workload.bound(workload.find_dim(name));
      if (one_in(4)) {
        out.factors.push_back({name, FactorRelation::equal, pick({1, 1, 1, 2, 0})});
      } else if (one_in(6)) {
        out.factors.push_back({name, FactorRelation::at_most, std::max<Count>(1, bound / 2)});
      }
    }
    out.has_permutation = !one_in(3);
    if (!out.has_permutation) return out;
    const std::size_t inner = below(names.size() + 1);
    out.permutation_inner.assign(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(inner));
    if (one_in(2))
      out.permutation_outer.assign(names.begin() + static_cast<std::ptrdiff_t>(inner + below(names.size() + 1 - inner)),
                                   names.end());
    if (target == ConstraintTarget::spatial && one_in(2)) out.split = static_cast<int>(below(names.size() + 1));
    return out;
  }
};

}  // namespace quantloom::test
