#include "quantloom/arch.hpp"

#include <cmath>

#include "quantities.hpp"
#include "quantloom/error.hpp"
#include "quantloom/mac_table.hpp"

namespace quantloom {
namespace {

constexpr Count kLargestBlock = Count{1} << 40;  // batches divide by it in doubles: from 2^53 on a share of a block is lost

[[noreturn]] void fail(const std::string& arch, const std::string& what, const std::string& hint = {}) {
  throw Error(ErrorKind::spec, "architecture '" + arch + "': " + what, hint);
}

void check_energy(const std::string& arch, const std::string& what, double value) {
  if (!std::isfinite(value) || value < 0) fail(arch, what + " is " + std::to_string(value) + ", expected 0 or more");
  if (value > kLargestQuantity) fail(arch, what + " is above 1e100, expected at most that");
}

void check_positive(const std::string& arch, const std::string& what, double value) {
  if (!std::isfinite(value) || value <= 0) fail(arch, what + " is " + std::to_string(value) + ", expected more than 0");
  if (value < 1 / kLargestQuantity || value > kLargestQuantity) fail(arch, what + " is outside of 1e-100 to 1e100");
}

void check_mesh(const std::string& arch, const std::string& name, Count instances, Count x, Count y) {
  if (instances < 1 || instances == kSaturated || x < 1 || y < 1 || saturating_mul(x, y) != instances) {
    fail(arch, "'" + name + "' has " + std::to_string(instances) + " instances but a mesh of " + std::to_string(x) +
                   " x " + std::to_string(y));
  }
}

void check_level(const std::string& arch, const Level& level) {
  if (level.name.empty()) fail(arch, "a level has no name");
  const std::string at = "level '" + level.name + "': ";
  if (level.word_bits < 1 || level.word_bits > 4096) {
    fail(arch, at + "word_bits is " + std::to_string(level.word_bits) + ", expected 1 to 4096");
  }
  check_positive(arch, at + "block_words", static_cast<double>(level.block_words));
  if (level.block_words > kLargestBlock) {
    fail(arch, at + "block_words is " + std::to_string(level.block_words) + ", expected 1 to " + std::to_string(kLargestBlock));
  }
  check_positive(arch, at + "cluster_size", static_cast<double>(level.cluster_size));
  if (level.cluster_size > level.instances) {
    fail(arch, at + "cluster_size is " + std::to_string(level.cluster_size) + ", expected at most its " + std::to_string(level.instances) +
                   (level.instances == 1 ? " instance" : " instances"));
  }
  if (level.capacity_words) check_positive(arch, at + "capacity_words", static_cast<double>(*level.capacity_words));
  check_mesh(arch, level.name, level.instances, level.mesh_x, level.mesh_y);
  if (level.read_bandwidth) check_positive(arch, at + "read_bandwidth", *level.read_bandwidth);
  if (level.write_bandwidth) check_positive(arch, at + "write_bandwidth", *level.write_bandwidth);
  if (level.shared_bandwidth) check_positive(arch, at + "shared_bandwidth", *level.shared_bandwidth);
  check_energy(arch, at + "energy.read_pj", level.energy.read_pj);
  check_energy(arch, at + "energy.fill_pj", level.energy.fill_pj);
  check_energy(arch, at + "energy.update_pj", level.energy.update_pj);
  check_energy(arch, at + "address_energy_pj", level.address_energy_pj.value_or(0));
  check_energy(arch, at + "hop_energy_pj", level.hop_energy_pj);
  check_energy(arch, at + "router_energy_pj", level.router_energy_pj);
  check_energy(arch, at + "leak_energy_pj", level.leak_energy_pj);
  check_energy(arch, at + "area_um2", level.area_um2);
  check_energy(arch, at + "adder_energy_pj", level.adder_energy_pj);
  check_energy(arch, at + "idle_energy_pj", level.idle_energy_pj);
}

}  // namespace

PackingRule parse_packing_rule(std::string_view text) {
  if (text == "word") return PackingRule::word;
  if (text == "dense") return PackingRule::dense;
  if (text == "none") return PackingRule::none;
  throw Error(ErrorKind::spec, "unknown packing '" + std::string(text) + "'", "the packings are: word, dense, none");
}

Arch::Arch(std::string name, std::vector<Level> levels, Arithmetic arithmetic, std::vector<Constraint> constraints,
           bool relax_indivisible_factors, std::string source)
    : name_(std::move(name)),
      source_(std::move(source)),
      levels_(std::move(levels)),
      arithmetic_(std::move(arithmetic)),
      constraints_(std::move(constraints)),
      relax_indivisible_factors_(relax_indivisible_factors) {
  if (levels_.empty() || levels_.size() > kMaxLevels) {
    fail(name_, "has " + std::to_string(levels_.size()) + " levels, expected 1 to " + std::to_string(kMaxLevels));
  }
  check_mesh(name_, arithmetic_.name, arithmetic_.instances, arithmetic_.mesh_x, arithmetic_.mesh_y);
  check_energy(name_, "arithmetic energy_pj", arithmetic_.energy_pj);
  check_energy(name_, "arithmetic area_um2", arithmetic_.area_um2);
  check_energy(name_, "arithmetic leak_energy_pj", arithmetic_.leak_energy_pj);
  check_energy(name_, "arithmetic idle_energy_pj", arithmetic_.idle_energy_pj);
  if (arithmetic_.psum_bits < 0 || arithmetic_.psum_bits > kMaxPsumBits) {
    fail(name_, "arithmetic psum_bits is " + std::to_string(arithmetic_.psum_bits) + ", expected 1 to " + std::to_string(kMaxPsumBits) + ", or 0 to derive it");
  }
  if (arithmetic_.mac_table) check_mac_table(name_, *arithmetic_.mac_table);
  for (int i = 0; i < num_levels(); ++i) {
    const Level& here = level(i);
    check_level(name_, here);
    for (int j = 0; j < i; ++j) {
      if (level(j).name == here.name) fail(name_, "level '" + here.name + "' is given twice");
    }
    const std::string inner = i == 0 ? arithmetic_.name : level(i - 1).name;
    const Count inner_x = i == 0 ? arithmetic_.mesh_x : level(i - 1).mesh_x;
    const Count inner_y = i == 0 ? arithmetic_.mesh_y : level(i - 1).mesh_y;
    if (inner_x % here.mesh_x != 0 || inner_y % here.mesh_y != 0) {
      fail(name_, "level '" + here.name + "': its mesh of " + std::to_string(here.mesh_x) + " x " +
                      std::to_string(here.mesh_y) + " does not divide the mesh of '" + inner + "', " +
                      std::to_string(inner_x) + " x " + std::to_string(inner_y));
    }
  }
  for (const Constraint& constraint : constraints_) {
    if (find_level(constraint.level) < 0) {
      fail(name_, (constraint.where.empty() ? "" : constraint.where + ": ") + "constraint on unknown level '" +
                      constraint.level + "'");
    }
  }
}

int Arch::find_level(std::string_view name) const noexcept {
  for (int i = 0; i < num_levels(); ++i) {
    if (level(i).name == name) return i;
  }
  return -1;
}

Count Arch::fanout_x(int i) const noexcept {
  return (i == 0 ? arithmetic_.mesh_x : level(i - 1).mesh_x) / level(i).mesh_x;
}

Count Arch::fanout_y(int i) const noexcept {
  return (i == 0 ? arithmetic_.mesh_y : level(i - 1).mesh_y) / level(i).mesh_y;
}

}  // namespace quantloom
