// How many words elements take: widths, packing rules, the width of partial sums. Section 7 of docs/model.md.
// Internal to the core.
#pragma once

#include <cstdint>
#include <span>

#include "nest.hpp"
#include "quantloom/arch.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

// Widths that one tensor is priced with. 0: unspecified, one element a word.
struct TensorBits {
  int own = 0;              // inputs; outputs once their reduction is complete
  int psum = 0;             // outputs before that
  bool psum_capped = true;  // at the word of the accumulator, the innermost level that keeps the outputs
  bool operator==(const TensorBits&) const = default;
};

// Elements are packed where a width is given that differs from the word; one-bit words turn it off.
[[nodiscard]] bool is_packed(Count word_bits, int bits) noexcept;
// Whole elements in a word, at least 1.
[[nodiscard]] Count elements_per_word(Count word_bits, int bits) noexcept;

// Words per element, as a fraction.
struct WordRate {
  Count words = 1;
  Count elements = 1;
  bool operator==(const WordRate&) const = default;
};

// The rule of a level: its own or that of the evaluation; compat knows only words.
[[nodiscard]] PackingRule packing_rule(const Level& level, const EvaluateOptions& options) noexcept;

[[nodiscard]] WordRate word_rate(PackingRule rule, Count word_bits, int bits) noexcept;

// Words that so many elements take, rounded up once (saturating).
[[nodiscard]] Count packed_words(Count elements, WordRate rate) noexcept;
// The same for two kinds of elements that are packed together.
[[nodiscard]] Count packed_words(Count elements, WordRate rate, Count others, WordRate other_rate) noexcept;

// Widths of tensor `tensor` at these bits per tensor under a model: compat stores partial sums as outputs, the default
// model as options.psum_bits, those of the arch, or sum of the inputs' bits + ceil(log2(MACs per output)).
[[nodiscard]] TensorBits tensor_bits(const Arch& arch, const Workload& workload, std::span<const int> bits, int tensor, const EvaluateOptions& options) noexcept;

// Width of a partial sum of the tensor under this mapping.
[[nodiscard]] int psum_width(const Arch& arch, const Nest& nest, int tensor, const TensorBits& bits) noexcept;

}  // namespace quantloom
