#include "settings.hpp"

#include <algorithm>
#include <map>

#include "quantloom/error.hpp"
#include "tensor_price.hpp"

namespace quantloom {

SettingTable group_settings(const Arch& arch, const Workload& workload, const std::vector<std::vector<int>>& settings) {
  SettingTable table;
  table.packings.resize(static_cast<std::size_t>(workload.num_tensors()));
  // Whether elements are packed at all matters beside their number: the network rounds packed accesses only.
  std::vector<std::map<std::vector<Count>, int>> known(table.packings.size());
  std::map<std::vector<int>, int> classes;
  for (const auto& setting : settings) {
    check_bits(arch, workload, setting);
    std::vector<int> key;
    for (std::size_t t = 0; t < setting.size(); ++t) {
      std::vector<Count> packing;
      std::vector<Count> per_word;
      for (const Level& level : arch.levels()) {
        per_word.push_back(elements_per_word(level.word_bits, setting[t]));
        packing.push_back(is_packed(level.word_bits, setting[t]) ? per_word.back() : 0);
      }
      const auto [it, is_new] = known[t].try_emplace(packing, static_cast<int>(table.packings[t].size()));
      if (is_new) table.packings[t].push_back({setting[t], per_word});
      if (table.packings[t].size() > kMaxPackings) {
        throw Error(ErrorKind::mapping, "bits: more than " + std::to_string(kMaxPackings) + " different packings of one tensor in one call");
      }
      key.push_back(it->second);
    }
    const auto [it, is_new] = classes.try_emplace(key, static_cast<int>(table.classes.size()));
    if (is_new) table.classes.push_back(key);
    table.class_of.push_back(it->second);
  }
  return table;
}

}  // namespace quantloom
