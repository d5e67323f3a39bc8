// The recorded constraints of Eyeriss and Simba (tests/golden/constraints.json) as values of the core.
#pragma once

#include <sstream>

#include "recorded_cases.hpp"

namespace quantloom::test {

// Names are single letters, blanks count for nothing; what stands behind "_" is fixed outermost.
[[nodiscard]] inline Constraint read_constraint(const Json& json) {
  Constraint out;
  out.origin = json.at("kind");
  out.level = json.at("target");
  const std::string type = json.at("type");
  out.target = type == "temporal" ? ConstraintTarget::temporal : type == "spatial" ? ConstraintTarget::spatial : ConstraintTarget::keep;
  out.keep = json.value("keep", std::vector<std::string>{});
  out.bypass = json.value("bypass", std::vector<std::string>{});
  if (json.contains("split")) out.split = json.at("split").get<int>();
  std::istringstream factors(json.value("factors", std::string{}));
  for (std::string word; factors >> word;) {
    const std::size_t sign = word.find('=');
    out.factors.push_back({word.substr(0, sign), FactorRelation::equal, std::stoll(word.substr(sign + 1))});
  }
  out.has_permutation = json.contains("permutation");
  for (const char c : json.value("permutation", std::string{})) {
    if (c != ' ') out.permutation_inner.emplace_back(1, c);
  }
  return out;
}

// The accelerators under their recorded constraints. Fixed factors that do not divide a bound are lowered.
[[nodiscard]] inline std::map<std::string, Arch> read_constrained_archs() {
  std::map<std::string, Arch> out;
  const std::map<std::string, Arch> archs = read_archs();
  const Json recorded = read_json("constraints.json");
  for (const auto& [name, list] : recorded.items()) {
    if (!list.is_array()) continue;  // "_source"
    std::vector<Constraint> constraints;
    for (const Json& json : list) constraints.push_back(read_constraint(json));
    const Arch& arch = archs.at(name);
    out.emplace(name, Arch(name, arch.levels(), arch.arithmetic(), constraints, true));
  }
  return out;
}

}  // namespace quantloom::test
