// What an architecture's constraints leave to choose for one workload: the blocks of loops, the limits on every factor,
// the fixed parts of every loop order and which tensors a level must keep or bypass. The mapspace and the mapper both
// start from this and from nothing else, so they search the same space.
//
// Rules (those of the reference tool unless said otherwise):
// * "D = k" fixes a factor, "D = 0" fixes it to the whole bound, "D <= k" and "D >= k" limit it (several of them
//   intersect). k above the bound of D drops "=" and ">=" constraints, with a note.
// * The fixed factors of a dim must multiply to a divisor of its bound. If they do not, it is an Error(infeasible), or,
//   where the architecture asks for it, the fixed factors are walked from the innermost block outwards and each one
//   that does not divide what is left is lowered to the largest divisor below it, with a note.
// * A level keeps what is listed under keep, bypasses what is listed under bypass, and is open (searched) otherwise;
//   the outermost level keeps everything that is not listed.
// * Utilization: of several limits on one thing the tightest holds. Shares of a count round up (min) and down (max).
// * Fixing the same thing twice is an Error(spec), even to the same value: it is nearly always a slip between files.
// * Dims of a convolution that the workload does not have are skipped (a GEMM has no R), other unknown names are
// errors.
//
// The group dim G. Architecture files are written for dense convolutions and do not know G, the group of a grouped or
// depthwise convolution (ours: the reference tool takes such layers as dense). What hardware does with an output
// channel depends on the channel having its own weights and its own partial sums, and a group has both; so, unless a
// constraint of the architecture names G itself:
// * depthwise (M absent or of bound 1): a group is one output channel, so G stands in M's place in all constraints;
// * grouped (M > 1): G and M together are the output channels. G takes M's limits, but where M is fixed to k > 1 or
//   has a lower limit the hardware's lanes are given to M and G is fixed to 1 (for "=") or left alone (for ">=").
// In loop orders G is placed next to M, outside of it (inside, in M's place, for depthwise: M has no loop then), and a
// split that counts M counts G too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/units.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

// Which constraints of the architecture hold. free: only the fanout, and the outermost level keeps everything.
enum class Selection { all, architecture, free };

// "all", "architecture" or "free"; anything else is an Error(spec) with a hint.
[[nodiscard]] Selection parse_selection(std::string_view text);
[[nodiscard]] std::string_view selection_name(Selection selection) noexcept;

// The factors a dim may take in a block: the one in fixed, or any divisor of the dim's bound, and in min..max.
struct FactorLimit {
  std::optional<Count> fixed;
  Count min = 1;
  Count max = 1;
  [[nodiscard]] bool allows(Count factor) const noexcept {
    return (!fixed || factor == *fixed) && factor >= min && factor <= max;
  }
  bool operator==(const FactorLimit&) const = default;
};

// The loops of one level that are of one kind. Positions in an order are counted from the inside.
struct Block {
  int level = 0;
  bool spatial = false;
  Count fanout_x = 1;  // of the level; 1 in temporal blocks
  Count fanout_y = 1;
  std::vector<FactorLimit> limits;  // [dim]
  std::vector<int> inner;           // dims fixed innermost, inner to outer
  std::vector<int> outer;           // dims fixed outermost, inner to outer
  bool has_permutation = false;     // the user said something about the order
  std::optional<int> split;         // spatial: dims in the first split positions lie on X, the others on Y
  // Both axes offer parallelism, so the order and the split decide where a dim lands.
  [[nodiscard]] bool is_2d() const noexcept { return fanout_x > 1 && fanout_y > 1; }
  bool operator==(const Block&) const = default;
};

enum class Keep : std::uint8_t { open, yes, no };

// How much of a level mappings use: instances below one instance, and words. The most words have no entry: the mapspace
// is made with a level of that capacity.
struct UseLimit {
  Count min_lanes = 1;
  Count max_lanes = kSaturated;
  Count min_words = 0;
  bool operator==(const UseLimit&) const = default;
};

struct ResolvedConstraints {
  std::vector<Block> blocks;            // innermost first; of a level the spatial block (if any), then the temporal one
  std::vector<std::vector<Keep>> keep;  // [level][tensor]
  std::vector<UseLimit> use;            // [level]
  Count min_units = 1;                  // arithmetic units that mappings use: all spatial loops together
  std::vector<std::string> notes;       // what was dropped or lowered, one sentence each
  bool operator==(const ResolvedConstraints&) const = default;
};

// Throws Error(spec) for contradictory or misspelt constraints, Error(infeasible) if no factorization of some dim
// satisfies all of them.
[[nodiscard]] ResolvedConstraints resolve_constraints(const Arch& arch, const Workload& workload,
                                                      Selection selection = Selection::all);

// The architecture with the capacities that max_capacity leaves of its levels.
[[nodiscard]] Arch cap_capacities(const Arch& arch, Selection selection);

// Index of a level's block in blocks, -1 if it has none of this kind.
[[nodiscard]] int find_block(const ResolvedConstraints& resolved, int level, bool spatial) noexcept;

// "Buffer, spatial": the block's name in messages.
[[nodiscard]] std::string block_name(const Arch& arch, const Block& block);

}  // namespace quantloom
