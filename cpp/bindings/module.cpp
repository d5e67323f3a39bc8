#include "bindings.hpp"

PYBIND11_MODULE(_core, m) {
  using namespace quantloom::bindings;
  m.doc() = "The C++ core of quantloom: workloads, architectures, mappings, their cost and their mapspace.";
  m.attr("__version__") = QUANTLOOM_VERSION;
  bind_errors(m);
  bind_workload(m);
  bind_arch(m);
  bind_mapping(m);
  bind_cost(m);
  bind_batch(m);
  bind_mapspace(m);
  bind_mapper(m);
  bind_heuristics(m);
}
