// The recorded cases of tests/golden (see its README.md) as values of the core.
#pragma once

#include <zlib.h>

#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/mapping.hpp"
#include "quantloom/workload.hpp"

namespace quantloom::test {

using Json = nlohmann::ordered_json;

[[nodiscard]] inline Json read_json(const std::string& file) {
  const std::string path = std::string(QUANTLOOM_GOLDEN_DIR) + "/" + file;
  // gzread also reads what is not compressed.
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> input(gzopen(path.c_str(), "rb"), &gzclose);
  if (!input) throw std::runtime_error("cannot read " + path);
  std::string text;
  std::vector<char> chunk(1 << 16);
  int size = 0;
  while ((size = gzread(input.get(), chunk.data(), static_cast<unsigned>(chunk.size()))) > 0) {
    text.append(chunk.data(), static_cast<std::size_t>(size));
  }
  if (size < 0) throw std::runtime_error("damaged file " + path);
  return Json::parse(text);
}

template <class T>
[[nodiscard]] std::optional<T> optional_number(const Json& object, const char* key) {
  return object.contains(key) && !object.at(key).is_null() ? std::optional<T>(object.at(key).get<T>()) : std::nullopt;
}

[[nodiscard]] inline Level read_level(const Json& json) {
  Level level;
  level.name = json.at("name");
  level.word_bits = json.at("word_bits");
  level.block_words = json.at("block_size");
  level.cluster_size = json.at("cluster_size");
  level.capacity_words = optional_number<Count>(json, "size");
  level.instances = json.at("instances");
  level.mesh_x = json.at("meshX");
  level.mesh_y = json.at("meshY");
  level.read_bandwidth = optional_number<double>(json, "read_bandwidth");
  level.write_bandwidth = optional_number<double>(json, "write_bandwidth");
  level.is_dram = json.at("technology") == "DRAM";
  const Json& energy = json.at("energy");
  level.energy = {energy.at("read"), energy.at("fill"), energy.at("update"), "", "", ""};
  level.address_energy_pj = optional_number<double>(json, "addr_gen_energy");
  if (json.contains("network")) {
    level.hop_energy_pj = json["network"].value("energy_per_hop", 0.0);
    level.router_energy_pj = json["network"].value("router_energy", 0.0);
  }
  level.area_um2 = json.at("area");
  return level;
}

[[nodiscard]] inline std::map<std::string, Arch> read_archs() {
  std::map<std::string, Arch> archs;
  const Json file = read_json("archs.json");
  for (const auto& [name, json] : file.items()) {
    std::vector<Level> levels;
    for (const Json& level : json.at("levels")) levels.push_back(read_level(level));
    const Json& macs = json.at("arithmetic");
    Arithmetic units;
    units.name = macs.at("name");
    units.instances = macs.at("instances");
    units.mesh_x = macs.at("meshX");
    units.mesh_y = macs.at("meshY");
    units.word_bits = macs.at("word_bits");
    units.energy_pj = macs.at("energy");
    units.area_um2 = macs.at("area");
    archs.emplace(name, Arch(name, levels, units, {}));
  }
  return archs;
}

// Dims stand in the record's order, which is C, M, R, S, N, P, Q; a depthwise layer indexes its inputs by M.
[[nodiscard]] inline Workload read_workload(const Json& problem) {
  std::vector<Dim> dims;
  std::map<std::string, int> at;
  for (const auto& [name, bound] : problem.at("dims").items()) {
    at[name] = static_cast<int>(dims.size());
    dims.push_back({name, bound.get<Count>()});
  }
  const auto rank = [&](const char* name, Count coefficient = 1) {
    return std::vector<Term>{{at.at(name), coefficient}};
  };
  const auto window = [&](const char* kernel, const char* dilation, const char* output, const char* stride) {
    std::vector<Term> terms = rank(kernel, problem.value(dilation, Count{1}));
    terms.push_back({at.at(output), problem.value(stride, Count{1})});
    return terms;
  };
  const char* channel = problem.value("shape", "conv") == "depthwise" ? "M" : "C";
  return {
      "recorded",
      dims,
      {{"Weights", {rank("C"), rank("M"), rank("R"), rank("S")}, false},
       {"Inputs",
        {rank("N"), rank(channel), window("R", "Wdilation", "P", "Wstride"), window("S", "Hdilation", "Q", "Hstride")},
        false},
       {"Outputs", {rank("N"), rank("M"), rank("Q"), rank("P")}, true}}};
}

[[nodiscard]] inline std::vector<Loop> read_loops(const Workload& workload, const Json& loops) {
  std::vector<Loop> out;
  for (const Json& loop : loops) out.push_back({workload.find_dim(loop.at(0).get<std::string>()), loop.at(1)});
  return out;
}

// Recorded from the outermost level inwards.
[[nodiscard]] inline Mapping read_mapping(const Workload& workload, const Json& levels) {
  Mapping mapping;
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    LevelMapping& here = mapping.levels.emplace_back();
    here.temporal = read_loops(workload, level->at("temporal"));
    here.spatial_x = read_loops(workload, level->at("spatial").at("X"));
    here.spatial_y = read_loops(workload, level->at("spatial").at("Y"));
    for (const Json& tensor : level->at("keep")) here.keep |= 1U << workload.find_tensor(tensor.get<std::string>());
  }
  return mapping;
}

[[nodiscard]] inline std::vector<int> read_bits(const Workload& workload, const Json& problem) {
  std::vector<int> bits(static_cast<std::size_t>(workload.num_tensors()), 0);
  const auto found = problem.find("bitwidths");
  if (found == problem.end() || found->is_null()) return bits;
  for (const auto& [tensor, width] : found->items())
    bits[static_cast<std::size_t>(workload.find_tensor(tensor))] = width;
  return bits;
}

}  // namespace quantloom::test
