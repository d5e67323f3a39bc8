// What the two outermost levels cost at least, for every tile shape and choice of copies at the second of them. No lanes lie
// between them, so this does not depend on the lanes further in: it is worked out once for each class of bits. Private to the
// mapper.
#pragma once

#include <cstdint>
#include <vector>

#include "lattice_prices.hpp"
#include "lattice_problem.hpp"

namespace quantloom::lattice {

class OuterCosts {
 public:
  struct Entry {
    double energy_pj = 0;
    std::uint32_t shape = 0;
  };

  // prices: those of a plan without any lanes.
  OuterCosts(const Problem& problem, const Prices& prices);

  // Filling the copies `keep` of this tile shape and taking them from the outermost level, the best order of its loops: entries
  // ascending in energy. Shapes that do not fit are left out.
  [[nodiscard]] const std::vector<Entry>& entries(std::uint32_t keep) const noexcept { return entries_[keep]; }
  // The least over this shape and all of which it is a part; infinite if none fits.
  [[nodiscard]] double least(std::uint32_t keep, std::uint64_t shape) const noexcept { return least_[keep][shape]; }

 private:
  std::vector<std::vector<Entry>> entries_;  // [keep]
  std::vector<std::vector<double>> least_;   // [keep][shape]
};

}  // namespace quantloom::lattice
