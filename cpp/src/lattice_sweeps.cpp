#include "lattice_sweeps.hpp"

#include <algorithm>

#include "quantities.hpp"

namespace quantloom::lattice {

Sweeps::Sweeps(const Problem& problem) : problem_(problem), irrelevant_{1} {
  const Window& window = problem.window;
  ranks_.resize(static_cast<std::size_t>(window.num_ranks()));
  steps_.resize(problem.dims.size());
  for (std::size_t d = 0; d < problem.dims.size(); ++d) {
    const LatticeDim& dim = problem.dims[d];
    if (window.is_irrelevant(d)) {
      std::vector<Count> products;
      for (const Count n : dim.divisors) {
        for (const Count m : irrelevant_) products.push_back(n * m);
      }
      std::sort(products.begin(), products.end());
      products.erase(std::unique(products.begin(), products.end()), products.end());
      irrelevant_ = std::move(products);
    }
    if (window.rank(d) < 0) continue;
    dims_.push_back(d);
    stride_[d] = static_cast<std::uint32_t>(codes_);
    codes_ *= dim.divisors.size();
    Rank& rank = ranks_[static_cast<std::size_t>(window.rank(d))];
    rank.dims.push_back(d);
    rank.stride[d] = rank.codes;
    rank.codes *= static_cast<std::uint32_t>(dim.divisors.size());
    steps_[d].resize(dim.divisors.size());
    for (std::size_t i = 0; i < dim.divisors.size(); ++i) {
      for (const std::uint8_t next : dim.multiples[i]) {
        const Count factor = dim.divisors[next] / dim.divisors[i];
        if (std::binary_search(dim.primes.begin(), dim.primes.end(), factor)) steps_[d][i].emplace_back(next, factor);
      }
    }
  }
}

void Sweeps::plan(const Lanes& lanes) {
  if (entries_ > kMostEntries) {
    std::erase_if(all_outside_, [](const auto& item) { return !item.second.lanes.empty(); });
    entries_ = 0;
  }
  const auto levels = static_cast<std::size_t>(problem_.num_levels());
  for (std::size_t c = 0; c < levels; ++c) {
    std::vector<Extents> crossed;
    std::vector<Count> key;
    for (std::size_t l = c; l < levels; ++l) {
      Extents here{};
      here.fill(1);
      Count all = 1;
      for (const std::size_t d : dims_) {
        here[d] = lanes[l][d];
        all *= here[d];
      }
      if (l > c && all > 1) {
        crossed.push_back(here);
        key.insert(key.end(), here.begin(), here.end());
      }
      stage_[c][l] = static_cast<std::uint8_t>(crossed.size());
    }
    Outside& outside = all_outside_[key];
    if (outside.tables.empty()) {
      outside.lanes = std::move(crossed);
      outside.tables.resize(codes_);
      for (std::size_t r = 0; r < ranks_.size(); ++r) outside.ranks[r].resize(ranks_[r].codes);
    }
    outside_[c] = &outside;
  }
}

std::uint32_t Sweeps::code(const Shape& shape) const noexcept {
  std::uint32_t out = 0;
  for (const std::size_t d : dims_) out += shape[d] * stride_[d];
  return out;
}

Shape Sweeps::shape(std::uint32_t code) const noexcept {
  Shape out{};
  for (const std::size_t d : dims_)
    out[d] = static_cast<std::uint8_t>(code / stride_[d] % problem_.dims[d].divisors.size());
  return out;
}

// Of the largest that is no larger.
std::size_t Sweeps::number(Count irrelevant) const noexcept {
  return static_cast<std::size_t>(std::upper_bound(irrelevant_.begin(), irrelevant_.end(), irrelevant) -
                                  irrelevant_.begin()) -
         1;
}

double Sweeps::least(int level, std::uint32_t tile, Count irrelevant) {
  return table(outside(level), tile).start[number(irrelevant)];
}

double Sweeps::least_more(int level, std::uint32_t tile, int outer, std::uint32_t shape, Count irrelevant) {
  const std::size_t stage = stage_[static_cast<std::size_t>(level)][static_cast<std::size_t>(outer)];
  return table(outside(level), tile).more[(stage * codes_ + shape) * irrelevant_.size() + number(irrelevant)];
}

const Sweeps::Table& Sweeps::table(Outside& outside, std::uint32_t tile) {
  auto& out = outside.tables[tile];
  if (!out) {
    out = tabulate(outside, tile);
    entries_ += out->more.size();
  }
  return *out;
}

// How far the loops from the tile's extent to another one can have moved it: [stage][index of the extent].
std::vector<std::vector<std::vector<Count>>> Sweeps::list_advances(const Outside& outside, std::size_t d,
                                                                   std::uint8_t tile) const {
  const LatticeDim& dim = problem_.dims[d];
  const std::size_t stages = outside.lanes.size() + 1;
  std::vector<std::vector<std::vector<Count>>> out(stages, std::vector<std::vector<Count>>(dim.divisors.size()));
  Count beyond = 1;
  for (const Extents& lanes : outside.lanes) beyond *= lanes[d];
  out[0][tile].push_back(0);
  for (std::size_t stage = 0; stage < stages; ++stage) {
    const Count lanes = stage + 1 < stages ? outside.lanes[stage][d] : 1;
    for (std::size_t i = 0; i < dim.divisors.size(); ++i) {
      auto& here = out[stage][i];
      std::sort(here.begin(), here.end());
      here.erase(std::unique(here.begin(), here.end()), here.end());
      for (const auto& [next, factor] : steps_[d][i]) {
        if (dim.bound % (dim.divisors[next] * beyond) != 0) continue;
        for (const Count moved : here) out[stage][next].push_back(moved + dim.divisors[next] - dim.divisors[i]);
      }
      if (stage + 1 == stages || here.empty()) continue;
      auto& there = out[stage + 1][dim.index(dim.divisors[i] * lanes)];
      there.insert(there.end(), here.begin(), here.end());
    }
    beyond /= lanes;
  }
  return out;
}

const Sweeps::Overlaps& Sweeps::overlaps(Outside& outside, std::size_t rank, const Shape& tile) const {
  std::uint32_t code = 0;
  for (const std::size_t d : ranks_[rank].dims) code += tile[d] * ranks_[rank].stride[d];
  auto& out = outside.ranks[rank][code];
  if (!out) out = find_overlaps(outside, ranks_[rank], tile);
  return *out;
}

std::unique_ptr<Sweeps::Overlaps> Sweeps::find_overlaps(const Outside& outside, const Rank& rank,
                                                        const Shape& tile) const {
  const std::size_t stages = outside.lanes.size() + 1;
  auto out = std::make_unique<Overlaps>();
  out->still.assign(stages * rank.codes, 0);
  Count extent = 1;
  std::vector<std::vector<std::vector<std::vector<Count>>>> advances;
  for (const std::size_t d : rank.dims) {
    out->moving[d].assign(stages * rank.codes, 0);
    extent += (problem_.dims[d].divisors[tile[d]] - 1) * problem_.window.coefficient(d);
    advances.push_back(list_advances(outside, d, tile[d]));
  }
  const auto overlap = [&](Count move) { return std::max<Count>(0, extent - (move < 0 ? -move : move)); };
  for (std::size_t stage = 0; stage < stages; ++stage) {
    for (std::uint32_t code = 0; code < rank.codes; ++code) {
      std::vector<Count> wrapped(1, 0);
      for (std::size_t i = 0; i < rank.dims.size(); ++i) {
        const std::size_t d = rank.dims[i];
        std::vector<Count> sums;
        for (const Count moved : advances[i][stage][code / rank.stride[d] % problem_.dims[d].divisors.size()]) {
          for (const Count other : wrapped) sums.push_back(other + moved * problem_.window.coefficient(d));
        }
        std::sort(sums.begin(), sums.end());
        sums.erase(std::unique(sums.begin(), sums.end()), sums.end());
        wrapped = std::move(sums);
      }
      const std::size_t at = stage * rank.codes + code;
      for (const Count far : wrapped) {
        out->still[at] = std::max(out->still[at], overlap(far));
        for (const std::size_t d : rank.dims) {
          const Count step = problem_.window.coefficient(d) *
                             problem_.dims[d].divisors[code / rank.stride[d] % problem_.dims[d].divisors.size()];
          out->moving[d][at] = std::max(out->moving[d][at], overlap(step - far));
        }
      }
    }
  }
  return out;
}

// From the outermost shape inwards.
std::unique_ptr<Sweeps::Table> Sweeps::tabulate(Outside& outside, std::uint32_t tile) const {
  const std::size_t counts = irrelevant_.size();
  const std::size_t stages = outside.lanes.size() + 1;
  const Shape inner = shape(tile);
  std::vector<const Overlaps*> overlaps_of;
  double whole = 1;
  for (std::size_t r = 0; r < ranks_.size(); ++r) {
    overlaps_of.push_back(&overlaps(outside, r, inner));
    Count extent = 1;
    for (const std::size_t d : ranks_[r].dims)
      extent += (problem_.dims[d].divisors[inner[d]] - 1) * problem_.window.coefficient(d);
    whole *= static_cast<double>(extent);
  }
  auto out = std::make_unique<Table>();
  out->more.assign(stages * codes_ * counts, kInfinity);
  out->start.assign(counts, kInfinity);
  std::vector<std::uint32_t> codes(1, 0);  // of the tile's multiples
  for (const std::size_t d : dims_) {
    std::vector<std::uint32_t> longer;
    for (const std::uint32_t code : codes) {
      for (const std::uint8_t index : problem_.dims[d].multiples[inner[d]]) longer.push_back(code + index * stride_[d]);
    }
    codes = std::move(longer);
  }
  std::sort(codes.begin(), codes.end(), std::greater<>());
  Extents crossed{};  // lanes up to the stage
  Extents beyond{};
  crossed.fill(1);
  beyond.fill(1);
  for (const Extents& lanes : outside.lanes) {
    for (const std::size_t d : dims_) crossed[d] *= lanes[d];
  }
  std::vector<double> best(counts);
  for (std::size_t stage = stages; stage-- > 0;) {
    const Extents* lanes = stage + 1 < stages ? &outside.lanes[stage] : nullptr;
    for (const std::uint32_t code : codes) {
      const Shape now = shape(code);
      double outer = 1;  // temporal loops that remain
      bool is_valid = true;
      bool is_start = true;
      for (const std::size_t d : dims_) {
        const LatticeDim& dim = problem_.dims[d];
        const Count extent = dim.divisors[now[d]];
        const Count least = dim.divisors[inner[d]] * crossed[d];
        is_valid = is_valid && extent % least == 0 && dim.bound % (extent * beyond[d]) == 0;
        if (!is_valid) break;
        is_start = is_start && extent == least;
        const Count loops = dim.bound / (extent * beyond[d]);
        outer *= static_cast<double>(loops);
      }
      if (!is_valid) continue;
      std::array<double, kMaxWindowRanks> still{};
      std::array<std::uint32_t, kMaxWindowRanks> at{};
      for (std::size_t r = 0; r < ranks_.size(); ++r) {
        at[r] = static_cast<std::uint32_t>(stage * ranks_[r].codes);
        for (const std::size_t d : ranks_[r].dims) at[r] += now[d] * ranks_[r].stride[d];
        still[r] = static_cast<double>(overlaps_of[r]->still[at[r]]);
      }
      double* more = out->more.data() + (stage * codes_ + code) * counts;
      std::fill(best.begin(), best.end(), kInfinity);
      if (outer == 1) best[0] = 0;
      for (const std::size_t d : dims_) {
        const auto moved = static_cast<std::size_t>(problem_.window.rank(d));
        double overlap = static_cast<double>(overlaps_of[moved]->moving[d][at[moved]]);
        for (std::size_t r = 0; r < ranks_.size(); ++r) {
          if (r != moved) overlap *= still[r];
        }
        for (const auto& [next, factor] : steps_[d][now[d]]) {
          const double* from = more + static_cast<std::size_t>(next - now[d]) * stride_[d] * counts;
          if (from[0] == kInfinity) continue;
          const double added =
              static_cast<double>(factor - 1) * (whole - overlap) * outer / static_cast<double>(factor);
          for (std::size_t i = 0; i < counts; ++i)
            best[i] = std::min(best[i], added * static_cast<double>(irrelevant_[i]) + from[i]);
        }
      }
      if (is_start && outer > 1) {
        for (std::size_t i = 0; i < counts; ++i) out->start[i] = std::min(out->start[i], whole + best[i]);
      }
      if (lanes != nullptr) {
        std::uint32_t across = 0;
        for (const std::size_t d : dims_) {
          const LatticeDim& dim = problem_.dims[d];
          across += dim.index(dim.divisors[now[d]] * (*lanes)[d]) * stride_[d];
        }
        const double* from = out->more.data() + ((stage + 1) * codes_ + across) * counts;
        for (std::size_t i = 0; i < counts; ++i) best[i] = std::min(best[i], from[i]);
      }
      double overlap = 1;
      for (std::size_t r = 0; r < ranks_.size(); ++r) overlap *= still[r];
      const double once = best[0];
      for (std::size_t i = 0; i < counts; ++i) {
        const double apart = static_cast<double>(irrelevant_[i] - 1) * (whole - overlap) * outer + once;
        more[i] = std::min(best[i], apart);
      }
    }
    if (stage == 0) break;
    for (const std::size_t d : dims_) {
      crossed[d] /= outside.lanes[stage - 1][d];
      beyond[d] *= outside.lanes[stage - 1][d];
    }
  }
  // No loops over dims with windows: the one that moves the tile is alone in its rank.
  if (out->start[0] == kInfinity) {
    for (std::size_t i = 0; i < counts; ++i) out->start[i] = whole * static_cast<double>(irrelevant_[i]);
  }
  return out;
}

}  // namespace quantloom::lattice
