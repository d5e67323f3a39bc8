// What a Mapspace is made of, shared by indexing, walking and counting. Private to the mapspace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mapspace_factors.hpp"
#include "mapspace_orders.hpp"
#include "quantloom/mapspace.hpp"
#include "random_digits.hpp"

namespace quantloom::detail {

struct OpenPair {
  int level = 0;
  int tensor = 0;
};

struct MapspaceParts {
  MapspaceParts(Arch arch_in, Workload workload_in, Selection selection_in);

  [[nodiscard]] int num_blocks() const noexcept { return static_cast<int>(constraints.blocks.size()); }
  [[nodiscard]] int num_dims() const noexcept { return workload.num_dims(); }

  Arch arch;
  Workload workload;
  Selection selection;
  ResolvedConstraints constraints;
  std::vector<FactorSpace> factors;  // [dim]
  std::vector<OrderRule> rules;      // [block]
  std::vector<OpenPair> open;        // the digits of a bypass choice, fastest first: tensor by tensor, levels outwards
  std::vector<std::uint32_t> kept;   // [level]: tensors kept in every mapping
};

// The arrays a MappingView points to.
struct ViewStorage {
  explicit ViewStorage(const MapspaceParts& parts);
  // The view points into this object: neither is to be copied.
  ViewStorage(const ViewStorage&) = delete;
  ViewStorage& operator=(const ViewStorage&) = delete;

  std::vector<std::uint32_t> factors;
  std::vector<std::uint8_t> order;
  std::vector<std::uint8_t> split;
  std::vector<std::uint32_t> keep;
  MappingView view;
};

// A point drawn uniformly from the whole numbered space; it may be outside of the fanout.
void draw_point(const MapspaceParts& parts, RandomDigits& digits, ViewStorage& out);

// Lists all factorizations of all dims; throws Error(mapping) where that would need too much memory, naming purpose.
[[nodiscard]] std::vector<std::vector<std::uint32_t>> list_factorizations(const MapspaceParts& parts,
                                                                          const std::string& purpose);
// Number of factorizations of the workload; throws Error(mapping) if it does not fit 62 bits.
std::uint64_t walkable_factorizations(const MapspaceParts& parts, const std::string& purpose);

}  // namespace quantloom::detail
