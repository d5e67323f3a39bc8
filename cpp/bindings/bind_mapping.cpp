#include "bindings.hpp"

namespace quantloom::bindings {
namespace {

using NamedLoops = std::vector<std::pair<std::string, Count>>;

std::vector<Loop> resolve_loops(const Workload& workload, const NamedLoops& loops) {
  std::vector<Loop> out;
  for (const auto& [dim, bound] : loops) out.push_back({require_dim(workload, dim, "mapping"), bound});
  return out;
}

NamedLoops name_loops(const Workload& workload, const std::vector<Loop>& loops) {
  NamedLoops out;
  for (const Loop& loop : loops) {
    if (loop.bound > 1) out.emplace_back(workload.dims()[static_cast<std::size_t>(loop.dim)].name, loop.bound);
  }
  return out;
}

}  // namespace

Mapping resolve_names(const Workload& workload, const NamedMapping& mapping) {
  Mapping out;
  for (const NamedLevelMapping& named : mapping.levels) {
    LevelMapping& level = out.levels.emplace_back();
    level.temporal = resolve_loops(workload, named.temporal);
    level.spatial_x = resolve_loops(workload, named.spatial_x);
    level.spatial_y = resolve_loops(workload, named.spatial_y);
    for (const std::string& tensor : named.keep) level.keep |= 1U << require_tensor(workload, tensor, "mapping");
  }
  return out;
}

NamedMapping give_names(const Workload& workload, const Mapping& mapping) {
  NamedMapping out;
  for (const LevelMapping& level : mapping.levels) {
    NamedLevelMapping& named = out.levels.emplace_back();
    named.temporal = name_loops(workload, level.temporal);
    named.spatial_x = name_loops(workload, level.spatial_x);
    named.spatial_y = name_loops(workload, level.spatial_y);
    for (int t = 0; t < workload.num_tensors(); ++t) {
      if (level.keeps(t)) named.keep.push_back(workload.tensors()[static_cast<std::size_t>(t)].name);
    }
  }
  return out;
}

void bind_mapping(py::module_& m) {
  py::class_<NamedLevelMapping>(m, "LevelMapping",
                                "The loops of one level, outermost first, as (dim, bound) pairs, and the tensors kept there.")
      .def(py::init([](NamedLoops temporal, NamedLoops x, NamedLoops y, std::vector<std::string> keep) {
             return NamedLevelMapping{std::move(temporal), std::move(x), std::move(y), std::move(keep)};
           }),
           py::kw_only(), py::arg("temporal") = NamedLoops{}, py::arg("spatial_x") = NamedLoops{}, py::arg("spatial_y") = NamedLoops{},
           py::arg("keep") = std::vector<std::string>{})
      .def_readonly("temporal", &NamedLevelMapping::temporal)
      .def_readonly("spatial_x", &NamedLevelMapping::spatial_x)
      .def_readonly("spatial_y", &NamedLevelMapping::spatial_y)
      .def_readonly("keep", &NamedLevelMapping::keep)
      .def("__eq__", [](const NamedLevelMapping& a, const NamedLevelMapping& b) { return a == b; }, py::is_operator())
      .def(py::pickle([](const NamedLevelMapping& l) { return py::make_tuple(l.temporal, l.spatial_x, l.spatial_y, l.keep); },
                      [](const py::tuple& t) {
                        return NamedLevelMapping{t[0].cast<NamedLoops>(), t[1].cast<NamedLoops>(), t[2].cast<NamedLoops>(), t[3].cast<std::vector<std::string>>()};
                      }));

  py::class_<NamedMapping>(m, "Mapping", "A complete mapping: one LevelMapping for each level, innermost first.")
      .def(py::init([](std::vector<NamedLevelMapping> levels) { return NamedMapping{std::move(levels)}; }), py::arg("levels"))
      .def_readonly("levels", &NamedMapping::levels)
      .def("to_text", [](const NamedMapping& mapping, const Arch& arch, const Workload& workload) {
        const Mapping resolved = resolve_names(workload, mapping);
        check_mapping(arch, workload, resolved);
        return describe_mapping(arch, workload, resolved);
      }, py::arg("arch"), py::arg("workload"), "The loop nest as text, outermost loop first. Raises MappingError if it does not belong to the workload.")
      .def("__repr__", [](const NamedMapping& mapping) { return "Mapping(" + std::to_string(mapping.levels.size()) + " levels)"; })
      .def("_repr_html_", [](const py::object& self) {
        return py::module_::import("quantloom.mapper.as_html").attr("mapping_html")(self).cast<std::string>();
      }, "The loops of each level and the tensors it keeps, as a notebook shows them.")
      .def("__eq__", [](const NamedMapping& a, const NamedMapping& b) { return a == b; }, py::is_operator())
      .def(py::pickle([](const NamedMapping& mapping) { return py::make_tuple(mapping.levels); },
                      [](const py::tuple& t) { return NamedMapping{t[0].cast<std::vector<NamedLevelMapping>>()}; }));
}

}  // namespace quantloom::bindings
