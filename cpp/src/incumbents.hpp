// What a search has found so far for one setting: the best point, or with Objective::pareto every point that no other one
// beats in energy and cycles. Internal to the mapper.
#pragma once

#include <algorithm>
#include <vector>

#include "quantities.hpp"
#include "quantloom/mapper.hpp"

namespace quantloom {

// A bound adds in another order than a price: it may be off in the last digits, never by this much.
inline constexpr double kBoundMargin = 1 - 1e-11;

// Place says which mapping a point is.
template <class Place>
class Incumbents {
 public:
  struct Point {
    double energy_pj = 0;
    double cycles = 0;
    double objective = 0;
    Place place;
  };

  explicit Incumbents(Objective objective) : objective_(objective) {}

  // Ascending in cycles, descending in energy.
  [[nodiscard]] const std::vector<Point>& points() const noexcept { return points_; }
  [[nodiscard]] bool empty() const noexcept { return points_.empty(); }

  // Takes the point if it is better, or as good and `is_earlier(place)` than the one it equals.
  template <class MakePlace, class IsEarlier>
  void offer(double energy_pj, double cycles, const MakePlace& make_place, const IsEarlier& is_earlier) {
    const double objective = objective_value(objective_, energy_pj, cycles);
    if (!(objective < kInfinity) || !(energy_pj < kInfinity)) return;
    if (objective_ == Objective::pareto) {
      offer_tradeoff({energy_pj, cycles, objective, {}}, make_place, is_earlier);
      return;
    }
    if (!points_.empty()) {
      const Point& best = points_.front();
      if (objective > best.objective || (objective == best.objective && energy_pj > best.energy_pj)) return;
      if (objective == best.objective && energy_pj == best.energy_pj && !is_earlier(best.place)) return;
    }
    points_.assign(1, {energy_pj, cycles, objective, make_place()});
  }

  // The largest lower bound on energy that may still hide a point worth having at these cycles. Equal costs are looked
  // at, because ties are broken by place.
  [[nodiscard]] double energy_limit(double cycles) const noexcept {
    if (points_.empty()) return kInfinity;
    const Point& best = points_.front();
    switch (objective_) {
      case Objective::energy: return best.objective / kBoundMargin;
      case Objective::edp: return best.objective / cycles / kBoundMargin;
      case Objective::ed2p: return best.objective / cycles / cycles / kBoundMargin;
      case Objective::cycles:
        if (cycles > best.cycles) return -kInfinity;
        return cycles < best.cycles ? kInfinity : best.energy_pj / kBoundMargin;
      case Objective::pareto: break;
    }
    const auto after = std::upper_bound(points_.begin(), points_.end(), cycles, [](double c, const Point& point) { return c < point.cycles; });
    return after == points_.begin() ? kInfinity : (after - 1)->energy_pj / kBoundMargin;
  }

 private:
  template <class MakePlace, class IsEarlier>
  void offer_tradeoff(Point point, const MakePlace& make_place, const IsEarlier& is_earlier) {
    const auto at = std::lower_bound(points_.begin(), points_.end(), point.cycles, [](const Point& p, double c) { return p.cycles < c; });
    if (at != points_.begin() && (at - 1)->energy_pj <= point.energy_pj) return;
    if (at != points_.end() && at->cycles == point.cycles) {
      if (at->energy_pj < point.energy_pj) return;
      if (at->energy_pj == point.energy_pj && !is_earlier(at->place)) return;
    }
    auto end = at;
    while (end != points_.end() && end->energy_pj >= point.energy_pj) ++end;
    point.place = make_place();
    points_.insert(points_.erase(at, end), std::move(point));
  }

  Objective objective_;
  std::vector<Point> points_;
};

}  // namespace quantloom
