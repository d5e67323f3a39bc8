// Random draws from a number: what makers of random cases have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>

namespace quantloom::test {

class Draws {
 public:
  [[nodiscard]] int pick(std::initializer_list<int> values) { return *(values.begin() + below(values.size())); }
  [[nodiscard]] bool one_in(int n) { return below(static_cast<std::size_t>(n)) == 0; }
  [[nodiscard]] double energy() { return 0.25 * static_cast<double>(1 + below(energies_)); }

 protected:
  // Energies are among the first so many multiples of 0.25 pJ.
  Draws(std::uint32_t seed, std::size_t energies) : random_(seed), energies_(energies) {}

  [[nodiscard]] std::size_t below(std::size_t n) { return random_() % n; }

  std::mt19937 random_;

 private:
  std::size_t energies_;
};

}  // namespace quantloom::test
