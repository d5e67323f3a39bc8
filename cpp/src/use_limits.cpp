#include "use_limits.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "quantloom/error.hpp"

namespace quantloom {
namespace {

[[noreturn]] void fail(const Constraint& constraint, const std::string& what, const std::string& hint = {}) {
  const std::string where = constraint.where.empty() ? std::string() : constraint.where + ": ";
  throw Error(ErrorKind::spec, where + "constraint on '" + constraint.level + "': " + what, hint);
}

// A share is written with a few digits: what rounding of the product adds is not asked for.
Count share_up(double share, Count whole) {
  const double product = share * static_cast<double>(whole);
  return static_cast<Count>(std::ceil(product - std::max(1e-9, product * 1e-12)));
}

Count share_down(double share, Count whole) {
  const double product = share * static_cast<double>(whole);
  return static_cast<Count>(std::floor(product + std::max(1e-9, product * 1e-12)));
}

void check_shares(const Constraint& constraint, const std::string& name, const std::optional<double>& least, const std::optional<double>& most) {
  for (const auto& [share, word] : {std::pair{least, "min_"}, std::pair{most, "max_"}}) {
    if (share && !(*share > 0 && *share <= 1)) {
      fail(constraint, word + name + " is " + std::to_string(*share) + ", expected a share above 0, at most 1");
    }
  }
  if (least && most && *least > *most) fail(constraint, "min_" + name + " is above max_" + name);
}

}  // namespace

bool is_selected(const Constraint& constraint, Selection selection) noexcept {
  if (selection == Selection::free) return false;
  return selection == Selection::all || constraint.origin == "architecture";
}

void limit_use(const Arch& arch, const Constraint& constraint, int level, ResolvedConstraints& out) {
  const Utilization& use = constraint.use;
  check_shares(constraint, "fanout", use.min_fanout, use.max_fanout);
  check_shares(constraint, "capacity", use.min_capacity, use.max_capacity);
  check_shares(constraint, "parallelism", use.min_parallelism, {});
  UseLimit& limit = out.use[static_cast<std::size_t>(level)];
  if (use.min_fanout || use.max_fanout) {
    const Count fanout = arch.fanout_x(level) * arch.fanout_y(level);
    if (fanout == 1) fail(constraint, "limits the use of a fanout, but one instance lies below", "remove the limit");
    limit.min_lanes = std::max(limit.min_lanes, share_up(use.min_fanout.value_or(0), fanout));
    limit.max_lanes = std::min(limit.max_lanes, std::max<Count>(1, share_down(use.max_fanout.value_or(1), fanout)));
  }
  if (use.min_capacity || use.max_capacity) {
    const std::optional<Count>& words = arch.level(level).capacity_words;
    if (!words) fail(constraint, "limits the use of a capacity, but the level has no limit", "remove the limit");
    limit.min_words = std::max(limit.min_words, share_up(use.min_capacity.value_or(0), *words));
  }
  if (use.min_parallelism) out.min_units = std::max(out.min_units, share_up(*use.min_parallelism, arch.arithmetic().instances));
  if (limit.min_lanes > limit.max_lanes) fail(constraint, "its limits on the fanout leave nothing together with others");
}

Arch cap_capacities(const Arch& arch, Selection selection) {
  std::vector<Level> levels = arch.levels();
  bool any = false;
  for (const Constraint& constraint : arch.constraints()) {
    const int level = arch.find_level(constraint.level);
    if (!is_selected(constraint, selection) || !constraint.use.max_capacity) continue;
    const std::optional<Count>& words = arch.level(level).capacity_words;
    if (!words) continue;  // limit_use() refuses it
    const Count most = std::max<Count>(1, share_down(*constraint.use.max_capacity, *words));
    Level& capped = levels[static_cast<std::size_t>(level)];
    capped.capacity_words = std::min(*capped.capacity_words, most);
    any = true;
  }
  if (!any) return arch;
  return Arch(arch.name(), std::move(levels), arch.arithmetic(), arch.constraints(), arch.relax_indivisible_factors(), arch.source());
}

bool uses_lanes(const ResolvedConstraints& constraints, const Nest& nest) noexcept {
  Count units = 1;
  for (int l = 0; l < nest.num_levels; ++l) {
    const UseLimit& limit = constraints.use[static_cast<std::size_t>(l)];
    const Count lanes = nest.mapped_fanout(l);
    if (lanes < limit.min_lanes || lanes > limit.max_lanes) return false;
    units = saturating_mul(units, lanes);
  }
  return units >= constraints.min_units;
}

bool limits_lanes(const ResolvedConstraints& constraints) noexcept {
  const auto limits = [](const UseLimit& limit) { return limit.min_lanes > 1 || limit.max_lanes < kSaturated; };
  return constraints.min_units > 1 || std::any_of(constraints.use.begin(), constraints.use.end(), limits);
}

bool uses_words(const ResolvedConstraints& constraints, const Cost& cost) noexcept {
  for (std::size_t l = 0; l < cost.levels.size(); ++l) {
    Count words = 0;
    for (const TensorLevelCost& tensor : cost.levels[l].tensors) words = saturating_add(words, tensor.utilized_words);
    if (words < constraints.use[l].min_words) return false;
  }
  return true;
}

bool limits_words(const ResolvedConstraints& constraints) noexcept {
  return std::any_of(constraints.use.begin(), constraints.use.end(), [](const UseLimit& limit) { return limit.min_words > 0; });
}

}  // namespace quantloom
