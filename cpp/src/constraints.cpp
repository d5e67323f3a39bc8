#include "quantloom/constraints.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "quantloom/error.hpp"
#include "use_limits.hpp"

namespace quantloom {
namespace {

constexpr std::array<std::string_view, 8> kConvDims = {"N", "C", "M", "R", "S", "P", "Q", "G"};
constexpr std::array<std::string_view, 3> kConvTensors = {"Weights", "Inputs", "Outputs"};
constexpr int kConvDimsWithoutGroup = 7;

[[noreturn]] void fail_spec(const std::string& what, const std::string& hint = {}) {
  throw Error(ErrorKind::spec, what, hint);
}

[[noreturn]] void fail_infeasible(const std::string& what, const std::string& hint = {}) {
  throw Error(ErrorKind::infeasible, what, hint);
}

// Levenshtein distance, ignoring case.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// "did you mean `x`?" for the nearest known name, or the list of them if none is near.
std::string hint_for(std::string_view name, const std::vector<std::string>& known) {
  const std::string* best = nullptr;
  std::size_t best_distance = name.size() < 2 ? 0 : std::max<std::size_t>(1, name.size() / 2);
  std::string all;
  for (const std::string& candidate : known) {
    all += (all.empty() ? "" : ", ") + candidate;
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best_distance || (distance == best_distance && best == nullptr)) {
      best = &candidate;
      best_distance = distance;
    }
  }
  return best != nullptr ? "did you mean `" + *best + "`?" : "expected one of: " + all;
}

std::string at(const Constraint& constraint) {
  return constraint.where.empty() ? std::string() : constraint.where + ": ";
}

// What fixed a thing first, for messages about the second time.
std::string first_place(const Constraint& constraint) {
  return constraint.where.empty() ? "an earlier constraint on '" + constraint.level + "'" : constraint.where;
}

std::string relation_text(FactorRelation relation) {
  switch (relation) {
    case FactorRelation::equal:
      return " = ";
    case FactorRelation::at_most:
      return " <= ";
    case FactorRelation::at_least:
      return " >= ";
  }
  return " ? ";
}

Count largest_divisor_up_to(Count value, Count limit) {
  Count best = 1;
  for (Count d = 1; d <= limit && d * d <= value; ++d) {
    if (value % d != 0) continue;
    best = std::max(best, d);
    if (value / d <= limit) best = std::max(best, value / d);
  }
  return best;
}

std::vector<Count> divisors_of(Count value) {
  std::vector<Count> out;
  for (Count d = 1; d * d <= value; ++d) {
    if (value % d != 0) continue;
    out.push_back(d);
    if (d * d != value) out.push_back(value / d);
  }
  std::sort(out.begin(), out.end());
  return out;
}

// How the group dim of a workload takes part in constraints that do not know it.
enum class GroupRole { none, replaces_m, beside_m };

class Resolver {
 public:
  Resolver(const Arch& arch, const Workload& workload) : arch_(arch), workload_(workload), role_(group_role()) {
    group_ = role_ == GroupRole::none ? -1 : workload.find_dim("G");
    make_blocks();
    make_keep();
    out_.use.resize(static_cast<std::size_t>(arch.num_levels()));
    fixed_by_.resize(out_.blocks.size(), std::vector<const Constraint*>(static_cast<std::size_t>(workload.num_dims())));
    order_by_.resize(out_.blocks.size());
    split_by_.resize(out_.blocks.size());
    keep_by_.resize(out_.keep.size(), std::vector<const Constraint*>(static_cast<std::size_t>(workload.num_tensors())));
  }

  void apply(const Constraint& constraint);
  ResolvedConstraints finish();

 private:
  [[nodiscard]] GroupRole group_role() const;
  void make_blocks();
  void make_keep();

  void apply_factor(const Constraint& constraint, int block, const FactorConstraint& factor);
  void limit_dim(const Constraint& constraint, int block, int dim, FactorRelation relation, Count value);
  void fix_dim(const Constraint& constraint, int block, int dim, Count value);
  void apply_order(const Constraint& constraint, int block);
  void apply_split(const Constraint& constraint, int block);
  void apply_keep(const Constraint& constraint, int level, const std::string& tensor, Keep choice);

  [[nodiscard]] std::vector<int> dims_of(const Constraint& constraint, const std::vector<std::string>& names,
                                         std::set<int>& seen) const;
  [[nodiscard]] int find_dim(const Constraint& constraint, const std::string& name) const;
  [[nodiscard]] int find_tensor(const Constraint& constraint, const std::string& name) const;
  void check_limits(int dim) const;
  void settle_fixed(int dim);
  void check_reachable(int dim) const;
  [[nodiscard]] int translate_split(int split, int b) const;

  Block& block(int b) { return out_.blocks[static_cast<std::size_t>(b)]; }
  [[nodiscard]] const std::string& dim_name(int dim) const {
    return workload_.dims()[static_cast<std::size_t>(dim)].name;
  }
  [[nodiscard]] std::string name_of(int b) const { return block_name(arch_, out_.blocks[static_cast<std::size_t>(b)]); }

  const Arch& arch_;
  const Workload& workload_;
  GroupRole role_;
  int group_ = -1;
  ResolvedConstraints out_;
  std::vector<std::vector<const Constraint*>> fixed_by_;  // [block][dim]
  std::vector<const Constraint*> order_by_;               // [block]
  std::vector<const Constraint*> split_by_;
  std::vector<std::vector<const Constraint*>> keep_by_;  // [level][tensor]
};

GroupRole Resolver::group_role() const {
  if (workload_.find_dim("G") < 0) return GroupRole::none;
  const auto names_g = [](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), "G") != names.end();
  };
  for (const Constraint& c : arch_.constraints()) {
    if (names_g(c.permutation_inner) || names_g(c.permutation_outer)) return GroupRole::none;
    for (const FactorConstraint& f : c.factors) {
      if (f.dim == "G") return GroupRole::none;
    }
  }
  const int m = workload_.find_dim("M");
  return m < 0 || workload_.bound(m) == 1 ? GroupRole::replaces_m : GroupRole::beside_m;
}

void Resolver::make_blocks() {
  for (int level = 0; level < arch_.num_levels(); ++level) {
    Block b;
    b.level = level;
    b.limits.resize(static_cast<std::size_t>(workload_.num_dims()));
    for (int d = 0; d < workload_.num_dims(); ++d) b.limits[static_cast<std::size_t>(d)].max = workload_.bound(d);
    if (arch_.fanout_x(level) > 1 || arch_.fanout_y(level) > 1) {
      Block s = b;
      s.spatial = true;
      s.fanout_x = arch_.fanout_x(level);
      s.fanout_y = arch_.fanout_y(level);
      out_.blocks.push_back(std::move(s));
    }
    out_.blocks.push_back(std::move(b));
  }
}

void Resolver::make_keep() {
  const auto tensors = static_cast<std::size_t>(workload_.num_tensors());
  out_.keep.assign(static_cast<std::size_t>(arch_.num_levels()), std::vector<Keep>(tensors, Keep::open));
}

int Resolver::find_dim(const Constraint& constraint, const std::string& name) const {
  if (name == "M" && role_ == GroupRole::replaces_m) return group_;
  const int dim = workload_.find_dim(name);
  if (dim >= 0 || std::find(kConvDims.begin(), kConvDims.end(), name) != kConvDims.end()) return dim;
  std::vector<std::string> known;
  for (const Dim& d : workload_.dims()) known.push_back(d.name);
  for (const std::string_view d : kConvDims) {
    if (workload_.find_dim(d) < 0) known.emplace_back(d);
  }
  fail_spec(at(constraint) + "constraint on '" + constraint.level + "': unknown dim '" + name + "'",
            hint_for(name, known));
}

int Resolver::find_tensor(const Constraint& constraint, const std::string& name) const {
  const int tensor = workload_.find_tensor(name);
  if (tensor >= 0 || std::find(kConvTensors.begin(), kConvTensors.end(), name) != kConvTensors.end()) return tensor;
  std::vector<std::string> known;
  for (const TensorSpec& t : workload_.tensors()) known.push_back(t.name);
  fail_spec(at(constraint) + "constraint on '" + constraint.level + "': unknown tensor '" + name + "'",
            hint_for(name, known));
}

void Resolver::apply(const Constraint& constraint) {
  const int level = arch_.find_level(constraint.level);
  if (level < 0) fail_spec(at(constraint) + "constraint on unknown level '" + constraint.level + "'");
  if (constraint.target == ConstraintTarget::keep) {
    for (const std::string& tensor : constraint.keep) apply_keep(constraint, level, tensor, Keep::yes);
    for (const std::string& tensor : constraint.bypass) apply_keep(constraint, level, tensor, Keep::no);
    return;
  }
  if (constraint.target == ConstraintTarget::utilization) {
    limit_use(arch_, constraint, level, out_);
    return;
  }
  const bool spatial = constraint.target == ConstraintTarget::spatial;
  const int b = find_block(out_, level, spatial);
  if (b < 0) {
    fail_spec(at(constraint) + "spatial constraint on level '" + constraint.level + "', which has no fanout",
              "the next inner level has as many instances as this one; remove the constraint");
  }
  for (const FactorConstraint& factor : constraint.factors) apply_factor(constraint, b, factor);
  if (constraint.has_permutation) apply_order(constraint, b);
  if (constraint.split) apply_split(constraint, b);
}

void Resolver::apply_factor(const Constraint& constraint, int b, const FactorConstraint& factor) {
  const bool may_be_zero = factor.relation == FactorRelation::equal;
  if (factor.value < (may_be_zero ? 0 : 1)) {
    fail_spec(at(constraint) + name_of(b) + ": " + factor.dim + relation_text(factor.relation) +
                  std::to_string(factor.value) + " is not a factor",
              may_be_zero ? "use a positive number, or 0 for the whole bound" : "use a positive number");
  }
  const int dim = find_dim(constraint, factor.dim);
  if (dim < 0) return;
  const Count value = factor.value == 0 ? workload_.bound(dim) : factor.value;
  if (value > workload_.bound(dim) && factor.relation != FactorRelation::at_most) {
    out_.notes.push_back(at(constraint) + name_of(b) + ": " + factor.dim + relation_text(factor.relation) +
                         std::to_string(value) + " dropped: larger than the bound " + dim_name(dim) + " = " +
                         std::to_string(workload_.bound(dim)));
    return;
  }
  limit_dim(constraint, b, dim, factor.relation, value);
  if (role_ != GroupRole::beside_m || factor.dim != "M") return;
  switch (factor.relation) {
    case FactorRelation::equal:
      // The lanes given to M are taken; "the whole bound" holds for both halves of the output channels.
      fix_dim(constraint, b, group_, factor.value == 0 ? workload_.bound(group_) : 1);
      break;
    case FactorRelation::at_most:
      limit_dim(constraint, b, group_, factor.relation, value);
      break;
    case FactorRelation::at_least:
      break;
  }
}

void Resolver::limit_dim(const Constraint& constraint, int b, int dim, FactorRelation relation, Count value) {
  FactorLimit& limit = block(b).limits[static_cast<std::size_t>(dim)];
  switch (relation) {
    case FactorRelation::equal:
      fix_dim(constraint, b, dim, value);
      return;
    case FactorRelation::at_most:
      limit.max = std::min(limit.max, value);
      return;
    case FactorRelation::at_least:
      limit.min = std::max(limit.min, value);
      return;
  }
}

void Resolver::fix_dim(const Constraint& constraint, int b, int dim, Count value) {
  const Constraint*& fixed_by = fixed_by_[static_cast<std::size_t>(b)][static_cast<std::size_t>(dim)];
  if (fixed_by != nullptr) {
    fail_spec(at(constraint) + name_of(b) + ": the factor of " + dim_name(dim) + " is already fixed by " +
                  first_place(*fixed_by),
              "keep one of the two constraints");
  }
  fixed_by = &constraint;
  block(b).limits[static_cast<std::size_t>(dim)].fixed = value;
}

// Positions of the named dims, with G beside M; dims that the workload does not have are left out.
std::vector<int> Resolver::dims_of(const Constraint& constraint, const std::vector<std::string>& names,
                                   std::set<int>& seen) const {
  std::vector<int> out;
  const auto add = [&](int dim) {
    if (!seen.insert(dim).second) {
      fail_spec(at(constraint) + "constraint on '" + constraint.level + "': permutation names " + dim_name(dim) +
                " twice");
    }
    out.push_back(dim);
  };
  for (const std::string& name : names) {
    const int dim = find_dim(constraint, name);
    if (dim >= 0) add(dim);
    if (name != "M") continue;
    if (role_ == GroupRole::beside_m) add(group_);
    if (role_ == GroupRole::replaces_m && workload_.find_dim("M") >= 0) add(workload_.find_dim("M"));
  }
  return out;
}

void Resolver::apply_order(const Constraint& constraint, int b) {
  if (const Constraint* first = order_by_[static_cast<std::size_t>(b)]; first != nullptr) {
    fail_spec(at(constraint) + name_of(b) + ": the permutation is already fixed by " + first_place(*first),
              "keep one of the two constraints");
  }
  order_by_[static_cast<std::size_t>(b)] = &constraint;
  std::set<int> seen;
  block(b).inner = dims_of(constraint, constraint.permutation_inner, seen);
  block(b).outer = dims_of(constraint, constraint.permutation_outer, seen);
  block(b).has_permutation = !block(b).inner.empty() || !block(b).outer.empty();
}

void Resolver::apply_split(const Constraint& constraint, int b) {
  if (block(b).split) {
    fail_spec(at(constraint) + name_of(b) + ": the split is already fixed by " +
                  first_place(*split_by_[static_cast<std::size_t>(b)]),
              "keep one of the two constraints");
  }
  if (*constraint.split < 0) {
    fail_spec(at(constraint) + name_of(b) + ": split is " + std::to_string(*constraint.split) + ", expected 0 or more");
  }
  split_by_[static_cast<std::size_t>(b)] = &constraint;
  block(b).split = *constraint.split;  // in the file's dims; finish() counts it in the workload's
}

void Resolver::apply_keep(const Constraint& constraint, int level, const std::string& tensor, Keep choice) {
  const int t = find_tensor(constraint, tensor);
  if (t < 0) return;
  const Constraint*& by = keep_by_[static_cast<std::size_t>(level)][static_cast<std::size_t>(t)];
  if (by != nullptr) {
    fail_spec(at(constraint) + "level '" + constraint.level + "': keep or bypass of " + tensor +
                  " is already fixed by " + first_place(*by),
              "keep one of the two constraints");
  }
  by = &constraint;
  out_.keep[static_cast<std::size_t>(level)][static_cast<std::size_t>(t)] = choice;
}

// A fixed factor outside of its own block's limits, or limits that cross, are contradictions in the file.
void Resolver::check_limits(int dim) const {
  for (std::size_t b = 0; b < out_.blocks.size(); ++b) {
    const FactorLimit& limit = out_.blocks[b].limits[static_cast<std::size_t>(dim)];
    const Count lowest = limit.fixed.value_or(limit.min);
    const Count highest = limit.fixed.value_or(limit.max);
    if (lowest <= limit.max && highest >= limit.min) continue;
    const Constraint* by = fixed_by_[b][static_cast<std::size_t>(dim)];
    fail_spec((by != nullptr ? at(*by) : std::string()) + name_of(static_cast<int>(b)) + ": the constraints on " +
              dim_name(dim) + " contradict each other: " +
              (limit.fixed ? "it is fixed to " + std::to_string(*limit.fixed) + " and limited" : "it is limited") +
              " to " + std::to_string(limit.min) + ".." + std::to_string(limit.max));
  }
}

// Checks that the fixed factors of a dim multiply to a divisor of its bound, or lowers them where that is allowed.
void Resolver::settle_fixed(int dim) {
  Count product = 1;
  std::string list;
  for (std::size_t b = 0; b < out_.blocks.size(); ++b) {
    const auto& fixed = out_.blocks[b].limits[static_cast<std::size_t>(dim)].fixed;
    if (!fixed) continue;
    product = saturating_mul(product, *fixed);
    list += (list.empty() ? "" : ", ") + std::to_string(*fixed) + " (" + name_of(static_cast<int>(b)) + ")";
  }
  const Count bound = workload_.bound(dim);
  if (bound % product == 0) return;
  if (!arch_.relax_indivisible_factors()) {
    fail_infeasible(
        "the fixed factors of " + dim_name(dim) + ", " + list + ", do not divide its bound " + std::to_string(bound),
        "change the layer or the constraint, or set relax_indivisible_factors in the architecture");
  }
  Count left = bound;
  for (std::size_t b = 0; b < out_.blocks.size(); ++b) {
    auto& fixed = out_.blocks[b].limits[static_cast<std::size_t>(dim)].fixed;
    if (!fixed) continue;
    if (left % *fixed != 0) {
      const Count lowered = largest_divisor_up_to(left, *fixed);
      out_.notes.push_back(at(*fixed_by_[b][static_cast<std::size_t>(dim)]) + name_of(static_cast<int>(b)) + ": " +
                           dim_name(dim) + " = " + std::to_string(*fixed) + " lowered to " + std::to_string(lowered) +
                           ": the fixed factors do not divide the bound " + dim_name(dim) + " = " +
                           std::to_string(bound));
      fixed = lowered;
    }
    left /= *fixed;
  }
}

// Some factorization must obey all limits of the dim: walks the products reachable block by block.
void Resolver::check_reachable(int dim) const {
  const Count bound = workload_.bound(dim);
  const std::vector<Count> divisors = divisors_of(bound);
  std::set<Count> reachable = {1};
  for (const Block& b : out_.blocks) {
    const FactorLimit& limit = b.limits[static_cast<std::size_t>(dim)];
    std::set<Count> next;
    for (const Count product : reachable) {
      for (const Count factor : divisors) {
        if (limit.allows(factor) && bound / product % factor == 0) next.insert(product * factor);
      }
    }
    reachable = std::move(next);
  }
  if (reachable.contains(bound)) return;
  fail_infeasible("no factorization of " + dim_name(dim) + " = " + std::to_string(bound) +
                      " satisfies the constraints of architecture '" + arch_.name() + "'",
                  "every level fixes or limits this dim; leave it open at one level, the outermost for example");
}

// A split counts positions in the order of the architecture's file; this counts them in the workload's dims, which may
// be fewer (a GEMM) or one more (G).
int Resolver::translate_split(int split, int b) const {
  const int num_dims = workload_.num_dims();
  bool is_conv = true;
  for (const Dim& d : workload_.dims()) {
    is_conv = is_conv && std::find(kConvDims.begin(), kConvDims.end(), d.name) != kConvDims.end();
  }
  const bool file_knows_group = role_ == GroupRole::none && workload_.find_dim("G") >= 0;
  const int dims_in_file = is_conv ? kConvDimsWithoutGroup + (file_knows_group ? 1 : 0) : num_dims;
  if (split >= dims_in_file) return num_dims;  // everything on X
  const Constraint* order = order_by_[static_cast<std::size_t>(b)];
  if (order == nullptr) return std::min(split, num_dims);
  const std::vector<std::string>& names = order->permutation_inner;
  const int listed = static_cast<int>(names.size());
  std::set<int> seen;
  const auto on_x = dims_of(*order, {names.begin(), names.begin() + std::min(split, listed)}, seen);
  return std::min(num_dims, static_cast<int>(on_x.size()) + std::max(0, split - listed));
}

ResolvedConstraints Resolver::finish() {
  for (int dim = 0; dim < workload_.num_dims(); ++dim) {
    check_limits(dim);
    settle_fixed(dim);
    check_reachable(dim);
  }
  for (std::size_t b = 0; b < out_.blocks.size(); ++b) {
    auto& split = out_.blocks[b].split;
    if (split) split = translate_split(*split, static_cast<int>(b));
  }
  for (Keep& keep : out_.keep.back()) {
    if (keep == Keep::open) keep = Keep::yes;
  }
  return std::move(out_);
}

}  // namespace

Selection parse_selection(std::string_view text) {
  for (const Selection selection : {Selection::all, Selection::architecture, Selection::free}) {
    if (text == selection_name(selection)) return selection;
  }
  fail_spec("unknown selection of constraints '" + std::string(text) + "'",
            hint_for(text, {"all", "architecture", "free"}));
}

std::string_view selection_name(Selection selection) noexcept {
  switch (selection) {
    case Selection::all:
      return "all";
    case Selection::architecture:
      return "architecture";
    case Selection::free:
      return "free";
  }
  return "";
}

ResolvedConstraints resolve_constraints(const Arch& arch, const Workload& workload, Selection selection) {
  Resolver resolver(arch, workload);
  for (const Constraint& constraint : arch.constraints()) {
    if (is_selected(constraint, selection)) resolver.apply(constraint);
  }
  return resolver.finish();
}

int find_block(const ResolvedConstraints& resolved, int level, bool spatial) noexcept {
  for (std::size_t b = 0; b < resolved.blocks.size(); ++b) {
    if (resolved.blocks[b].level == level && resolved.blocks[b].spatial == spatial) return static_cast<int>(b);
  }
  return -1;
}

std::string block_name(const Arch& arch, const Block& block) {
  return arch.level(block.level).name + (block.spatial ? ", spatial" : ", temporal");
}

}  // namespace quantloom
