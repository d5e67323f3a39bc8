// What a beginning costs further out at least, tabulated for one choice of lanes, or several that split a dim alike in
// all: the cheapest chain of tile shapes from every shape outwards, exact but for rounding, bandwidths and the width of
// partial sums. Private to the mapper; not for windows.
//
// With I_t(s) the temporal loops outside of shape s that are irrelevant to tensor t, a copy of t in level c hands in
// and takes from the next copy, in level q, what costs fixed(c, q) + I * slope(c, q) without rounding, where I is
// I_t(b) if its run ends at loops from shape b to shape s, or I_t(s) if these are its run (one tensor's at most). So
// the rest of a chain depends on its past in two ways only: in which level the copy lies of each tensor whose run is
// open; and, of each whose run has ended, how much is moved and which level takes it. Once that level is named, the
// first is a number that adds up. A state names one level x for each tensor: inside of level l there is an open copy if
// x < l, else the next copy will lie there. table(l)[state][shape] is what remains from level l on, its loops included.
// Lanes do not change a shape without its lanes, which is what tables are indexed by. States that only chains above a limit go through
// are left out (docs/adr/0008).
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "lattice_prices.hpp"
#include "lattice_problem.hpp"
#include "lattice_sweeps.hpp"

namespace quantloom::lattice {

inline constexpr std::size_t kMostEntries = std::size_t{1} << 23;  // of the tables together: 64 MB for each worker

class Onward {
 public:
  using Children = std::array<std::int8_t, kMaxLatticeTensors>;
  using Needs = std::array<Count, kMaxLatticeTensors>;

  // most_entries: of all tables together. sweeps: of the tensor with a window; planned for the same lanes as prices.
  Onward(const Problem& problem, const Prices& prices, Sweeps* sweeps, std::size_t most_entries);

  // Whether the tables for these lanes have no more entries than they may.
  [[nodiscard]] bool is_small(const Lanes& lanes) const { return entries(lanes, 0) <= most_entries_; }
  // Entries of the tables for so many choices of lanes, and of the rows that their copies take; above the most allowed
  // it may be too few.
  [[nodiscard]] std::size_t entries(const Lanes& lanes, std::size_t choices) const;
  // begin(), admit() for each choice of lanes that the tables shall hold for, tabulate(). The choices have the same
  // product of lanes in each dim, so they differ only between the levels with lanes; prices must be planned for the one
  // that is admitted.
  void begin(const Lanes& lanes);
  void admit(const Lanes& lanes);
  // Chains that cost more than the limit from the arithmetic units on may be left out.
  void tabulate(double limit_pj);

  // Least energy outside of the arithmetic units, of any of the choices; infinite if above the limit.
  [[nodiscard]] double root_pj() const;
  // Least energy outside of a tile of this shape at `level`, where all loops up to this level are placed. Tensors in
  // is_open have an open copy at child; of the others `needs` elements are moved for one instance of level first - 1,
  // and taken by a copy at `first` or further out. first is level, if copies there are still to be chosen, or level
  // + 1. Above `limit_pj` the answer may be too high, but not below it. For one choice of lanes only.
  [[nodiscard]] double least_pj(int level, int first, const Shape& shape, std::uint32_t is_open, const Children& child,
                                const Needs& needs, double limit_pj) const;

 private:
  using Row = std::vector<double>;
  using Bits = std::vector<std::uint64_t>;  // one for each shape
  struct Link {
    double slope = 0;
    double fixed = 0;
  };

  struct Merge {  // table entries [at + k * step + i] and those by `distance` further, i below length: the second is a multiple of the first
    std::uint32_t at, step, distance, length, dim;
  };
  struct Range {  // of shapes
    std::uint32_t begin, end;
  };

  // Lowers prices to those of the lanes that are admitted.
  void admit_links(std::size_t tensor);
  void admit_sweeps(const Lanes& lanes);
  [[nodiscard]] const Row& moves(std::size_t tensor, std::size_t copy) const;  // [shape]
  void bound_within();
  void bound_inside(std::size_t level);
  void find_live(std::size_t level);
  void reach_from(std::size_t level, std::size_t next, std::vector<char>& is_reached) const;
  [[nodiscard]] bool is_within(double sum_pj) const noexcept { return sum_pj <= limit_pj_ && sum_pj < std::numeric_limits<double>::infinity(); }
  void measure(std::size_t level);
  [[nodiscard]] const Row& least_moves(std::size_t tensor, std::size_t copy) const;  // [shape]
  void take_without_loops(std::size_t level);
  void step_inwards(std::size_t level);
  void end_runs(std::size_t level, int running);
  void close_others(std::size_t level, int running);
  void find_unfit();
  [[nodiscard]] Count least_words(std::size_t tensor, std::size_t level, std::size_t shape) const;
  // Shapes at which the copies that are open inside of a level can be.
  [[nodiscard]] const std::vector<Range>& fitting(std::size_t state, std::size_t level);
  [[nodiscard]] std::size_t copy_in(std::size_t state, std::size_t tensor) const noexcept {
    return state / stride_[tensor] % copies_[tensor].size();
  }
  void drop_unfit(std::size_t level);
  void spread(double* row, std::uint32_t dims) const;
  template <class Visit>
  void for_each_state(const std::array<std::size_t, kMaxLatticeTensors>& first,
                      const std::array<std::size_t, kMaxLatticeTensors>& last, const Visit& visit) const;
  [[nodiscard]] std::size_t below(std::size_t tensor, std::size_t level) const noexcept {
    return below_[tensor][level];
  }

  const Problem& problem_;
  const Prices& prices_;
  Sweeps* sweeps_;
  int window_;  // the tensor; -1: none
  std::size_t most_entries_;
  std::size_t levels_;
  std::size_t tensors_;
  std::vector<std::vector<std::size_t>> copies_;  // [tensor]: levels that may keep it
  std::array<std::array<std::size_t, kMaxLevels + 1>, kMaxLatticeTensors>
      below_{};                                           // [tensor][level]: how many of these lie inside of it
  std::array<std::size_t, kMaxLatticeTensors> stride_{};  // of the states
  std::size_t states_ = 1;
  std::array<std::uint32_t, kMaxLatticeTensors> irrelevant_dims_{};
  std::array<std::size_t, kMaxLatticeTensors> open_stride_{};  // of the numbers of sets of open copies

  // Of the lanes.
  std::size_t shapes_ = 1;
  std::vector<Merge> merges_;
  std::vector<std::array<std::array<std::uint32_t, 256>, kMaxLatticeDims>>
      number_;  // [level][dim][index of the extent]: share of the shape's number
  std::vector<std::array<Count, kMaxLatticeDims>> extents_;       // [shape]: without lanes
  std::vector<Row> irrelevant_;                                   // [tensor][shape]: I
  std::vector<std::array<Count, kMaxLatticeDims>> lanes_within_;  // [level]: up to and including it, the least
  std::vector<Row> swept_;       // [copy of the tensor with a window][shape]: elements it moves at least
  std::vector<Row> swept_once_;  // the same if all irrelevant loops may lie innermost
  std::vector<Row> swept_within_;  // and for the best tile that the shape contains
  std::array<std::array<bool, kMaxLevels>, kMaxLevels>
      has_window_lanes_{};                  // [copy's level][level]: in between, that one included
  std::vector<std::vector<Link>> links_;    // [tensor][copy * copies + next copy]
  std::vector<std::vector<Link>> takes_;    // [tensor][copy]: in what is needed there
  std::vector<std::vector<double>> first_;  // [tensor][copy]: what the arithmetic units take from it
  std::vector<Row> tables_;                 // [level]
  Row work_;

  // Rows that can be part of a chain within the limit. Others are never written nor read: they count as infinite.
  double limit_pj_ = 0;
  std::vector<Row> least_links_;            // [tensor][copy * copies + next copy]: if it moves as little as any tile lets it
  std::vector<std::vector<std::vector<Count>>> words_;  // [tensor][copy][shape]: at least, of a tile in a level with a capacity; one above that at most
  std::vector<std::vector<Row>> unfit_;     // [tensor][copy][shape]: infinite where the tile does not fit
  std::vector<std::vector<Bits>> unfit_bits_;  // [tensor][copy]: the same
  std::vector<std::vector<Row>> within_;    // [tensor][copy][shape]: what it hands in, at least
  std::vector<std::vector<Row>> inside_;    // [tensor][copy that a state names][shape]: what lies inside of a level
  std::vector<Row> least_inside_;           // [tensor][copy]: of it, whatever the shape
  std::vector<std::vector<char>> is_live_;  // [level][state]: of tables_
  std::vector<Row> least_;                  // [level][state]: of a row; infinite if it is not live
  std::vector<char> can_live_;              // [state]: of work_ at this level
  std::vector<char> is_set_;                // [state]: of work_
  std::vector<std::vector<Range>> fitting_;  // [set of open copies]; empty until asked for
};

}  // namespace quantloom::lattice
