#include "bindings.hpp"

#include "quantloom/cost.hpp"

namespace quantloom::bindings {
namespace {

// Tensor costs carry their tensor's name in Python.
template <class T>
Named<T> by_tensor(const Workload& workload, const std::vector<T>& costs) {
  Named<T> out;
  for (std::size_t t = 0; t < costs.size(); ++t) out[py::str(workload.tensors()[t].name)] = py::cast(costs[t]);
  return out;
}

struct NamedLevelCost {
  LevelCost cost;
  Named<TensorLevelCost> tensors;
  Named<TensorNetworkCost> network;
};

struct NamedCost {
  Cost cost;
  std::optional<std::string> limiting_level;
  Named<NamedLevelCost> levels;
};

NamedCost name_cost(const Arch& arch, const Workload& workload, Cost cost) {
  NamedCost out;
  for (int l = arch.num_levels() - 1; l >= 0; --l) {
    const LevelCost& level = cost.levels[static_cast<std::size_t>(l)];
    NamedLevelCost named{level, by_tensor(workload, level.tensors), by_tensor(workload, level.network)};
    out.levels[py::str(arch.level(l).name)] = py::cast(std::move(named));
  }
  if (cost.limiting_level >= 0) out.limiting_level = arch.level(cost.limiting_level).name;
  out.cost = std::move(cost);
  return out;
}

void bind_parts(py::module_& m) {
  py::class_<TensorLevelCost>(m, "TensorLevelCost", "One tensor at one level: words per instance after packing, energy in pJ over all instances.")
      .def_readonly("kept", &TensorLevelCost::kept)
      .def_readonly("holds_partial_sums", &TensorLevelCost::holds_partial_sums,
                    "Default model: elements may lie here before their reduction is complete.")
      .def_readonly("stored_bits", &TensorLevelCost::stored_bits, "Width the capacity is checked with; 0: one element a word.")
      .def_readonly("elements_per_word", &TensorLevelCost::elements_per_word)
      .def_readonly("tile_elements", &TensorLevelCost::tile_elements)
      .def_readonly("utilized_words", &TensorLevelCost::utilized_words)
      .def_readonly("partition_elements", &TensorLevelCost::partition_elements)
      .def_readonly("reads", &TensorLevelCost::reads)
      .def_readonly("fills", &TensorLevelCost::fills)
      .def_readonly("updates", &TensorLevelCost::updates)
      .def_readonly("temporal_reductions", &TensorLevelCost::temporal_reductions)
      .def_readonly("read_elements", &TensorLevelCost::read_elements, "Per instance, before packing; so are the next three.")
      .def_readonly("fill_elements", &TensorLevelCost::fill_elements)
      .def_readonly("update_elements", &TensorLevelCost::update_elements)
      .def_readonly("final_update_elements", &TensorLevelCost::final_update_elements,
                    "Default model: of the updates, those that bring a complete sum.")
      .def_readonly("utilized_instances", &TensorLevelCost::utilized_instances)
      .def_readonly("utilized_clusters", &TensorLevelCost::utilized_clusters)
      .def_readonly("read_energy_pj", &TensorLevelCost::read_energy_pj)
      .def_readonly("fill_energy_pj", &TensorLevelCost::fill_energy_pj)
      .def_readonly("update_energy_pj", &TensorLevelCost::update_energy_pj)
      .def_readonly("energy_pj", &TensorLevelCost::energy_pj)
      .def_readonly("address_energy_pj", &TensorLevelCost::address_energy_pj);
  py::class_<TensorNetworkCost>(m, "TensorNetworkCost", "One tensor on the network between a level and the next inner one.")
      .def_readonly("fanout", &TensorNetworkCost::fanout)
      .def_readonly("multicast_factor", &TensorNetworkCost::multicast_factor)
      .def_readonly("ingresses", &TensorNetworkCost::ingresses)
      .def_readonly("link_transfers", &TensorNetworkCost::link_transfers)
      .def_readonly("spatial_reductions", &TensorNetworkCost::spatial_reductions)
      .def_readonly("num_hops", &TensorNetworkCost::num_hops)
      .def_readonly("energy_pj", &TensorNetworkCost::energy_pj);
  py::class_<NamedLevelCost>(m, "LevelCost", "One level: energy in pJ over all instances, the cycles it needs, its tensors by name.")
      .def_property_readonly("energy_pj", [](const NamedLevelCost& c) { return c.cost.energy_pj; })
      .def_property_readonly("leak_energy_pj", [](const NamedLevelCost& c) { return c.cost.leak_energy_pj; })
      .def_property_readonly("network_energy_pj", [](const NamedLevelCost& c) { return c.cost.network_energy_pj; })
      .def_property_readonly("cycles", [](const NamedLevelCost& c) { return c.cost.cycles; })
      .def_property_readonly("slowdown", [](const NamedLevelCost& c) { return c.cost.slowdown; })
      .def_readonly("tensors", &NamedLevelCost::tensors)
      .def_readonly("network", &NamedLevelCost::network);
}

}  // namespace

void bind_cost(py::module_& m) {
  bind_parts(m);
  py::class_<NamedCost>(m, "Cost", "What a mapping costs: totals, and a breakdown by level (outermost first), tensor and action.")
      .def_property_readonly("energy_pj", [](const NamedCost& c) { return c.cost.energy_pj; })
      .def_property_readonly("cycles", [](const NamedCost& c) { return c.cost.cycles; })
      .def_property_readonly("edp", [](const NamedCost& c) { return c.cost.edp; }, "energy_pj * cycles")
      .def_property_readonly("utilization", [](const NamedCost& c) { return c.cost.utilization; })
      .def_property_readonly("energy_per_mac_pj", [](const NamedCost& c) { return c.cost.energy_per_mac_pj; })
      .def_property_readonly("macs", [](const NamedCost& c) { return c.cost.macs; })
      .def_property_readonly("compute_cycles", [](const NamedCost& c) { return c.cost.compute_cycles; })
      .def_property_readonly("arithmetic_energy_pj", [](const NamedCost& c) { return c.cost.arithmetic_energy_pj; })
      .def_property_readonly("arithmetic_leak_energy_pj", [](const NamedCost& c) { return c.cost.arithmetic_leak_energy_pj; })
      .def_readonly("limiting_level", &NamedCost::limiting_level, "Level that the cycles wait for; None if computing limits them.")
      .def_property_readonly("area_um2", [](const NamedCost& c) { return c.cost.area_um2; })
      .def_readonly("levels", &NamedCost::levels)
      .def("__repr__", [](const NamedCost& c) {
        return "Cost(energy_pj=" + py::repr(py::float_(c.cost.energy_pj)).cast<std::string>() +
               ", cycles=" + py::repr(py::float_(c.cost.cycles)).cast<std::string>() + ")";
      })
      .def("_repr_html_", [](const py::object& self) {
        return py::module_::import("quantloom.mapper.as_html").attr("cost_html")(self).cast<std::string>();
      }, "Totals, and the energy of each level by tensor, as a notebook shows them.");
  py::class_<Fit>(m, "Fit", "Whether a mapping fits the hardware; if not, where it fails.")
      .def_property_readonly("fits", &Fit::fits)
      .def_property_readonly("reason", [](const Fit& f) {
        return f.reason == Fit::Reason::fits ? "fits" : f.reason == Fit::Reason::fanout ? "fanout" : "capacity";
      })
      .def_readonly("level", &Fit::level, "Level number from the innermost; -1: the arithmetic units, or none.")
      .def_readonly("need", &Fit::need)
      .def_readonly("have", &Fit::have)
      .def_readonly("message", &Fit::message)
      .def("__bool__", &Fit::fits);
  const auto names = cost_model_names();
  py::tuple models(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) models[i] = py::str(std::string(names[i]));
  m.attr("COST_MODELS") = models;
  m.def("check_fit", [](const Arch& arch, const Workload& workload, const NamedMapping& mapping, const std::map<std::string, int>& bits,
                        const std::string& model, const std::string& packing, int psum_bits) {
    const EvaluateOptions options{parse_cost_model(model), false, parse_packing_rule(packing), psum_bits};
    return check_fit(arch, workload, resolve_names(workload, mapping), resolve_bits(workload, bits), options);
  }, py::arg("arch"), py::arg("workload"), py::arg("mapping"), py::kw_only(), py::arg("bits") = std::map<std::string, int>{},
        py::arg("model") = std::string(cost_model_names().front()), py::arg("packing") = "word", py::arg("psum_bits") = 0,
        "Whether the mapping's tiles and spatial loops fit. Options and errors as for evaluate().");
  m.def("evaluate", [](const Arch& arch, const Workload& workload, const NamedMapping& mapping, const std::map<std::string, int>& bits,
                       const std::string& model, const std::string& packing, int psum_bits, bool always_step) {
    const Mapping resolved = resolve_names(workload, mapping);
    const std::vector<int> widths = resolve_bits(workload, bits);
    const EvaluateOptions options{parse_cost_model(model), always_step, parse_packing_rule(packing), psum_bits};
    Cost cost = [&] {
      const py::gil_scoped_release release;
      return evaluate(arch, workload, resolved, widths, options);
    }();
    return name_cost(arch, workload, std::move(cost));
  }, py::arg("arch"), py::arg("workload"), py::arg("mapping"), py::kw_only(), py::arg("bits") = std::map<std::string, int>{},
        py::arg("model") = std::string(cost_model_names().front()), py::arg("packing") = "word", py::arg("psum_bits") = 0, py::arg("always_step") = false,
        "Cost of a mapping with its breakdown.\n\n"
        "bits: width by tensor name; unnamed tensors take one word an element.\n"
        "model: one of COST_MODELS.\n"
        "packing: 'word' (whole elements), 'dense' (bit after bit) or 'none' (one element a word), at levels whose arch names none;\n"
        "default model only.\n"
        "psum_bits: width of partial sums, default model only; 0: those of the arch, else the inputs' bits added up +\n"
        "ceil(log2(reduction size)), at most the word of the innermost level that keeps the outputs.\n"
        "always_step: compat model only, for tests: count by stepping, 2^(temporal loops) steps, instead of in closed form.\n"
        "Raises MappingError if the mapping is malformed, InfeasibleError if it does not fit, SpecError for options the model\n"
        "does not have, WorkloadError for an output with a dim in two ranks (default model).");
}

}  // namespace quantloom::bindings
