// What copies of tensors cost for one choice of lanes and one class of bits, and lower bounds on what is still to come.
// Private to the mapper.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "lattice_groups.hpp"
#include "lattice_problem.hpp"
#include "settings.hpp"

namespace quantloom::lattice {

inline constexpr int kUnits = -1;  // the arithmetic units, as the child of a copy; no accumulator yet

// Words that elements take at one level: once complete, and before.
struct ElementRates {
  WordRate own;
  WordRate psum;
};

class Prices {
 public:
  Prices(const Problem& problem, const SettingTable& settings, std::size_t setting_class);

  // Everything below is for these lanes; lines(), rest_pj() and fresh_pj() are only if their bounds are asked for.
  void plan(const Lanes& lanes, bool with_bounds = true);

  // Energy of what a copy hands to the next inner one, `needs` elements an instance; adds the words to reads and writes.
  [[nodiscard]] double taken_pj(int tensor, int level, int accumulator, Count needs, double& reads, double& writes) const;
  // Energy of filling a copy with what it takes from the next one outwards, `moves` elements an instance.
  [[nodiscard]] double filled_pj(int tensor, int level, int accumulator, Count moves, double& writes) const;
  // The same without rounding.
  [[nodiscard]] double least_filled_pj(int tensor, int level, int accumulator, double moves) const {
    return filled_slope(tensor, level, accumulator) * (tensor == output_ ? moves - static_cast<double>(distinct(tensor, level)) : moves);
  }
  // Words of a tile; of an output as wide as the sums that lie there, of which `needs` come up.
  [[nodiscard]] Count tile_words(int tensor, int level, int accumulator, Count tile, Count needs) const;
  [[nodiscard]] Count least_tile_words(int tensor, int level, Count tile) const;
  // Elements of the largest tile that fits a level alone; infinite without a capacity.
  [[nodiscard]] double most_elements(int tensor, int level) const;

  // Which copies a bound is about. any: all ways outwards; with, without: those with a copy at the second outermost level, up to
  // that copy, and those without one.
  enum Way { any, with_copy, without_copy };
  // Energy of a way outwards through a next copy at `level`, as a line in the elements asked for.
  struct Line {
    double slope = 0;
    double offset = 0;
    int level = 0;
    double shared_pj = 0;  // more, if another tensor has a copy at that level too and the run beyond it is not this tensor's
  };
  // taken_pj() without rounding, as a line in what is needed there, and the slope of filled_pj() in what is moved.
  [[nodiscard]] Line taken_line(int tensor, int level, int accumulator) const;
  [[nodiscard]] double filled_slope(int tensor, int level, int accumulator) const;
  [[nodiscard]] std::span<const Line> lines(Way way, int level, int tensor, int accumulator) const {
    const std::size_t s = slot(level, tensor, accumulator);
    return {lines_[way].data() + s * kMaxLevels, line_count_[way][s]};
  }
  // Least energy further out than `level` for a tensor of which `needs` elements are asked for there.
  [[nodiscard]] double rest_pj(Way way, int level, int tensor, int accumulator, Count needs) const;
  // The same for a copy at `level`, filling it included, if it moves nothing twice.
  [[nodiscard]] double fresh_pj(Way way, int level, int tensor, int accumulator) const { return fresh_[way][slot(level, tensor, accumulator)]; }

  [[nodiscard]] int output() const noexcept { return output_; }
  [[nodiscard]] Count steps() const noexcept { return steps_; }
  [[nodiscard]] double compute_cycles() const noexcept { return compute_cycles_; }
  [[nodiscard]] double leakage_pj() const noexcept { return leakage_pj_; }  // per cycle
  [[nodiscard]] double arithmetic_pj() const noexcept { return arithmetic_pj_; }
  [[nodiscard]] Count relevant_lanes(int tensor, int level) const noexcept { return relevant_lanes_[static_cast<std::size_t>(tensor)][static_cast<std::size_t>(level)]; }
  // How many times as many different tiles of the tensor with a window there are at least for the lanes of levels `from` to `to`, whatever lies
  // further in; and if a copy does.
  [[nodiscard]] double window_lanes(int from, int to) const noexcept { return window_lanes_[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)]; }
  [[nodiscard]] double window_lanes_of_copy(int from, int to) const noexcept { return window_lanes_of_copy_[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)]; }
  // Elements of a tensor that pass through one instance of a level; of one with a window, at least.
  [[nodiscard]] Count distinct(int tensor, int level) const noexcept { return distinct_[static_cast<std::size_t>(tensor)][static_cast<std::size_t>(level)]; }

 private:
  void plan_copies();
  void plan_bounds(Way way);
  void plan_window(const Lanes& lanes);
  [[nodiscard]] double crowded_moves(int tensor, int level) const;
  [[nodiscard]] std::size_t slot(int level, int tensor, int accumulator) const noexcept {
    const int one = tensor == output_ ? accumulator : kUnits;  // inputs know no accumulator
    return static_cast<std::size_t>((level + 1) * problem_.num_tensors() + tensor) * static_cast<std::size_t>(problem_.num_levels() + 1) + static_cast<std::size_t>(one + 1);
  }
  // An output's sums are as wide as one of the copies up to this level says, or as it is said further out; inputs know none.
  [[nodiscard]] int last_accumulator(int tensor, int level) const noexcept { return tensor == output_ ? level : kUnits; }
  [[nodiscard]] const ElementRates& rates(int tensor, int level, int accumulator) const {
    return rates_[static_cast<std::size_t>(tensor)][static_cast<std::size_t>(level)][static_cast<std::size_t>(accumulator + 1)];
  }

  const Problem& problem_;
  LaneGroups lane_groups_;
  MacMode mac_;
  double arithmetic_pj_ = 0;
  int output_ = 0;
  std::vector<std::vector<std::vector<ElementRates>>> rates_;  // [tensor][level][accumulator + 1]; 0: the narrowest
  std::vector<std::vector<Count>> most_per_word_;              // [tensor][level]

  std::array<std::array<Count, kMaxLevels>, kMaxLatticeTensors> relevant_lanes_{};
  std::array<std::array<Count, kMaxLevels>, kMaxLatticeTensors> distinct_{};
  std::array<std::array<double, kMaxLevels>, kMaxLatticeTensors> irrelevant_extent_{};  // of the dims, without the lanes further out
  // [inner level][outer level]: how many times as many different tiles of the tensor with a window there are at least for the
  // lanes of these levels and in between, whatever lies further in; and if nothing does.
  std::array<std::array<double, kMaxLevels>, kMaxLevels + 1> window_lanes_{};
  std::array<std::array<double, kMaxLevels>, kMaxLevels + 1> window_lanes_of_copy_{};
  std::array<bool, kMaxLevels> complete_above_{};  // of the output
  std::array<double, kMaxLevels> clusters_{};
  Count steps_ = 1;
  double compute_cycles_ = 0;
  double leakage_pj_ = 0;
  std::vector<Line> taken_;                              // [slot]: by a copy of the level
  std::vector<double> filled_;                           // [slot]: slope, of the same
  std::vector<double> crowded_moves_;                    // [slot]
  std::array<std::vector<Line>, 3> lines_;               // [way][slot * kMaxLevels + line]
  std::array<std::vector<std::size_t>, 3> line_count_;   // [way][slot]
  std::array<std::vector<double>, 3> fresh_;             // [way][slot]
  std::vector<double> shared_;                           // [slot]: see Line, of a copy; of the way planned last
};

}  // namespace quantloom::lattice
