#include "lattice_problem.hpp"

#include <algorithm>
#include <numeric>

#include "use_limits.hpp"

namespace quantloom::lattice {
namespace {

constexpr std::uint64_t kMostShapes = std::uint64_t{1} << 20;
constexpr std::size_t kMostDivisors = 255;

// Alone in its rank with coefficient 1, in every tensor that it moves but perhaps one.
bool moves_alone(const Workload& workload, int dim, int but = -1) {
  for (int t = 0; t < workload.num_tensors(); ++t) {
    if (t == but) continue;
    const auto moves = workload.moves(t, dim);
    if (moves.size() > 1) return false;
    for (const RankMove& move : moves) {
      if (move.coefficient != 1) return false;
      for (const Term& term : workload.tensors()[static_cast<std::size_t>(t)].ranks[static_cast<std::size_t>(move.rank)]) {
        if (term.dim != dim && workload.bound(term.dim) > 1) return false;
      }
    }
  }
  return true;
}

std::uint32_t tensors_moved(const Workload& workload, int dim) {
  std::uint32_t out = 0;
  for (int t = 0; t < workload.num_tensors(); ++t) out |= static_cast<std::uint32_t>(workload.is_relevant(t, dim)) << t;
  return out;
}

bool is_free(const FactorLimit& limit, Count bound) { return !limit.fixed && limit.min <= 1 && limit.max >= bound; }

// Whether each loop can lie whole on one of the axes.
bool fits_axes(const Block& block, const std::vector<Loop>& loops) {
  for (std::uint32_t on_x = 0; on_x < (1U << loops.size()); ++on_x) {
    Count x = 1;
    Count y = 1;
    for (std::size_t i = 0; i < loops.size(); ++i) ((on_x >> i & 1U) != 0 ? x : y) *= loops[i].bound;
    if (x <= block.fanout_x && y <= block.fanout_y) return true;
  }
  return false;
}

// Each as often as it divides n: the bound of one dim, at most 2^31.
std::vector<Count> prime_factors(Count n) {
  std::vector<Count> out;
  for (Count p = 2; p * p <= n; ++p) {
    for (; n % p == 0; n /= p) out.push_back(p);
  }
  if (n > 1) out.push_back(n);
  return out;
}

// Merged dims have bounds up to 2^53, whose divisors would take long to try; those of its members do not.
void factorize(const Workload& workload, LatticeDim& dim) {
  dim.divisors = {1};
  for (const int d : dim.members) {
    for (const Count p : prime_factors(workload.bound(d))) {
      dim.primes.push_back(p);
      const std::size_t count = dim.divisors.size();
      for (std::size_t i = 0; i < count; ++i) dim.divisors.push_back(saturating_mul(dim.divisors[i], p));
      std::sort(dim.divisors.begin(), dim.divisors.end());
      dim.divisors.erase(std::unique(dim.divisors.begin(), dim.divisors.end()), dim.divisors.end());
    }
  }
  std::sort(dim.primes.begin(), dim.primes.end());
  dim.primes.erase(std::unique(dim.primes.begin(), dim.primes.end()), dim.primes.end());
}

class LaneLister {
 public:
  LaneLister(const Problem& problem, std::size_t most) : problem_(problem), most_(most) {
    for (const Block& block : problem.parts.constraints.blocks) {
      if (block.spatial) blocks_.push_back(&block);
    }
    for (auto& level : lanes_) level.fill(1);
    for (const LatticeDim& dim : problem.dims) rest_.push_back(dim.bound);
  }

  std::optional<std::vector<Lanes>> list() {
    extend(0, 0, 1);
    if (out_.size() > most_) return std::nullopt;
    return std::move(out_);
  }

 private:
  void extend(std::size_t block, std::size_t dim, Count used) {
    if (out_.size() > most_) return;
    if (block == blocks_.size()) {
      out_.push_back(lanes_);
      return;
    }
    const Block& here = *blocks_[block];
    auto& lanes = lanes_[static_cast<std::size_t>(here.level)];
    if (dim == rest_.size()) {
      std::vector<Loop> loops;
      for (std::size_t d = 0; d < rest_.size(); ++d) {
        if (lanes[d] > 1) loops.push_back({static_cast<int>(d), static_cast<Count>(lanes[d])});
      }
      if (fits_axes(here, loops)) extend(block + 1, 0, 1);
      return;
    }
    for (const Count n : problem_.dims[dim].divisors) {
      if (used * n > here.fanout_x * here.fanout_y) break;
      if (rest_[dim] % n != 0) continue;
      rest_[dim] /= n;
      lanes[dim] = static_cast<std::uint32_t>(n);
      extend(block, dim + 1, used * n);
      rest_[dim] *= n;
    }
    lanes[dim] = 1;
  }

  const Problem& problem_;
  std::size_t most_;
  std::vector<const Block*> blocks_;
  std::vector<Count> rest_;
  Lanes lanes_{};
  std::vector<Lanes> out_;
};

}  // namespace

Problem::Problem(const Arch& arch, const Workload& workload, Selection selection) : parts(arch, workload, selection), window(workload, {}) {
  forced = parts.kept;
  open.assign(static_cast<std::size_t>(arch.num_levels()), 0);
  for (const detail::OpenPair& pair : parts.open) open[static_cast<std::size_t>(pair.level)] |= 1U << pair.tensor;
  merge_dims();
  window = Window(workload, dims);
  for (LatticeDim& dim : dims) {
    factorize(workload, dim);
    dim.multiples.resize(dim.divisors.size());
    for (std::size_t i = 0; i < dim.divisors.size() && dim.divisors.size() <= kMostDivisors; ++i) {
      for (std::size_t j = i; j < dim.divisors.size(); ++j) {
        if (dim.divisors[j] % dim.divisors[i] == 0) dim.multiples[i].push_back(static_cast<std::uint8_t>(j));
      }
    }
  }
}

std::uint8_t LatticeDim::index(Count divisor) const noexcept {
  return static_cast<std::uint8_t>(std::lower_bound(divisors.begin(), divisors.end(), divisor) - divisors.begin());
}

std::uint64_t Problem::num_shapes() const noexcept {
  std::uint64_t count = 1;
  for (const LatticeDim& dim : dims) {
    if (__builtin_mul_overflow(count, dim.divisors.size(), &count)) return UINT64_MAX;
  }
  return count;
}

std::uint64_t Problem::code(const Shape& shape) const noexcept {
  std::uint64_t out = 0;
  for (std::size_t d = 0; d < dims.size(); ++d) out = out * dims[d].divisors.size() + shape[d];
  return out;
}

Shape Problem::shape(std::uint64_t code) const noexcept {
  Shape out{};
  for (std::size_t d = dims.size(); d-- > 0;) {
    out[d] = static_cast<std::uint8_t>(code % dims[d].divisors.size());
    code /= dims[d].divisors.size();
  }
  return out;
}

void Problem::merge_dims() {
  const Workload& workload = parts.workload;
  bool has_plane = false;  // lanes of a merged dim could lie on both axes, those of one dim not
  for (const Block& block : parts.constraints.blocks) has_plane = has_plane || (block.spatial && block.is_2d());
  for (int d = 0; d < workload.num_dims(); ++d) {
    if (workload.bound(d) == 1) continue;
    const std::uint32_t relevant = tensors_moved(workload, d);
    const bool alone = moves_alone(workload, d);
    const auto twin = std::find_if(dims.begin(), dims.end(), [&](const LatticeDim& other) {
      return !has_plane && alone && other.relevant == relevant && moves_alone(workload, other.members.front());
    });
    if (twin == dims.end()) {
      dims.push_back({{d}, workload.bound(d), relevant, {}, {}, {}});
    } else {
      twin->members.push_back(d);
      twin->bound = saturating_mul(twin->bound, workload.bound(d));
    }
  }
}

bool Problem::is_supported(const MapperOptions& options) const {
  const Workload& workload = parts.workload;
  if (options.model != CostModel::default_model) return false;
  if (num_dims() > kMaxLatticeDims || num_tensors() > kMaxLatticeTensors) return false;
  if (static_cast<double>(workload.macs()) > kLargestExactCount || num_shapes() > kMostShapes) return false;
  if (std::any_of(dims.begin(), dims.end(), [](const LatticeDim& dim) { return dim.divisors.size() > kMostDivisors; })) return false;
  const std::uint32_t all = (1U << num_tensors()) - 1;
  if (window.tensor() >= 0) {
    // What a copy moves is no more than its tile at each step outside of it, and the tile no more than its indices times the spread.
    if (static_cast<double>(workload.macs()) * window.spread() > kLargestExactCount) return false;
    if (!window.is_simple() || num_levels() > kMaxWindowLevels || parts.arch.arithmetic().instances > Count{1} << kMaxWindowLaneDims) return false;
  }
  for (const LatticeDim& dim : dims) {
    const std::uint32_t irrelevant = all & ~dim.relevant;
    if ((irrelevant & (irrelevant - 1)) != 0) return false;  // the costs of two tensors would hang on it
    for (const int d : dim.members) {
      if (!moves_alone(workload, d, window.tensor())) return false;
    }
  }
  for (const Block& block : parts.constraints.blocks) {
    for (int d = 0; d < workload.num_dims(); ++d) {
      if (!is_free(block.limits[static_cast<std::size_t>(d)], workload.bound(d))) return false;
    }
    if (!block.inner.empty() || !block.outer.empty() || block.split) return false;
  }
  // The search leaves out copies that are of no use; a level that must keep one is not free to.
  if (std::any_of(forced.begin(), forced.end() - 1, [](std::uint32_t kept) { return kept != 0; })) return false;
  if (forced.back() != all || limits_lanes(parts.constraints) || limits_words(parts.constraints)) return false;
  return std::all_of(parts.arch.levels().begin(), parts.arch.levels().end(), [](const Level& level) {
    return level.multicast && level.reduction && !level.forwarding && level.adder_energy_pj == 0 && level.hop_energy_pj == 0 && level.router_energy_pj == 0;
  });
}

std::optional<std::vector<Lanes>> list_lanes(const Problem& problem, std::size_t most) { return LaneLister(problem, most).list(); }

MappingBuilder::MappingBuilder(const Problem& problem) : problem_(problem) {}

Mapping MappingBuilder::build(const Lanes& lanes, const Factors& factors, const std::array<int, kMaxLevels>& innermost,
                              const std::array<std::uint32_t, kMaxLevels>& keep) const {
  LevelLoops loops;
  for (std::size_t l = 0; l < static_cast<std::size_t>(problem_.num_levels()); ++l) {
    for (const bool is_inner : {true, false}) {
      for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
        const bool belongs = innermost[l] >= 0 && (problem_.dims[d].relevant >> innermost[l] & 1U) == 0;
        if (belongs == is_inner) loops[l].push_back({static_cast<std::uint8_t>(d), factors[l][d]});
      }
    }
  }
  return build(lanes, loops, keep);
}

Mapping MappingBuilder::build(const Lanes& lanes, const LevelLoops& loops, const std::array<std::uint32_t, kMaxLevels>& keep) const {
  const Workload& workload = problem_.parts.workload;
  Mapping out;
  out.levels.resize(static_cast<std::size_t>(problem_.num_levels()));
  std::vector<Count> rest;
  rest.reserve(workload.dims().size());
  for (const Dim& dim : workload.dims()) rest.push_back(dim.bound);
  // Each member gives the largest part that it can: whatever is left divides what the others have.
  const auto share = [&](const LatticeDim& dim, Count factor, std::vector<Loop>& into) {
    for (const int d : dim.members) {
      const Count part = std::gcd(factor, rest[static_cast<std::size_t>(d)]);
      rest[static_cast<std::size_t>(d)] /= part;
      factor /= part;
      if (part > 1) into.push_back({d, part});
    }
  };
  for (int l = 0; l < problem_.num_levels(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    LevelMapping& level = out.levels[at];
    level.keep = keep[at];
    std::vector<Loop> spatial;
    for (std::size_t d = 0; d < problem_.dims.size(); ++d) share(problem_.dims[d], lanes[at][d], spatial);
    place_lanes(l, spatial, level);
    std::vector<Loop> inner;
    for (const LatticeLoop& loop : loops[at]) share(problem_.dims[loop.dim], loop.bound, inner);
    level.temporal.assign(inner.rbegin(), inner.rend());
  }
  return out;
}

void MappingBuilder::place_lanes(int level, const std::vector<Loop>& loops, LevelMapping& out) const {
  const int number = find_block(problem_.parts.constraints, level, true);
  if (number < 0 || loops.empty()) return;
  const Block& block = problem_.parts.constraints.blocks[static_cast<std::size_t>(number)];
  for (std::uint32_t on_x = (1U << loops.size()); on_x-- > 0;) {
    Count x = 1;
    Count y = 1;
    for (std::size_t i = 0; i < loops.size(); ++i) ((on_x >> i & 1U) != 0 ? x : y) *= loops[i].bound;
    if (x > block.fanout_x || y > block.fanout_y) continue;
    for (std::size_t i = loops.size(); i-- > 0;) ((on_x >> i & 1U) != 0 ? out.spatial_x : out.spatial_y).push_back(loops[i]);
    return;
  }
}

}  // namespace quantloom::lattice
