// The lattice search: the cheapest chain of tile shapes for one choice of lanes. Private to the mapper.
//
// With the lanes given, the price of a tensor at a level splits into what its child takes from it and what it takes from its
// parent, and both follow from the tile shapes next to them (section 6 of docs/model.md):
//   * what one instance of child c takes over the run is tile(c) * (temporal loops outside of c) / run(c), where the run is the
//     product of the loops irrelevant to the tensor that lie innermost in the next level outwards that has loops;
//   * between two kept levels it grows by the relevant lanes on the way; first touches of outputs are fixed by the
//   lanes.
// So energy, with all rounding to words and blocks, is a sum over steps from level to level, and so is the slowdown by
// bandwidth. The search goes from the arithmetic units outwards. A partial mapping (label) is dropped if another one
// with the same tile shape is nowhere worse: in energy, cycles, what still has to be fetched for each tensor, and the
// traffic of levels whose bandwidth is not settled yet; or if its lower bound says that it cannot lead to anything
// better than what was found. The bound is the cheapest chain from there outwards but for rounding (lattice_onward.hpp)
// where its tables are small enough.
//
// Why some mappings need no look. (a) Loops of a level that keeps nothing can move one level out, innermost there, without
// making any run shorter. (b) Loops of a level that are all irrelevant to one tensor can move out likewise: the tile of that
// tensor does not grow by them, and its run gains what it loses. (c) A copy of a tensor in a level takes in what it
// hands out if there are no loops between it and the next inner copy, lanes or not: it only adds accesses. So it is enough to look
// at levels without loops, runs that end at the next level with loops, and copies with loops below them.
#pragma once

#include <limits>
#include <optional>
#include <stop_token>
#include <vector>

#include "incumbents.hpp"
#include "lattice_onward.hpp"
#include "lattice_outer.hpp"
#include "lattice_prices.hpp"
#include "lattice_problem.hpp"

namespace quantloom::lattice {

[[nodiscard]] inline bool has_bandwidth(const Level& level) { return level.read_bandwidth || level.write_bandwidth || level.shared_bandwidth; }

using Best = Incumbents<Mapping>;

struct Effort {
  Count labels = 0;  // partial mappings looked at, and what tables of bounds count as
  Count whole = 0;   // mappings priced to the end; the quick looks may meet one again
  Count cut = 0;     // of these, left out because of their bound or for a better one
};

// What tables of bounds take, measured in partial mappings looked at, so that budgets hold for both.
inline constexpr Count kEntriesPerLook = 512;

class Search {
 public:
  // most_entries: see Onward.
  Search(const Problem& problem, const SettingTable& settings, std::size_t setting_class, std::size_t most_entries);
  virtual ~Search() = default;

  // Lower bounds on energy (all of it) and cycles for these lanes, whatever the loops.
  struct Bounds {
    double energy_pj = 0;
    double cycles = 0;
  };
  [[nodiscard]] Bounds bounds(const Lanes& lanes);
  [[nodiscard]] bool has_joint_bound(const Lanes& lanes) const { return onward_ && onward_->is_small(lanes) && (!sweeps_ || sweeps_->is_small()); }
  // Energy of all of these, which have the same product in each dim: a tighter bound that takes milliseconds. 0 if they
  // have none; infinite if it is above the limit.
  [[nodiscard]] double joint_bound_pj(const std::vector<const Lanes*>& choices, double limit_pj = std::numeric_limits<double>::infinity());
  [[nodiscard]] Count table_looks(const std::vector<const Lanes*>& choices) const;  // that it counts as
  struct Limits {
    std::size_t width = 0;  // labels kept at most for each level, the most promising ones; 0: all
    Count labels = 0;       // looked at, roughly; 0: no limit
  };
  // Offers the best mapping with these lanes to `best`, if it can be better than what is there. True if nothing better
  // remains: neither stopped nor limited.
  virtual bool search(const Lanes& lanes, const Limits& limits, Best& best, Effort& effort, const std::stop_token& stop);

 protected:
  struct Label {
    double energy_pj = 0;
    double cycles = 0;
    double bound_pj = 0;   // of every mapping that begins like this
    double reads = 0;      // words that the level moves, per instance, as far as they are known
    double writes = 0;
    std::array<Count, kMaxLatticeTensors> needs{};        // elements that one instance of the level moves for what lies below it
    std::array<Count, kMaxLatticeTensors> given{};        // elements that the child handed out, an instance
    Shape shape{};                                        // of the tile, lanes of the level included
    std::array<std::int8_t, kMaxLatticeTensors> child{};  // innermost copy that needs them; kUnits: arithmetic units
    std::int32_t parent = -1;
    std::int8_t accumulator = kUnits;
    std::int8_t innermost = -1;  // tensor whose irrelevant loops lie innermost at this level
    std::uint8_t keep = 0;
    std::uint8_t is_open = 0;    // tensors whose run may still grow: no loops outside of the child yet
    bool has_loops = false;
    bool is_dropped = false;
  };

  // The loops of one level, while they are being chosen.
  struct Step {
    int level = 0;
    std::int32_t from = 0;
    Shape base{};                                        // with the lanes of the level, without its loops
    Shape shape{};
    std::array<Count, kMaxLatticeTensors> tile{};        // at the level, of the dims chosen so far
    std::array<Count, kMaxLatticeTensors> irrelevant{};  // product of the factors irrelevant to the tensor
    Count outside = 1;                                   // temporal loops further out
    Count loops = 1;                                     // product of the factors
    int only_keep = -1;                                  // -1: all choices of copies
  };
  using Moves = std::array<Count, kMaxLatticeTensors>;

  void plan(const Lanes& lanes);
  // Sets a search up. False if nothing with these lanes can be better than the best.
  [[nodiscard]] bool begin(const Lanes& lanes, Best& best, Effort& effort, Label& root);
  // Tables for these lanes, if they are small enough. Least energy of all mappings with them; 0 without tables.
  [[nodiscard]] double tabulate(const Lanes& lanes, double limit_pj);
  [[nodiscard]] double rest_bound(int level, const Label& label, std::uint32_t keep, Prices::Way way_with, Prices::Way way_without) const;
  // The same, if the second outermost level is further out; else 0. shape: that of the label.
  [[nodiscard]] double outer_bound(int level, const Shape& shape, const Label& label) const;
  [[nodiscard]] double crowded_bound(int level, const Label& label) const;

  const Problem& problem_;
  MappingBuilder builder_;
  Prices prices_;
  std::optional<OuterCosts> outer_;
  std::optional<Sweeps> sweeps_;
  std::optional<Onward> onward_;
  bool knows_onward_ = false;  // for these lanes

  // Of the lanes.
  Lanes lanes_{};
  std::array<std::array<Count, kMaxLatticeDims>, kMaxLevels> lanes_above_{};  // [level][dim]
  std::array<Count, kMaxLevels> lanes_at_{};                                  // [level]

  // Of the search.
  std::vector<std::vector<std::int32_t>> at_shape_;  // [shape]: labels of the level in work
  std::vector<std::uint64_t> shapes_used_;
  Best* best_ = nullptr;
  Effort* effort_ = nullptr;

 private:
  // Lanes of a dim outside of a level, or of the arithmetic units.
  [[nodiscard]] Count lanes_outside(int level, std::size_t dim) const {
    return level < 0 ? lanes_above_[0][dim] * lanes_[0][dim] : lanes_above_[static_cast<std::size_t>(level)][dim];
  }
  void extend(int level, std::int32_t from);
  void extend_by_outer_costs(const Step& step);
  void choose_factor(const Step& step, std::size_t dim);
  void multiply(Step& step, std::size_t dim, std::uint8_t index) const;
  void choose_run(const Step& step);
  void close(const Step& step, int innermost);
  void choose_keep(const Step& step, const Label& label);
  void settle_bandwidth(const Step& step, const Moves& moves, Label& label) const;
  void add(int level, Label& label);
  [[nodiscard]] bool is_no_worse(const Label& a, const Label& b, int level) const;
  [[nodiscard]] bool settles_no_later(const Label& a, const Label& b, int level) const;
  void finish(const Label& label);
  void narrow(int level, std::size_t width);
  [[nodiscard]] const Label& label_at(int level, std::int32_t number) const { return labels_[static_cast<std::size_t>(level)][static_cast<std::size_t>(number)]; }

  std::vector<std::vector<Label>> labels_;  // [level + 1]; the first holds the arithmetic units
};

}  // namespace quantloom::lattice
