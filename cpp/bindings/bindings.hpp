// Declarations shared by the binding files; one bind_<concept>.cpp for each public header.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <map>
#include <span>
#include <string>
#include <vector>

#include "quantloom/mapping.hpp"
#include "quantloom/mapspace.hpp"
#include "quantloom/workload.hpp"

namespace quantloom::bindings {

namespace py = pybind11;

// A dict with string keys whose stub says what its values are.
template <class Value>
using Named = py::typing::Dict<py::str, Value>;

void bind_errors(py::module_& m);
void bind_workload(py::module_& m);
void bind_arch(py::module_& m);
void bind_mapping(py::module_& m);
void bind_cost(py::module_& m);
void bind_batch(py::module_& m);  // before bind_mapspace, whose methods return batches
void bind_mapspace(py::module_& m);
void bind_mapspace_batches(py::class_<Mapspace>& space);
void bind_mapper(py::module_& m);
void bind_heuristics(py::module_& m);

// Position of a dim or tensor by name; throws Error(mapping) naming `where` and the known names.
[[nodiscard]] int require_dim(const Workload& workload, const std::string& name, const std::string& where);
[[nodiscard]] int require_tensor(const Workload& workload, const std::string& name, const std::string& where);

// A level of a mapping as Python writes it: dims and tensors by name.
struct NamedLevelMapping {
  std::vector<std::pair<std::string, Count>> temporal;
  std::vector<std::pair<std::string, Count>> spatial_x;
  std::vector<std::pair<std::string, Count>> spatial_y;
  std::vector<std::string> keep;
  bool operator==(const NamedLevelMapping&) const = default;
};

struct NamedMapping {
  std::vector<NamedLevelMapping> levels;  // innermost first
  bool operator==(const NamedMapping&) const = default;
};

[[nodiscard]] Mapping resolve_names(const Workload& workload, const NamedMapping& mapping);
[[nodiscard]] NamedMapping give_names(const Workload& workload, const Mapping& mapping);

// bits per tensor in the workload's order from {tensor name: bits}; tensors left out are unspecified (0).
[[nodiscard]] std::vector<int> resolve_bits(const Workload& workload, const std::map<std::string, int>& bits);

}  // namespace quantloom::bindings
