#include "packing.hpp"

#include <algorithm>
#include <bit>
#include <limits>

namespace quantloom {
namespace {

// The reduction of one output: how many products it sums up; at most, where its ranks are sums: of each, all dims but the
// largest may be chosen.
Count reduction_size(const Workload& workload, int output) {
  Count size = 1;
  for (int d = 0; d < workload.num_dims(); ++d) {
    if (!workload.is_relevant(output, d)) size = saturating_mul(size, workload.bound(d));
  }
  for (const auto& rank : workload.tensors()[static_cast<std::size_t>(output)].ranks) {
    Count largest = 1;
    for (const Term& term : rank) {
      const Count bound = workload.bound(term.dim);
      size = saturating_mul(size, std::min(bound, largest));
      largest = std::max(bound, largest);
    }
  }
  return size;
}

Count saturate(unsigned __int128 value) {
  return value >= static_cast<unsigned __int128>(kSaturated) ? kSaturated : static_cast<Count>(value);
}

}  // namespace

bool is_packed(Count word_bits, int bits) noexcept { return bits > 0 && word_bits > 1 && bits != word_bits; }

Count elements_per_word(Count word_bits, int bits) noexcept {
  return is_packed(word_bits, bits) ? std::max<Count>(1, word_bits / bits) : 1;
}

PackingRule packing_rule(const Level& level, const EvaluateOptions& options) noexcept {
  return options.model == CostModel::compat ? PackingRule::word : level.packing.value_or(options.packing);
}

WordRate word_rate(PackingRule rule, Count word_bits, int bits) noexcept {
  if (!is_packed(word_bits, bits)) return {};
  if (rule == PackingRule::dense) return {bits, word_bits};
  if (bits > word_bits) return {ceil_div(bits, word_bits), 1};
  return {1, rule == PackingRule::word ? word_bits / bits : 1};
}

Count packed_words(Count elements, WordRate rate) noexcept {
  if (elements == kSaturated) return kSaturated;
  Count narrow = 0;  // nearly always enough, and a 128-bit division is slow
  if (!__builtin_mul_overflow(elements, rate.words, &narrow)) return ceil_div(narrow, rate.elements);
  const auto words = static_cast<unsigned __int128>(elements) * static_cast<unsigned __int128>(rate.words);
  const auto divisor = static_cast<unsigned __int128>(rate.elements);
  return saturate((words + divisor - 1) / divisor);
}

// ceil(elements * rate + others * other_rate): whole parts apart, so that nothing overflows.
Count packed_words(Count elements, WordRate rate, Count others, WordRate other_rate) noexcept {
  if (elements == kSaturated || others == kSaturated) return kSaturated;
  if (others == 0) return packed_words(elements, rate);
  if (elements == 0) return packed_words(others, other_rate);
  if (rate.words == other_rate.words && rate.elements == other_rate.elements) return packed_words(saturating_add(elements, others), rate);
  using Wide = unsigned __int128;
  const Wide first = static_cast<Wide>(elements) * static_cast<Wide>(rate.words);
  const Wide second = static_cast<Wide>(others) * static_cast<Wide>(other_rate.words);
  const auto a = static_cast<Wide>(rate.elements);
  const auto b = static_cast<Wide>(other_rate.elements);
  const Wide rest = (first % a) * b + (second % b) * a;  // over a * b
  return saturate(first / a + second / b + (rest + a * b - 1) / (a * b));
}

TensorBits tensor_bits(const Arch& arch, const Workload& workload, std::span<const int> bits, int tensor, const EvaluateOptions& options) noexcept {
  TensorBits out{bits[static_cast<std::size_t>(tensor)], 0, true};
  const auto& tensors = workload.tensors();
  if (!tensors[static_cast<std::size_t>(tensor)].is_output) return out;
  if (options.model == CostModel::compat) {
    out.psum = out.own;
    out.psum_capped = false;
    return out;
  }
  const int given = options.psum_bits > 0 ? options.psum_bits : arch.arithmetic().psum_bits;
  if (given > 0) {
    out.psum = given;
    out.psum_capped = false;
    return out;
  }
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    if (tensors[t].is_output) continue;
    if (bits[t] == 0) {  // products of unknown width: one partial sum a word
      out.psum = 0;
      return out;
    }
    out.psum += bits[t];
  }
  out.psum += std::bit_width(static_cast<std::uint64_t>(reduction_size(workload, tensor) - 1));  // ceil(log2(size))
  return out;
}

int psum_width(const Arch& arch, const Nest& nest, int tensor, const TensorBits& bits) noexcept {
  if (!bits.psum_capped) return bits.psum;
  for (int l = 0; l < arch.num_levels(); ++l) {
    if ((nest.keep[static_cast<std::size_t>(l)] >> tensor & 1U) == 0) continue;
    const Count word = arch.level(l).word_bits;
    return word > 1 ? static_cast<int>(std::min<Count>(bits.psum, word)) : bits.psum;
  }
  return bits.psum;
}

}  // namespace quantloom
