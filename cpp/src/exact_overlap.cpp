#include "exact_overlap.hpp"

#include <algorithm>
#include <limits>

#include "default_counts.hpp"
#include "nest.hpp"

namespace quantloom::exact {
namespace {

// Coefficient of a dim in each rank that slides, and the extent of the tile there.
struct Rank {
  const std::vector<Term>* terms = nullptr;
  Count extent = 1;
};

Count coefficient(const std::vector<Term>& terms, int dim) {
  Count sum = 0;
  for (const Term& term : terms) sum += term.dim == dim ? term.coefficient : 0;
  return sum;
}

double count_distinct(const Problem& problem, int tensor) {
  Mapping whole;
  whole.levels.resize(static_cast<std::size_t>(problem.num_levels()));
  for (int d = 0; d < problem.parts.num_dims(); ++d) whole.levels.back().temporal.push_back({d, problem.parts.workload.bound(d)});
  Nest nest;
  build_nest(whole, nest);
  DefaultScratch scratch;
  const Count elements = distinct_elements(problem.parts.workload, nest, tensor, 0, scratch);
  return elements == kSaturated ? 1 : static_cast<double>(elements);
}

// A temporal loop over a window's dim.
struct Slide {
  Count bound = 1;
  std::array<Count, kMaxRanks> step{};  // by sliding rank
};

// The loops of one block that may follow each other: predecessors that must lie inside.
struct Slides {
  std::array<Slide, kMaxDims> loop{};
  std::array<std::uint32_t, kMaxDims> inside{};  // [loop]: loops that the space puts inside it
  int count = 0;
};

// Extends the best sums over loop sets outwards by one block. `wrapped` and `product` are those of all loops further in.
class SetPath {
 public:
  SetPath(const std::vector<Rank>& ranks, double tile) : ranks_(ranks), tile_(tile) {}

  void add(const Slides& slides) {
    const std::size_t sets = std::size_t{1} << slides.count;
    best_.assign(sets, std::numeric_limits<double>::infinity());
    best_[0] = 0;
    for (std::size_t set = 0; set < sets; ++set) {
      std::array<Count, kMaxRanks> wrapped = wrapped_;
      double product = product_;
      for (int k = 0; k < slides.count; ++k) {
        if ((set >> k & 1U) == 0) continue;
        const Slide& slide = slides.loop[static_cast<std::size_t>(k)];
        product *= static_cast<double>(slide.bound);
        for (std::size_t r = 0; r < ranks_.size(); ++r) wrapped[r] += (slide.bound - 1) * slide.step[r];
      }
      if (set + 1 == sets) {
        sum_ += best_[set];
        wrapped_ = wrapped;
        product_ = product;
        return;
      }
      for (int k = 0; k < slides.count; ++k) {
        if ((set >> k & 1U) != 0 || (slides.inside[static_cast<std::size_t>(k)] & ~set) != 0) continue;
        const Slide& slide = slides.loop[static_cast<std::size_t>(k)];
        double overlap = 1;
        for (std::size_t r = 0; r < ranks_.size(); ++r) {
          const Count move = slide.step[r] - wrapped[r];
          overlap *= static_cast<double>(std::max<Count>(0, ranks_[r].extent - (move < 0 ? -move : move)));
        }
        const double added = static_cast<double>(slide.bound - 1) / (product * static_cast<double>(slide.bound)) * (tile_ - overlap);
        double& next = best_[set | std::size_t{1} << k];
        next = std::min(next, best_[set] + added);
      }
    }
  }

  [[nodiscard]] double traffic() const { return tile_ + sum_ * product_; }

 private:
  const std::vector<Rank>& ranks_;
  double tile_;
  std::array<Count, kMaxRanks> wrapped_{};
  double product_ = 1;
  double sum_ = 0;
  std::vector<double> best_;
};

}  // namespace

std::size_t OverlapBound::KeyHash::operator()(const std::vector<std::uint32_t>& key) const noexcept {
  std::uint64_t hash = 0x9e3779b97f4a7c15ULL;
  for (const std::uint32_t word : key) {
    hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
    hash ^= hash >> 32;
  }
  return hash;
}

OverlapBound::OverlapBound(const Problem& problem, const KeepChoice& keep, int tensor)
    : problem_(problem), tensor_(tensor), distinct_(count_distinct(problem, tensor)) {
  const Workload& workload = problem.parts.workload;
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  for (int d = 0; d < workload.num_dims(); ++d) {
    if (problem.is_irrelevant(tensor, d) || workload.bound(d) == 1) continue;
    bool slides = false;
    for (const auto& rank : spec.ranks) {
      const auto active = std::count_if(rank.begin(), rank.end(), [&](const Term& term) { return workload.bound(term.dim) > 1; });
      slides = slides || (coefficient(rank, d) > 0 && active > 1);
    }
    (slides ? window_dims_ : lone_dims_).push_back(d);
  }
  // With a dim in two ranks tiles lie along diagonals: only the floor holds.
  const bool plain = !ranks_share_dims(workload, spec);
  int child = -1;
  for (int l = 0; l < problem.num_levels() && plain; ++l) {
    if ((keep.keep[static_cast<std::size_t>(l)] >> tensor & 1U) == 0) continue;
    if (child >= 0) hops_.push_back({child, l, {}});
    child = l;
  }
}

void OverlapBound::add_floor(const std::vector<double>& copies, std::vector<double>& out) const {
  for (const Hop& hop : hops_) {
    out.push_back(distinct_ * copies[static_cast<std::size_t>(hop.parent)]);
    out.push_back(distinct_ * copies[static_cast<std::size_t>(hop.child)]);
  }
}

void OverlapBound::add_element_energy(const std::vector<double>& weights, std::vector<double>& out) const {
  const auto per_element = [&](int level, double access_pj) {
    const Level& hardware = problem_.parts.arch.level(level);
    return (access_pj / static_cast<double>(hardware.block_words) + hardware.address_energy_pj.value_or(0)) * weights[static_cast<std::size_t>(level)];
  };
  for (const Hop& hop : hops_) {
    out.push_back(per_element(hop.parent, problem_.parts.arch.level(hop.parent).energy.read_pj));
    out.push_back(per_element(hop.child, problem_.parts.arch.level(hop.child).energy.fill_pj));
  }
}

double OverlapBound::least_energy(const std::uint32_t* rows, const std::vector<double>& instances, const double* element_energy) {
  double energy = 0;
  for (std::size_t h = 0; h < hops_.size(); ++h) {
    Hop& hop = hops_[h];
    key_.clear();
    for (const int d : window_dims_) {
      key_.push_back(problem_.extent(d, rows[d], hop.child));
      for (int l = hop.child + 1; l < problem_.num_levels(); ++l) {
        key_.push_back(problem_.factor(d, rows[d], problem_.temporal_block[static_cast<std::size_t>(l)]));
        if (problem_.spatial_block[static_cast<std::size_t>(l)] >= 0) key_.push_back(problem_.factor(d, rows[d], problem_.spatial_block[static_cast<std::size_t>(l)]));
      }
    }
    const auto [it, is_new] = hop.known.try_emplace(key_, 0);
    if (is_new) it->second = least_traffic(hop, rows);
    double traffic = it->second;
    for (const int d : lone_dims_) {
      traffic *= problem_.extent(d, rows[d], hop.child);
      for (int l = hop.child + 1; l < problem_.num_levels(); ++l) traffic *= problem_.factor(d, rows[d], problem_.temporal_block[static_cast<std::size_t>(l)]);
    }
    const bool forwards = problem_.parts.arch.level(hop.parent).forwarding;
    const double reads = forwards ? distinct_ : least_groups(hop, rows) * traffic * instances[static_cast<std::size_t>(hop.parent)];
    energy += reads * element_energy[2 * h] + traffic * instances[static_cast<std::size_t>(hop.child)] * element_energy[2 * h + 1];
  }
  return energy;
}

// Of one child, in its sliding ranks only, every lone rank one element wide.
double OverlapBound::least_traffic(const Hop& hop, const std::uint32_t* rows) const {
  const TensorSpec& spec = problem_.parts.workload.tensors()[static_cast<std::size_t>(tensor_)];
  std::vector<Rank> ranks;
  double tile = 1;
  for (const auto& terms : spec.ranks) {
    const bool slides = std::any_of(terms.begin(), terms.end(), [&](const Term& term) { return std::find(window_dims_.begin(), window_dims_.end(), term.dim) != window_dims_.end(); });
    if (!slides) continue;
    Rank rank{&terms, 1};
    for (const Term& term : terms) rank.extent += (static_cast<Count>(problem_.extent(term.dim, rows[term.dim], hop.child)) - 1) * term.coefficient;
    tile *= static_cast<double>(rank.extent);
    ranks.push_back(rank);
  }
  SetPath path(ranks, tile);
  for (int l = hop.child + 1; l < problem_.num_levels(); ++l) {
    const int block = problem_.temporal_block[static_cast<std::size_t>(l)];
    const detail::OrderRule& rule = problem_.parts.rules[static_cast<std::size_t>(block)];
    Slides slides;
    std::uint32_t inner = 0;  // loops of the fixed innermost part so far; then the free ones as well
    std::uint32_t all = 0;
    const auto append = [&](int dim, std::uint32_t inside) {
      const std::uint32_t factor = problem_.factor(dim, rows[dim], block);
      if (factor == 1 || std::find(window_dims_.begin(), window_dims_.end(), dim) == window_dims_.end()) return;
      const auto at = static_cast<std::size_t>(slides.count++);
      // Everything inside this block's loop, the lanes of the same level included.
      const int spatial = problem_.spatial_block[static_cast<std::size_t>(l)];
      const Count lanes = spatial < 0 ? 1 : problem_.factor(dim, rows[dim], spatial);
      const Count stride = problem_.extent(dim, rows[dim], l - 1) * lanes;
      slides.loop[at].bound = factor;
      for (std::size_t r = 0; r < ranks.size(); ++r) slides.loop[at].step[r] = stride * coefficient(*ranks[r].terms, dim);
      slides.inside[at] = inside;
      all |= 1U << at;
    };
    for (const std::uint8_t d : rule.inner) append(d, all);
    inner = all;
    for (const std::uint8_t d : rule.infix) append(d, inner);
    for (const std::uint8_t d : rule.outer) append(d, all);
    path.add(slides);
  }
  return path.traffic();
}

// Different tiles among the children below one parent, at least: along one rank, sums of n and m values take n + m - 1.
double OverlapBound::least_groups(const Hop& hop, const std::uint32_t* rows) const {
  double groups = 1;
  for (const auto& rank : problem_.parts.workload.tensors()[static_cast<std::size_t>(tensor_)].ranks) {
    double values = 1;
    for (const Term& term : rank) {
      double lanes = 1;
      for (int l = hop.child + 1; l <= hop.parent; ++l) {
        const int block = problem_.spatial_block[static_cast<std::size_t>(l)];
        if (block >= 0) lanes *= problem_.factor(term.dim, rows[term.dim], block);
      }
      values += lanes - 1;
    }
    groups *= values;
  }
  return groups;
}

}  // namespace quantloom::exact
