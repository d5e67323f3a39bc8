#include <algorithm>
#include <utility>

#include "mapspace_parts.hpp"
#include "quantloom/mapspace.hpp"

namespace quantloom {
namespace detail {

class WalkState {
 public:
  WalkState(const MapspaceParts& parts, Enumeration enumeration, std::uint64_t first, std::uint64_t count)
      : storage(parts),
        parts_(parts),
        enumeration_(enumeration),
        lists_(list_factorizations(parts, "walk")),
        orders_(parts.rules.size()),
        permutation_(parts.rules.size()),
        split_(parts.rules.size()),
        bypass_(parts.open.size()) {
    const std::uint64_t total = walkable_factorizations(parts, "walk");
    next_factorization_ = std::min(first, total);
    end_factorization_ = count > total - next_factorization_ ? total : next_factorization_ + count;
  }

  bool next() noexcept {
    if (started_ && next_order()) return true;
    started_ = true;
    while (next_factorization_ < end_factorization_ && !should_stop()) {
      load_factorization(next_factorization_++);
      if (first_order()) return true;
    }
    return false;
  }

  void stop_on(std::stop_token stop) noexcept { stop_ = std::move(stop); }
  void skip_bypasses() noexcept { bypasses_left_ = false; }
  void skip_factorization() noexcept { started_ = false; }
  [[nodiscard]] std::uint64_t factorization() const noexcept { return next_factorization_ - 1; }

  ViewStorage storage;

 private:
  bool should_stop() noexcept { return (++steps_ & 0xFF) == 0 && stop_.stop_requested(); }

  void load_factorization(std::uint64_t index) noexcept {
    const std::size_t blocks = parts_.rules.size();
    const std::size_t dims = lists_.size();
    for (std::size_t d = 0; d < dims; ++d) {
      const std::uint64_t size = parts_.factors[d].size();
      const std::uint32_t* row = &lists_[d][index % size * blocks];
      index /= size;
      for (std::size_t b = 0; b < blocks; ++b) storage.factors[b * dims + d] = row[b];
    }
    for (std::size_t b = 0; b < blocks; ++b) {
      std::uint32_t units = 0;
      for (std::size_t d = 0; d < dims; ++d)
        units |= static_cast<std::uint32_t>(storage.factors[b * dims + d] == 1) << d;
      orders_[b] = make_orders(parts_.rules[b], units, enumeration_);
    }
  }

  bool first_order() noexcept {
    for (std::size_t b = 0; b < orders_.size(); ++b) {
      set_split(b, 0);
      set_permutation(b, 0);
    }
    reset_bypass();
    if (enumeration_ == Enumeration::distinct && !any_within_fanout()) return false;
    return settle_fanout() || next_order_and_split();
  }

  // Spares trying every order of a factorization that is too wide in any order.
  bool any_within_fanout() const noexcept {
    for (std::size_t b = 0; b < orders_.size(); ++b) {
      const std::uint32_t* factors = &storage.factors[b * lists_.size()];
      if (parts_.rules[b].spatial && count_within_fanout(parts_.rules[b], orders_[b], factors) == 0) return false;
    }
    return true;
  }

  bool next_order() noexcept { return next_bypass() || next_order_and_split(); }

  bool next_bypass() noexcept {
    if (!bypasses_left_) return false;
    for (std::size_t i = 0; i < bypass_.size(); ++i) {
      const OpenPair& pair = parts_.open[i];
      storage.keep[static_cast<std::size_t>(pair.level)] ^= 1U << pair.tensor;
      bypass_[i] = !bypass_[i];
      if (bypass_[i]) return true;
    }
    return false;  // all bits wrapped to 0 again
  }

  void reset_bypass() noexcept {
    std::copy(parts_.kept.begin(), parts_.kept.end(), storage.keep.begin());
    std::fill(bypass_.begin(), bypass_.end(), false);
    bypasses_left_ = true;
  }

  bool next_order_and_split() noexcept {
    while (!should_stop() && advance_order_and_split()) {
      if (settle_fanout()) {
        reset_bypass();
        return true;
      }
    }
    return false;
  }

  bool advance_order_and_split() noexcept {
    for (std::size_t b = 0; b < orders_.size(); ++b) {
      if (split_[b] + 1 < orders_[b].splits()) {
        set_split(b, split_[b] + 1);
        return true;
      }
      set_split(b, 0);
    }
    for (std::size_t b = 0; b < orders_.size(); ++b) {
      if (permutation_[b] + 1 < orders_[b].permutations()) {
        set_permutation(b, permutation_[b] + 1);
        return true;
      }
      set_permutation(b, 0);
    }
    return false;
  }

  void set_split(std::size_t b, std::uint64_t split) noexcept {
    split_[b] = split;
    storage.split[b] = static_cast<std::uint8_t>(orders_[b].split_first + split);
  }

  void set_permutation(std::size_t b, std::uint64_t permutation) noexcept {
    permutation_[b] = permutation;
    orders_[b].write(permutation, &storage.order[b * lists_.size()]);
  }

  // True if this order and split is to be shown.
  bool settle_fanout() noexcept {
    const std::size_t dims = lists_.size();
    storage.view.fits_fanout = true;
    for (std::size_t b = 0; b < orders_.size() && storage.view.fits_fanout; ++b) {
      if (!parts_.rules[b].spatial) continue;
      storage.view.fits_fanout =
          fits_fanout(parts_.rules[b], &storage.order[b * dims], storage.split[b], &storage.factors[b * dims]);
    }
    return storage.view.fits_fanout || enumeration_ != Enumeration::distinct;
  }

  const MapspaceParts& parts_;
  Enumeration enumeration_;
  std::vector<std::vector<std::uint32_t>> lists_;  // [dim]: rows of a factor per block
  std::vector<BlockOrders> orders_;                // [block]
  std::vector<std::uint64_t> permutation_;         // [block]
  std::vector<std::uint64_t> split_;               // [block], from the first allowed one
  std::vector<char> bypass_;                       // [open pair]: kept
  std::uint64_t next_factorization_ = 0;
  std::uint64_t end_factorization_ = 0;
  std::stop_token stop_;
  std::uint64_t steps_ = 0;
  bool started_ = false;
  bool bypasses_left_ = true;
};

}  // namespace detail

MappingWalker::MappingWalker(const Mapspace& space, Enumeration enumeration, std::uint64_t first_factorization,
                             std::uint64_t count)
    : parts_(space.parts_),
      state_(std::make_unique<detail::WalkState>(*parts_, enumeration, first_factorization, count)) {}
MappingWalker::~MappingWalker() = default;
MappingWalker::MappingWalker(MappingWalker&&) noexcept = default;
MappingWalker& MappingWalker::operator=(MappingWalker&&) noexcept = default;

bool MappingWalker::next() noexcept { return state_->next(); }
void MappingWalker::stop_on(std::stop_token stop) noexcept { state_->stop_on(std::move(stop)); }
void MappingWalker::skip_bypasses() noexcept { state_->skip_bypasses(); }
void MappingWalker::skip_factorization() noexcept { state_->skip_factorization(); }
const MappingView& MappingWalker::view() const noexcept { return state_->storage.view; }
std::uint64_t MappingWalker::factorization() const noexcept { return state_->factorization(); }

}  // namespace quantloom
