// Whether a level holds partial sums of the output depends on the order of loops (docs/model.md section 6.8): a tile comes back
// if, outside of the child that let go of it, some loop over a reduction dim lies outside of some loop over a dim of the
// output. With B the innermost level outside of the child that has a loop over a dim of the output, that is so if there is a
// reduction loop further out than B, and otherwise it is decided by the order of B's own loops. So a factorization's orders
// fall into a few classes, whose sizes are products of factorials, and all orders of a class have the same tiles.
#include "mapspace_count_default.hpp"

#include <bit>
#include <vector>

namespace quantloom::detail {
namespace {

// States of a level: the output is bypassed, kept as complete sums, or as partial ones, by accumulator.
constexpr std::size_t kBypassed = 0;
constexpr std::size_t kComplete = 1;
constexpr std::size_t kPartial = 2;

// One choice of the levels that keep the output.
struct Chain {
  std::uint32_t kept = 0;
  std::size_t accumulator = 0;
};

// The orders of one level's loops by whether reduction loops all lie inside of the others.
struct Event {
  int level = 0;
  Wide orders = 1;    // all of them
  Wide stays_in = 0;  // reduction loops inside: the tile does not come back
};

class DefaultCounter : public CountWalk {
 public:
  DefaultCounter(const CountPlan& plan, const std::stop_token& stop, std::atomic<bool>& stopped) : CountWalk(plan, stop, stopped) {
    const MapspaceParts& parts = plan.parts;
    const int levels = parts.arch.num_levels();
    const auto output = static_cast<std::size_t>(plan.output);
    std::uint32_t open = 0;
    std::uint32_t kept = 0;
    for (int l = 0; l < levels; ++l) {
      const auto at = static_cast<std::size_t>(l);
      const Keep keep = parts.constraints.keep[at][output];
      open |= static_cast<std::uint32_t>(keep == Keep::open) << l;
      kept |= static_cast<std::uint32_t>(keep == Keep::yes) << l;
      others_.push_back(keep == Keep::open ? plan.bypasses[at] / 2 : plan.bypasses[at]);
      joins_ |= static_cast<std::uint32_t>(parts.arch.level(l).reduction) << l;
    }
    for (std::uint32_t chosen = 0;; chosen = (chosen - open) & open) {  // all subsets of open
      const std::uint32_t levels_kept = kept | chosen;
      const int innermost = levels_kept == 0 ? levels - 1 : std::countr_zero(levels_kept);
      chains_.push_back({levels_kept, static_cast<std::size_t>(plan.accumulator_of[static_cast<std::size_t>(innermost)])});
      if (chosen == open) break;
    }
    block_of_.assign(static_cast<std::size_t>(levels), 0);
    for (std::size_t b = 0; b < parts.constraints.blocks.size(); ++b) {
      if (!parts.constraints.blocks[b].spatial) block_of_[static_cast<std::size_t>(parts.constraints.blocks[b].level)] = b;
    }
    for (const DimTable& table : plan.tables) is_relevant_.push_back(parts.workload.is_relevant(plan.output, table.dim) ? 1 : 0);
    loops_of_.resize(static_cast<std::size_t>(parts.num_dims()));
    const std::size_t states = kPartial + static_cast<std::size_t>(plan.num_accumulators);
    for (const CheckedLevel& level : plan.levels) choices_.emplace_back(level.packings.size() * states);
    num_states_ = states;
  }

 private:
  // How many choices of what is kept of the other tensors fit a level, and how many are too large for it.
  struct Choices {
    std::uint64_t factorization = 0;  // for which they are known
    std::uint64_t fits = 0;
    std::uint64_t over = 0;
  };

  void begin_combination() override {
    spread_ = 0;
    for (std::size_t s = 0; s < plan().spatial_blocks.size(); ++s) {
      const int level = plan().parts.constraints.blocks[plan().spatial_blocks[s]].level;
      for (const DimTable& table : plan().tables) {
        const bool reduces = !plan().parts.workload.is_relevant(plan().output, table.dim);
        if (reduces && fanout().factors[s][static_cast<std::size_t>(table.dim)] > 1) spread_ |= 1U << level;
      }
    }
  }

  void count_factorization(std::uint64_t loops) override {
    ++factorization_;
    moving_ = reducing_ = 0;
    for (std::size_t d = 0; d < plan().tables.size(); ++d) {
      const std::uint32_t levels = plan().tables[d].temporal_levels[entry(d)];
      loops_of_[static_cast<std::size_t>(plan().tables[d].dim)] = levels;
      (is_relevant_[d] != 0 ? moving_ : reducing_) |= levels;
    }
    const Wide orders = temporal_orders(loops);
    const Wide within = multiply(fanout().within, orders);
    const Wide outside = multiply(fanout().pairs, orders) - within;
    for (std::size_t c = 0; c < plan().classes.size(); ++c) add(totals_of(c).fanout, outside);
    for (const Chain& chain : chains_) count_chain(chain, within);
  }

  // The levels that hold partial sums whatever the order, and those where the order of another level's loops decides.
  void count_chain(const Chain& chain, Wide within) {
    std::uint32_t partial = 0;
    events_.clear();
    std::array<int, kMaxLevels> decided_by;
    decided_by.fill(-1);
    int child = -1;
    for (std::uint32_t left = chain.kept; left != 0; left &= left - 1) {
      const int level = std::countr_zero(left);
      const std::uint32_t outside_level = ~0U << level << 1U;
      const std::uint32_t between = (child < 0 ? ~0U : ~0U << child << 1U) & ~outside_level;
      if ((spread_ & outside_level) != 0 || (spread_ & between & ~joins_) != 0 || returns(child, decided_by[static_cast<std::size_t>(level)])) {
        partial |= 1U << level;
        decided_by[static_cast<std::size_t>(level)] = -1;
      }
      child = level;
    }
    Wide all = 1;
    for (const Event& event : events_) all *= event.orders;
    const Wide rest = within / all;
    for (std::uint32_t happens = 0; happens < 1U << events_.size(); ++happens) {
      Wide times = rest;
      for (std::size_t e = 0; e < events_.size(); ++e) {
        times *= (happens >> e & 1U) != 0 ? events_[e].orders - events_[e].stays_in : events_[e].stays_in;
      }
      std::uint32_t holds = partial;
      for (std::size_t l = 0; l < others_.size(); ++l) {
        if (decided_by[l] >= 0 && (happens >> decided_by[l] & 1U) != 0) holds |= 1U << l;
      }
      if (times > 0) count_orders(chain, holds, times);
    }
  }

  // Whether tiles that the child (-1: the arithmetic units) lets go of come back to it. If that depends on the order of some
  // level's loops, false, and event is the number of the event.
  bool returns(int child, int& event) {
    if (child < 0) return reducing_ != 0;
    const std::uint32_t outside = ~0U << child << 1U;
    if ((moving_ & outside) == 0) return false;
    const int level = std::countr_zero(moving_ & outside);
    if ((reducing_ & outside & (~0U << level << 1U)) != 0) return true;
    if ((reducing_ >> level & 1U) == 0) return false;
    for (std::size_t e = 0; e < events_.size(); ++e) {
      if (events_[e].level == level) {
        event = static_cast<int>(e);
        return false;
      }
    }
    const Event found = order_event(level);
    if (found.stays_in == 0) return true;
    if (found.stays_in == found.orders) return false;
    event = static_cast<int>(events_.size());
    events_.push_back(found);
    return false;
  }

  [[nodiscard]] Event order_event(int level) const {
    const OrderRule& rule = plan().parts.rules[block_of_[static_cast<std::size_t>(level)]];
    const auto is_loop = [&](std::uint8_t dim) { return (loops_of_[dim] >> level & 1U) != 0; };
    const auto reduces = [&](std::uint8_t dim) { return !plan().parts.workload.is_relevant(plan().output, dim); };
    bool seen_moving = false;
    bool possible = true;
    const auto pass = [&](const std::vector<std::uint8_t>& dims) {
      for (const std::uint8_t dim : dims) {
        if (!is_loop(dim)) continue;
        possible = possible && !(seen_moving && reduces(dim));
        seen_moving = seen_moving || !reduces(dim);
      }
    };
    pass(rule.inner);
    std::size_t reducing = 0;
    std::size_t moving = 0;
    for (const std::uint8_t dim : rule.infix) {
      if (is_loop(dim)) ++(reduces(dim) ? reducing : moving);
    }
    possible = possible && !(seen_moving && reducing > 0);
    seen_moving = seen_moving || moving > 0;
    pass(rule.outer);
    return {level, kFactorial[reducing + moving], possible ? Wide{kFactorial[reducing]} * kFactorial[moving] : 0};
  }

  // Adds `times` orders under which the levels in `holds` hold partial sums.
  void count_orders(const Chain& chain, std::uint32_t holds, Wide times) {
    std::array<std::size_t, kMaxLevels> state;
    for (std::size_t l = 0; l < others_.size(); ++l) {
      const bool kept = (chain.kept >> l & 1U) != 0;
      state[l] = !kept ? kBypassed : (holds >> l & 1U) != 0 ? kPartial + chain.accumulator : kComplete;
    }
    for (std::size_t c = 0; c < plan().classes.size(); ++c) {
      const auto& packing = plan().classes[c];
      Wide fitting = times;
      std::size_t checked = 0;
      for (std::size_t l = 0; l < others_.size() && fitting > 0; ++l) {
        if (checked == plan().levels.size() || plan().levels[checked].level != l) {
          fitting = multiply(fitting, others_[l]);
          continue;
        }
        const Choices& choices = choices_at(checked, packing[checked], state[l]);
        ++checked;
        if (const Wide fails = others_[l] - choices.fits; fails > 0) {
          Wide times_outside = fitting;
          for (std::size_t o = l + 1; o < others_.size(); ++o) times_outside = multiply(times_outside, others_[o]);
          add(totals_of(c).capacity[l], multiply(times_outside, choices.over));
          add(totals_of(c).utilization[l], multiply(times_outside, fails - choices.over));
        }
        fitting = multiply(fitting, choices.fits);
      }
      add(totals_of(c).valid, fitting);
    }
  }

  const Choices& choices_at(std::size_t checked, std::size_t packing, std::size_t state) {
    Choices& out = choices_[checked][packing * num_states_ + state];
    if (out.factorization == factorization_) return out;
    const CheckedLevel& level = plan().levels[checked];
    const std::vector<WordRate>& rates = level.packings[packing];
    const std::size_t pairs = level.pair_end - level.pair_begin;
    Count kept = 0;
    std::array<Count, kMaxTensors> open{};
    unsigned num_open = 0;
    for (std::size_t p = 0; p < pairs; ++p) {
      const CheckedPair& pair = plan().pairs[level.pair_begin + p];
      if (pair.tensor == plan().output) {
        if (state == kBypassed) continue;
        const WordRate rate = state == kComplete ? rates[p] : rates[pairs + state - kPartial];
        kept = saturating_add(kept, packed_words(tile(level.pair_begin + p), rate));
        continue;
      }
      const Count words = packed_words(tile(level.pair_begin + p), rates[p]);
      if (pair.open) {
        open[num_open++] = words;
      } else {
        kept = saturating_add(kept, words);
      }
    }
    out = {factorization_, 0, 0};
    for (unsigned set = 0; set < 1U << num_open; ++set) {
      Count need = kept;
      for (unsigned t = 0; t < num_open; ++t) need = (set >> t & 1U) != 0 ? saturating_add(need, open[t]) : need;
      out.fits += need <= level.capacity && need >= level.min_words ? 1 : 0;
      out.over += need > level.capacity ? 1 : 0;
    }
    return out;
  }

  std::vector<Chain> chains_;
  std::vector<Wide> others_;             // [level]: choices of what is kept of the other tensors
  std::vector<std::size_t> block_of_;    // [level]: its temporal block
  std::vector<char> is_relevant_;        // [table]: to the output
  std::uint32_t joins_ = 0;              // levels whose network adds up sums on their way
  std::uint32_t spread_ = 0;             // levels with spatial loops over reduction dims
  std::uint32_t moving_ = 0;             // levels with temporal loops over dims of the output
  std::uint32_t reducing_ = 0;           // levels with temporal loops over other dims
  std::vector<std::uint32_t> loops_of_;  // [dim]: levels of its temporal loops
  std::vector<Event> events_;
  std::vector<std::vector<Choices>> choices_;  // [checked level][packing * states + state]
  std::size_t num_states_ = 0;
  std::uint64_t factorization_ = 0;  // counts the calls: what is known of an earlier one is stale
};

}  // namespace

std::unique_ptr<CountWalk> make_default_counter(const CountPlan& plan, const std::stop_token& stop, std::atomic<bool>& stopped) {
  return std::make_unique<DefaultCounter>(plan, stop, stopped);
}

}  // namespace quantloom::detail
