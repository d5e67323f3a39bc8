#include "exact_skeleton.hpp"

#include <algorithm>

namespace quantloom::exact {
namespace {

using Mask = std::uint32_t;

bool is_subset(Mask a, Mask b) { return (a & ~b) == 0; }

// One block's share of a skeleton, for the tensors that have an open run when the block begins.
struct Option {
  Mask units = 0;
  Mask passing = 0;                     // tensors whose run goes on beyond the block
  std::array<Mask, kMaxTensors> run{};  // [tensor]: dims of the block in its run
};

// a serves every factorization that b serves, with runs at least as long.
bool covers(const Option& a, const Option& b) {
  if (!is_subset(a.units, b.units) || !is_subset(b.passing, a.passing)) return false;
  for (std::size_t t = 0; t < kMaxTensors; ++t) {
    if (!is_subset(b.run[t], a.run[t])) return false;
  }
  return true;
}

class BlockOptions {
 public:
  BlockOptions(const Problem& problem, int block) : problem_(problem), rule_(problem.parts.rules[static_cast<std::size_t>(block)]) {
    for (int d = 0; d < problem.parts.num_dims(); ++d) {
      for (std::uint32_t r = 0; r < problem.num_rows(d); ++r) {
        (problem.factor(d, r, block) > 1 ? can_loop_ : can_be_unit_) |= 1U << d;
      }
    }
  }

  [[nodiscard]] std::vector<Option> list(Mask open) {
    out_.clear();
    std::vector<std::vector<int>> classes = infix_classes(open);
    std::sort(classes.begin(), classes.end());
    do {
      order_.assign(rule_.inner.begin(), rule_.inner.end());
      for (const auto& dims : classes) order_.insert(order_.end(), dims.begin(), dims.end());
      order_.insert(order_.end(), rule_.outer.begin(), rule_.outer.end());
      std::erase_if(order_, [&](int d) { return (can_loop_ >> d & 1U) == 0; });
      extend(0, open, Option{});
    } while (std::next_permutation(classes.begin(), classes.end()));
    return out_;
  }

 private:
  // Dims that are free to move, by the set of open tensors they are irrelevant to: only the order of these sets counts,
  // because bringing equal dims together shortens no run.
  [[nodiscard]] std::vector<std::vector<int>> infix_classes(Mask open) const {
    std::vector<std::pair<Mask, std::vector<int>>> found;
    for (const int d : rule_.infix) {
      if ((can_loop_ >> d & 1U) == 0) continue;
      const Mask key = irrelevant_to(d) & open;
      const auto it = std::find_if(found.begin(), found.end(), [&](const auto& entry) { return entry.first == key; });
      if (it == found.end()) {
        found.push_back({key, {d}});
      } else {
        it->second.push_back(d);
      }
    }
    std::vector<std::vector<int>> out;
    out.reserve(found.size());
    for (auto& [key, dims] : found) out.push_back(std::move(dims));
    return out;
  }

  [[nodiscard]] Mask irrelevant_to(int dim) const {
    Mask out = 0;
    for (int t = 0; t < problem_.num_tensors(); ++t) out |= static_cast<Mask>(problem_.is_irrelevant(t, dim)) << t;
    return out;
  }

  // Walks outwards from position i with the runs of `open` unbroken so far. A dim that would end runs either does so or
  // is forced to 1; one that ends none need not be forced.
  void extend(std::size_t i, Mask open, Option option) {
    if (open == 0 || i == order_.size()) {
      option.passing = open;
      add(option);
      return;
    }
    const int dim = order_[i];
    const Mask staying = open & irrelevant_to(dim);
    if (staying != open && (can_be_unit_ >> dim & 1U) != 0) {
      Option forced = option;
      forced.units |= 1U << dim;
      extend(i + 1, open, forced);
    }
    for (int t = 0; t < problem_.num_tensors(); ++t) {
      if ((staying >> t & 1U) != 0) option.run[static_cast<std::size_t>(t)] |= 1U << dim;
    }
    extend(i + 1, staying, option);
  }

  void add(const Option& option) {
    for (const Option& known : out_) {
      if (covers(known, option)) return;
    }
    std::erase_if(out_, [&](const Option& known) { return covers(option, known); });
    out_.push_back(option);
  }

  const Problem& problem_;
  const detail::OrderRule& rule_;
  Mask can_loop_ = 0;
  Mask can_be_unit_ = 0;
  std::vector<int> order_;
  std::vector<Option> out_;
};

class Builder {
 public:
  Builder(const Problem& problem, const std::vector<Link>& links) : problem_(problem), links_(links) {
    for (const int b : problem.temporal_block) blocks_.emplace_back(problem, b);
    current_.units.assign(static_cast<std::size_t>(problem.num_blocks()), 0);
    current_.runs.assign(links.size() * static_cast<std::size_t>(problem.num_blocks()), 0);
  }

  std::vector<Skeleton> build() {
    walk(1, 0);
    return std::move(out_);
  }

 private:
  // open: links whose run reached the temporal block of this level. In the innermost block no run can be open.
  void walk(int level, std::uint64_t open) {
    if (level >= problem_.num_levels()) {
      if (std::find(out_.begin(), out_.end(), current_) == out_.end()) out_.push_back(current_);
      return;
    }
    Mask tensors = 0;
    for (std::size_t i = 0; i < links_.size(); ++i) {
      if (links_[i].child == level - 1) open |= std::uint64_t{1} << i;
      if ((open >> i & 1U) != 0) tensors |= 1U << links_[i].tensor;
    }
    const int block = problem_.temporal_block[static_cast<std::size_t>(level)];
    for (const Option& option : blocks_[static_cast<std::size_t>(level)].list(tensors)) {
      std::uint64_t passing = 0;
      for (std::size_t i = 0; i < links_.size(); ++i) {
        const bool is_open = (open >> i & 1U) != 0;
        const auto t = static_cast<std::size_t>(links_[i].tensor);
        run(i, block) = is_open ? option.run[t] : 0;
        if (is_open && (option.passing >> t & 1U) != 0) passing |= std::uint64_t{1} << i;
      }
      current_.units[static_cast<std::size_t>(block)] = option.units;
      walk(level + 1, passing);
    }
    current_.units[static_cast<std::size_t>(block)] = 0;
    for (std::size_t i = 0; i < links_.size(); ++i) run(i, block) = 0;
  }

  Mask& run(std::size_t link, int block) {
    return current_.runs[link * static_cast<std::size_t>(problem_.num_blocks()) + static_cast<std::size_t>(block)];
  }

  const Problem& problem_;
  const std::vector<Link>& links_;
  std::vector<BlockOptions> blocks_;  // [level]
  Skeleton current_;
  std::vector<Skeleton> out_;
};

}  // namespace

std::vector<Skeleton> list_skeletons(const Problem& problem, const std::vector<Link>& links) {
  return Builder(problem, links).build();
}

}  // namespace quantloom::exact
