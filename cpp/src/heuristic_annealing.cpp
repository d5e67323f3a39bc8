#include <algorithm>
#include <cmath>

#include "heuristic_stream.hpp"

namespace quantloom::detail {
namespace {

// Chances to accept a mapping that is worse by 100 % at the start, by 0.1 % at the end, are 1 / e.
constexpr double kFirstTemperature = 1.0;
constexpr double kLastTemperature = 0.001;
constexpr int kMostTries = 64;  // to find a move that changes something; then the walk jumps

void copy_point(const ViewStorage& from, ViewStorage& to) {
  std::copy(from.factors.begin(), from.factors.end(), to.factors.begin());
  std::copy(from.order.begin(), from.order.end(), to.order.begin());
  std::copy(from.split.begin(), from.split.end(), to.split.begin());
  std::copy(from.keep.begin(), from.keep.end(), to.keep.begin());
}

std::vector<std::uint32_t> prime_factors(std::uint32_t value) {
  std::vector<std::uint32_t> out;
  for (std::uint32_t p = 2; p <= value / p; ++p) {
    for (; value % p == 0; value /= p) out.push_back(p);
  }
  if (value > 1) out.push_back(value);
  return out;
}

// Steps from one point of the space to a near one. Each returns false where it would change nothing or leave the space.
class Neighbours {
 public:
  Neighbours(const MapspaceParts& parts, RandomDigits& digits) : parts_(parts), digits_(digits), row_(parts.rules.size()) {
    for (const OrderRule& rule : parts.rules) orders_.push_back(make_orders(rule, 0, Enumeration::unpruned));
  }

  void step(ViewStorage& point) {
    for (int i = 0; i < kMostTries; ++i) {
      if (try_step(point)) return;
    }
    draw_point(parts_, digits_, point);
  }

 private:
  [[nodiscard]] std::size_t pick(std::size_t count) { return static_cast<std::size_t>(digits_.take(count)); }
  [[nodiscard]] std::size_t dims() const noexcept { return parts_.factors.size(); }

  bool try_step(ViewStorage& point) {
    switch (digits_.take(8)) {
      case 0: return redraw_dim(point);
      case 1:
      case 2:
      case 3: return move_prime(point);
      case 4:
      case 5: return swap_loops(point);
      case 6: return move_split(point);
      default: return flip_bypass(point);
    }
  }

  bool redraw_dim(ViewStorage& point) {
    const std::size_t d = pick(dims());
    const FactorSpace& space = parts_.factors[d];
    if (space.size() < 2) return false;
    space.write(digits_.take(space.size()), row_);
    bool changed = false;
    for (std::size_t b = 0; b < row_.size(); ++b) {
      std::uint32_t& factor = point.factors[b * dims() + d];
      changed = changed || factor != row_[b];
      factor = row_[b];
    }
    return changed;
  }

  bool move_prime(ViewStorage& point) {
    const std::size_t d = pick(dims());
    const std::size_t from = pick(row_.size());
    const std::size_t to = pick(row_.size());
    std::uint32_t& given = point.factors[from * dims() + d];
    std::uint32_t& taken = point.factors[to * dims() + d];
    if (from == to || given == 1) return false;
    const std::vector<std::uint32_t> primes = prime_factors(given);
    const std::uint32_t prime = primes[pick(primes.size())];
    const auto allows = [&](std::size_t b, Count factor) { return parts_.constraints.blocks[b].limits[d].allows(factor); };
    if (!allows(from, given / prime) || !allows(to, static_cast<Count>(taken) * prime)) return false;
    given /= prime;
    taken *= prime;
    return true;
  }

  bool swap_loops(ViewStorage& point) {
    const std::size_t b = pick(orders_.size());
    if (orders_[b].infix_size() < 2) return false;
    const auto draw = [&] { return b * dims() + orders_[b].infix_begin + pick(static_cast<std::size_t>(orders_[b].infix_size())); };
    std::uint8_t& one = point.order[draw()];
    std::uint8_t& other = point.order[draw()];
    const std::uint32_t* factors = &point.factors[b * dims()];
    if (factors[one] == 1 && factors[other] == 1) return false;
    std::swap(one, other);
    return one != other;
  }

  bool move_split(ViewStorage& point) {
    const std::size_t b = pick(orders_.size());
    if (orders_[b].splits() < 2) return false;
    const std::uint8_t before = point.split[b];
    point.split[b] = static_cast<std::uint8_t>(orders_[b].split_first + digits_.take(orders_[b].splits()));
    return point.split[b] != before;
  }

  bool flip_bypass(ViewStorage& point) {
    if (parts_.open.empty()) return false;
    const OpenPair& pair = parts_.open[pick(parts_.open.size())];
    point.keep[static_cast<std::size_t>(pair.level)] ^= 1U << pair.tensor;
    return true;
  }

  const MapspaceParts& parts_;
  RandomDigits& digits_;
  std::vector<BlockOrders> orders_;  // [block]
  std::vector<std::uint32_t> row_;
};

}  // namespace

void walk_annealing(const HeuristicSetup& setup, RandomDigits& digits, StreamBook& book) {
  ViewStorage here(setup.parts);
  ViewStorage next(setup.parts);
  Look now;
  while (!book.is_over() && !now.fits()) {
    draw_point(setup.parts, digits, here);
    now = book.look(here.view, false);
  }
  Neighbours neighbours(setup.parts, digits);
  while (!book.is_over()) {
    copy_point(here, next);
    neighbours.step(next);
    const double temperature = kFirstTemperature * std::pow(kLastTemperature / kFirstTemperature, book.progress());
    const Look look = book.look(next.view, false);
    if (!look.fits()) continue;
    const double worse = look.objective / now.objective - 1;
    if (worse > 0 && digits.fraction() >= std::exp(-worse / temperature)) continue;
    copy_point(next, here);
    now = look;
  }
}

}  // namespace quantloom::detail
