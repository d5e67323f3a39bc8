// An accelerator: storage levels from the innermost (0) outwards, the arithmetic units below level 0, and the
// constraints that its dataflow puts on mappings. A value type. Energies are pJ per block access.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quantloom/units.hpp"

namespace quantloom {

struct AccessEnergy {
  double read_pj = 0;
  double fill_pj = 0;
  double update_pj = 0;
  std::string read_source;
  std::string fill_source;
  std::string update_source;
  bool operator==(const AccessEnergy&) const = default;
};

struct Level {
  std::string name;
  Count word_bits = 16;
  Count block_words = 1;                 // words moved by one physical access
  Count cluster_size = 1;                // instances that share one physical access
  std::optional<Count> capacity_words;   // per instance; nothing: no limit
  Count instances = 1;
  Count mesh_x = 1;                      // mesh_x * mesh_y == instances
  Count mesh_y = 1;
  std::optional<double> read_bandwidth;   // words per cycle and instance
  std::optional<double> write_bandwidth;
  std::optional<double> shared_bandwidth;
  bool is_dram = false;                  // cannot reduce partial sums in place
  AccessEnergy energy;
  std::optional<double> address_energy_pj;  // per address generation
  double hop_energy_pj = 0;              // network between this level and the next inner one, per word and hop
  double router_energy_pj = 0;
  double leak_energy_pj = 0;             // per cycle and utilized instance
  double area_um2 = 0;                   // per instance
  bool operator==(const Level&) const = default;
};

struct Arithmetic {
  std::string name;
  Count instances = 1;
  Count mesh_x = 1;
  Count mesh_y = 1;
  Count word_bits = 16;
  double energy_pj = 0;  // per multiply-accumulate
  std::string energy_source;
  double area_um2 = 0;
  bool operator==(const Arithmetic&) const = default;
};

enum class FactorRelation { equal, at_most, at_least };

// dim = value, dim <= value or dim >= value; "dim = 0" stands for the dim's whole bound.
struct FactorConstraint {
  std::string dim;
  FactorRelation relation = FactorRelation::equal;
  Count value = 1;
  bool operator==(const FactorConstraint&) const = default;
};

enum class ConstraintTarget { temporal, spatial, keep };

struct Constraint {
  std::string origin = "architecture";  // "architecture": a limit of the hardware; "mapspace": narrows the search
  std::string level;
  ConstraintTarget target = ConstraintTarget::temporal;
  std::vector<FactorConstraint> factors;
  std::vector<std::string> permutation_inner;  // dims fixed innermost, inner to outer
  std::vector<std::string> permutation_outer;  // dims fixed outermost, inner to outer
  bool has_permutation = false;                // given by the user, even if empty
  std::optional<int> split;                    // spatial: number of leading dims on X
  std::vector<std::string> keep;               // tensors
  std::vector<std::string> bypass;
  std::string where;                           // "file:line" for messages
  bool operator==(const Constraint&) const = default;
};

class Arch {
 public:
  Arch() = default;
  // levels: innermost first. Throws Error(spec) if the hierarchy is impossible: no or too many levels, repeated names,
  // meshes that do not multiply to the instances or do not divide the next inner mesh, non-positive sizes, energies
  // that are negative or not finite, constraints on unknown levels.
  Arch(std::string name, std::vector<Level> levels, Arithmetic arithmetic, std::vector<Constraint> constraints,
       bool relax_indivisible_factors = false, std::string source = {});

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& source() const noexcept { return source_; }
  [[nodiscard]] const std::vector<Level>& levels() const noexcept { return levels_; }
  [[nodiscard]] const Level& level(int i) const noexcept { return levels_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] int num_levels() const noexcept { return static_cast<int>(levels_.size()); }
  [[nodiscard]] const Arithmetic& arithmetic() const noexcept { return arithmetic_; }
  [[nodiscard]] const std::vector<Constraint>& constraints() const noexcept { return constraints_; }
  // A fixed factor that does not divide the dim's bound is lowered to its largest divisor (and noted) instead of refused.
  [[nodiscard]] bool relax_indivisible_factors() const noexcept { return relax_indivisible_factors_; }
  [[nodiscard]] int find_level(std::string_view name) const noexcept;
  // Instances of the next inner level (or of the arithmetic units) below one instance of this level.
  [[nodiscard]] Count fanout_x(int level) const noexcept;
  [[nodiscard]] Count fanout_y(int level) const noexcept;

  bool operator==(const Arch&) const = default;

 private:
  std::string name_;
  std::string source_;
  std::vector<Level> levels_;
  Arithmetic arithmetic_;
  std::vector<Constraint> constraints_;
  bool relax_indivisible_factors_ = false;
};

}  // namespace quantloom
