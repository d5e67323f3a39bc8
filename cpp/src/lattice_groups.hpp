// Least number of different tiles among lanes of the dims of one window rank, whatever the loops inside of them.
// Private to the mapper.
//
// Lanes of a dim at a level move a tile by what lies inside of them: the dim's inner lanes times its temporal loops
// there, which further out are a multiple of those further in. The least is over all such loops; what it is depends on
// the bounds, so it is remembered.
#pragma once

#include <array>
#include <map>
#include <vector>

#include "default_counts.hpp"
#include "lattice_problem.hpp"

namespace quantloom::lattice {

class LaneGroups {
 public:
  explicit LaneGroups(const Problem& problem) : problem_(problem) {}

  // Of the lanes of levels from .. to - 1.
  [[nodiscard]] Count least(int rank, const Lanes& lanes, std::size_t from, std::size_t to);

 private:
  static constexpr Count kMostChoices = 4096;  // of loops

  // Lanes of one dim at one level.
  struct Part {
    std::size_t dim = 0;
    Count inner = 1;  // lanes of the dim further inside
    Count lanes = 1;
    Count rest = 1;        // temporal loops of the dim in all
    bool is_first = true;  // of its dim
  };

  void choose(const std::vector<Part>& parts, std::size_t part, Count loops);

  const Problem& problem_;
  std::map<std::vector<Count>, Count> known_;
  std::vector<SumStep> steps_;
  DefaultScratch scratch_;
  Count least_ = 0;
  Count choices_ = 0;
};

// [level]: dims of ranks in which lanes of two dims meet, some of them further out: whether these share data depends on
// the loops inside of the lanes.
[[nodiscard]] std::array<std::uint32_t, kMaxLevels> find_slanted_dims(const Problem& problem, const Lanes& lanes);

}  // namespace quantloom::lattice
