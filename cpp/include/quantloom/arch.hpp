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

// How elements lie in words. word: as many whole elements as fit; dense: bit after bit, across words; none: one a word.
// An element wider than a word takes as many words as it needs.
enum class PackingRule { word, dense, none };

// "word", "dense" or "none"; anything else is an Error(spec).
[[nodiscard]] PackingRule parse_packing_rule(std::string_view text);

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
  // What follows is of the default model; compat knows none of it.
  bool bandwidth_in_bits = false;        // the bandwidths above are bits per cycle and instance
  std::optional<PackingRule> packing;    // nothing: as the evaluation says
  bool multicast = true;                 // the network below hands equal inputs to all children at once
  bool reduction = true;                 // the network below adds up partial sums on their way to this level
  bool forwarding = false;               // children pass inputs on to each other
  double adder_energy_pj = 0;            // per addition on the network below
  double idle_energy_pj = 0;             // per cycle and instance that is not used
  bool operator==(const Level&) const = default;
};

// So many multiply-accumulates take one unit so many cycles.
struct MacRate {
  Count macs = 1;
  Count cycles = 1;
  bool operator==(const MacRate&) const = default;
};

// Energy and speed of one unit by the widths of its two operands. A width between two entries counts as the next one.
struct MacTable {
  std::vector<int> first_bits;    // ascending
  std::vector<int> second_bits;   // ascending
  std::vector<double> energy_pj;  // per multiply-accumulate, [first * second_bits.size() + second]
  std::vector<MacRate> rate;      // as energy_pj
  bool operator==(const MacTable&) const = default;
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
  // What follows is of the default model; compat knows none of it.
  std::optional<MacTable> mac_table;  // nothing: energy_pj and one operation a cycle, whatever the bits
  int psum_bits = 0;                  // width of partial sums; 0: derived from the bits, docs/model.md section 7.2
  double leak_energy_pj = 0;          // per cycle and unit that is used
  double idle_energy_pj = 0;          // per cycle and unit that is not
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

// Shares of what there is that a mapping must use, above 0 to 1.
struct Utilization {
  std::optional<double> min_fanout;  // of the instances below one instance of the level
  std::optional<double> max_fanout;
  std::optional<double> min_capacity;  // of its words
  std::optional<double> max_capacity;
  std::optional<double> min_parallelism;  // of all arithmetic units, whatever the level
  bool operator==(const Utilization&) const = default;
};

enum class ConstraintTarget { temporal, spatial, keep, utilization };

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
  Utilization use;
  std::string where;                           // "file:line" for messages
  bool operator==(const Constraint&) const = default;
};

class Arch {
 public:
  Arch() = default;
  // levels: innermost first. Throws Error(spec) if the hierarchy is impossible: no or too many levels, repeated names,
  // meshes that do not multiply to the instances or do not divide the next inner mesh, non-positive sizes, energies
  // that are negative or above 1e100, bandwidths outside of 1e-100 to 1e100, a MAC table by which more bits are cheaper or faster, constraints on unknown levels.
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
