// The lattice search for layers whose input has a sliding window. Private to the mapper.
//
// As in lattice_search.hpp, but what a copy of the window's tensor moves is not known at the next loops outwards: a tile and
// the next one overlap, so its price depends on the order of all temporal loops outside of it until no overlap is left. Such
// a copy stays unsettled: a beginning carries how the loops so far have used it (Window::Sweep), and its price is added once
// everything further out brings whole tiles. Several copies can be unsettled at a time. The loops of a level are placed one
// by one, inside out, in every order that makes a difference; runs of the other tensors go on as long as loops are irrelevant
// to them. Of two beginnings with the same shape one is left out only if it is nowhere better and its unsettled copies have
// the same tiles, moved equally far.
//
// Why some mappings need no look: (a) of lattice_search.hpp holds at levels without copies once nothing is unsettled and unless
// lanes of two dims of a window further out share data, which loops inside of them change; (c) for copies without loops and
// without lanes of the window's dims below them; (b) is not used.
#pragma once

#include "default_counts.hpp"
#include "lattice_groups.hpp"
#include "lattice_search.hpp"

namespace quantloom::lattice {

class WindowSearch final : public Search {
 public:
  WindowSearch(const Problem& problem, const SettingTable& settings, std::size_t setting_class, std::size_t most_entries);

  bool search(const Lanes& lanes, const Limits& limits, Best& best, Effort& effort, const std::stop_token& stop) override;

 private:
  static constexpr std::size_t kMaxCopies = kMaxWindowLevels - 1;
  static constexpr std::size_t kMaxSteps = kMaxWindowLaneDims;

  struct Copy {
    Window::Sweep sweep;
    std::uint32_t tile = 0;  // code of its extents: see Sweeps
    Count given = 0;   // elements that it hands out, an instance; 0: not known yet
    Count groups = 1;  // different tiles below one instance of the parent
    std::int8_t level = 0;
    std::int8_t parent = kUnits;  // kUnits: not chosen yet
  };

  // Lanes of one dim of the window between its latest copy and the level.
  struct LaneStep {
    Count step = 0;
    std::uint32_t bound = 0;
    std::int32_t rank = 0;
    bool operator==(const LaneStep&) const = default;
  };

  struct Beginning : Label {
    std::array<double, kMaxLevels> level_reads{};   // words, per instance, as far as they are known
    std::array<double, kMaxLevels> level_writes{};
    std::array<Copy, kMaxCopies> copies{};          // unsettled ones, innermost first
    std::array<LaneStep, kMaxSteps> steps{};        // see below
    std::array<LatticeLoop, kMaxLatticeDims> loops{};
    double unsettled_pj = 0;  // what unsettled copies cost at least
    Count moves = 0;          // of the latest copy, an instance, if it is settled
    Count lone_lanes = 1;     // of dims alone in their rank since the latest copy
    Count groups = 1;         // different tiles of the latest copy below one instance of the level
    std::uint8_t num_copies = 0;
    std::uint8_t num_steps = 0;
    std::uint8_t num_loops = 0;
    bool has_moved = false;   // loops that move it lie outside of the latest copy, or lanes of the window's dims
    // The latest copy is the last one in `copies`.
    [[nodiscard]] bool is_unsettled() const { return num_copies > 0 && copies[num_copies - 1U].parent == kUnits; }
  };

  // The loops of one level while they are placed.
  struct Walk {
    Beginning label;
    Shape target{};              // extent that each dim must get, if has_target
    double outer_pj = 0;         // of the two outermost levels, if only_keep is above 0
    Count outside = 1;           // temporal loops that are not placed yet
    Count lone_outside = 1;      // of dims alone in their rank
    std::uint32_t used = 0;      // dims
    int level = 0;
    int only_keep = -1;          // -1: all choices of copies
    int last = -1;               // dim of the loop placed last
    std::uint8_t open_before_last = 0;
    bool unsettled_before_last = false;
    bool has_target = false;
  };

  [[nodiscard]] Walk begin_level(int level, std::int32_t from) const;
  void extend(int level, std::int32_t from);
  void extend_by_outer_costs(const Walk& walk);
  void place_loops(const Walk& walk);
  void place_loop(const Walk& walk, std::size_t dim, std::uint8_t index);
  [[nodiscard]] bool can_keep_some(int level, const Shape& shape) const;
  [[nodiscard]] bool must_precede(const Walk& walk, std::size_t dim) const;
  [[nodiscard]] bool is_unusual(const Walk& walk, std::size_t dim) const;
  // These return false if a copy turns out to be of no use.
  [[nodiscard]] bool use(Walk& walk, std::size_t dim, Count bound) const;
  [[nodiscard]] bool close(Beginning& label, int tensor, int level) const;
  [[nodiscard]] bool settle_first(Beginning& label, Count outside) const;
  [[nodiscard]] bool is_settled(const Walk& walk, const Window::Sweep& sweep) const;
  void end_level(const Walk& walk);
  void add_lanes(Beginning& label, int level, const Shape& inner);
  void choose_keep(const Walk& walk, const Beginning& label);
  void keep_window(Beginning& label, int level) const;
  void keep_plain(Beginning& label, int tensor, int level, Count tile, Count outside) const;

  void fill(Beginning& label, int tensor, int level, Count moves) const;
  void take(Beginning& label, int tensor, int level, Count needs) const;
  void update_cycles(Beginning& label, int level) const;
  // Energy so far, and of unsettled copies at least; writes what the latest one needs at least to needs.
  [[nodiscard]] double spent(const Walk& walk, Beginning& label);

  void add(const Walk& walk, Beginning& label);
  [[nodiscard]] bool is_no_worse(const Beginning& a, const Beginning& b, int level) const;
  [[nodiscard]] bool is_waiting(const Beginning& label, int level) const;
  void finish(const Beginning& label);
  void narrow(int level, std::size_t width);
  [[nodiscard]] Extents extents(const Shape& shape) const;
  [[nodiscard]] const Beginning& beginning(int level, std::int32_t number) const { return beginnings_[static_cast<std::size_t>(level)][static_cast<std::size_t>(number)]; }

  int window_;  // the tensor
  std::vector<std::vector<Beginning>> beginnings_;  // [level + 1]; the first holds the arithmetic units
  std::array<std::uint32_t, kMaxLevels> slanted_above_{};  // [level]: dims
  DefaultScratch scratch_;
  const std::stop_token* stop_ = nullptr;
  Count most_labels_ = 0;  // see Limits; 0: no limit
  Count placed_ = 0;       // loops
  bool is_quick_ = false;
  bool is_spent_ = false;
};

}  // namespace quantloom::lattice
