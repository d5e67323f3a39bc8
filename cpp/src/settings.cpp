#include "settings.hpp"

#include <algorithm>
#include <map>

#include "quantloom/error.hpp"
#include "tensor_price.hpp"

namespace quantloom {
namespace {

// All that a tensor's price can depend on: two widths with the same key cost the same in every mapping.
std::vector<Count> packing_key(const Arch& arch, const TensorBits& bits, bool is_output, const EvaluateOptions& options) {
  std::vector<Count> key;
  const auto add = [&](const Level& level, int width) {
    const WordRate rate = word_rate(packing_rule(level, options), level.word_bits, width);
    key.push_back(rate.words);
    key.push_back(rate.elements);
  };
  for (const Level& level : arch.levels()) {
    add(level, bits.own);
    // Whether elements are packed at all matters beside their number: compat's network rounds packed accesses only.
    if (options.model == CostModel::compat) key.push_back(is_packed(level.word_bits, bits.own) ? 1 : 0);
  }
  if (!is_output || options.model == CostModel::compat) return key;
  for (const Level& accumulator : arch.levels()) {  // the mapping says which it is
    for (const Level& level : arch.levels()) add(level, capped_psum(accumulator, bits));
  }
  return key;
}

std::vector<Count> most_elements_per_word(const Arch& arch, const TensorBits& bits, bool is_output, const EvaluateOptions& options) {
  std::vector<Count> most;
  for (const Level& level : arch.levels()) {
    const auto elements = [&](int width) {
      const WordRate rate = word_rate(packing_rule(level, options), level.word_bits, width);
      return std::max<Count>(1, ceil_div(rate.elements, rate.words));
    };
    Count best = elements(bits.own);
    if (is_output && options.model == CostModel::default_model) {
      best = std::max(best, elements(bits.psum));
      for (const Level& accumulator : arch.levels()) best = std::max(best, elements(capped_psum(accumulator, bits)));
    }
    most.push_back(best);
  }
  return most;
}

}  // namespace

int capped_psum(const Level& accumulator, const TensorBits& bits) noexcept {
  const bool capped = bits.psum_capped && accumulator.word_bits > 1;
  return capped ? static_cast<int>(std::min<Count>(bits.psum, accumulator.word_bits)) : bits.psum;
}

SettingTable group_settings(const Arch& arch, const Workload& workload, const std::vector<std::vector<int>>& settings,
                            const MapperOptions& options) {
  SettingTable table;
  table.options = {options.model, false, options.packing, options.psum_bits, false};
  check_model(arch, workload, table.options);
  table.packings.resize(static_cast<std::size_t>(workload.num_tensors()));
  std::vector<std::map<std::vector<Count>, int>> known(table.packings.size());
  std::map<std::vector<int>, int> classes;  // by packing of each tensor and MAC mode
  std::vector<MacMode> modes;
  for (const auto& setting : settings) {
    check_bits(arch, workload, setting, options.model);
    std::vector<int> key;
    for (std::size_t t = 0; t < setting.size(); ++t) {
      const TensorBits bits = tensor_bits(arch, workload, setting, static_cast<int>(t), table.options);
      const auto packing = packing_key(arch, bits, workload.tensors()[t].is_output, table.options);
      const auto [it, is_new] = known[t].try_emplace(packing, static_cast<int>(table.packings[t].size()));
      if (is_new) {
        table.packings[t].push_back({bits, most_elements_per_word(arch, bits, workload.tensors()[t].is_output, table.options)});
      }
      if (table.packings[t].size() > kMaxPackings) {
        throw Error(ErrorKind::mapping, "bits: more than " + std::to_string(kMaxPackings) + " different packings of one tensor in one call");
      }
      key.push_back(it->second);
    }
    const MacMode mode = mac_mode(arch, workload, setting, options.model);
    const auto known_mode = std::find(modes.begin(), modes.end(), mode);
    std::vector<int> key_with_mode = key;
    key_with_mode.push_back(static_cast<int>(known_mode - modes.begin()));
    if (known_mode == modes.end()) modes.push_back(mode);
    const auto [it, is_new] = classes.try_emplace(key_with_mode, static_cast<int>(table.classes.size()));
    if (is_new) {
      table.classes.push_back(key);
      table.class_mac.push_back(mode);
    }
    table.class_of.push_back(it->second);
  }
  return table;
}

}  // namespace quantloom
