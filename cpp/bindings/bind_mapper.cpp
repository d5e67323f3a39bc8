#include <pybind11/functional.h>

#include <mutex>

#include "bindings.hpp"
#include "interruptible.hpp"
#include "quantloom/mapper.hpp"

namespace quantloom::bindings {
namespace {

// A result in Python's words: dims and tensors by name.
struct NamedTradeoff {
  NamedMapping mapping;
  double energy_pj = 0;
  double cycles = 0;
};

struct NamedOptimum {
  Optimum optimum;
  NamedMapping mapping;
  std::vector<NamedTradeoff> front;
  std::vector<std::string> tensors;
};

std::vector<NamedOptimum> name_optima(const Workload& workload, std::vector<Optimum> optima) {
  std::vector<std::string> tensors;
  for (const TensorSpec& tensor : workload.tensors()) tensors.push_back(tensor.name);
  std::vector<NamedOptimum> out;
  for (Optimum& optimum : optima) {
    NamedMapping mapping = optimum.found ? give_names(workload, optimum.mapping) : NamedMapping{};
    std::vector<NamedTradeoff> front;
    for (const Tradeoff& point : optimum.front) front.push_back({give_names(workload, point.mapping), point.energy_pj, point.cycles});
    out.push_back({std::move(optimum), std::move(mapping), std::move(front), tensors});
  }
  return out;
}

std::vector<NamedOptimum> optimize_settings(const Arch& arch, const Workload& workload,
                                            const std::vector<std::map<std::string, int>>& settings, const MapperOptions& options,
                                            const py::object& progress) {
  std::vector<std::vector<int>> bits;
  bits.reserve(settings.size());
  for (const auto& setting : settings) bits.push_back(resolve_bits(workload, setting));
  std::mutex lock;
  SearchState shared;
  const auto report = [&](const SearchState& state) {
    const std::lock_guard guard(lock);
    shared = state;
  };
  std::function<void()> poll;
  if (!progress.is_none()) {
    poll = [&] {
      SearchState state;
      {
        const std::lock_guard guard(lock);
        state = shared;
      }
      progress(state.done, state.total, state.best, state.lower_bound);
    };
  }
  return name_optima(workload, run_interruptible([&](const std::stop_token& stop) {
    return optimize(arch, workload, bits, options, stop, report);
  }, poll));
}

}  // namespace

void bind_mapper(py::module_& m) {
  py::class_<Certificate>(m, "Certificate", "What stands behind an optimum: the space, how much of it was looked at, a bound that holds.")
      .def_readonly("method", &Certificate::method)
      .def_property_readonly("space_size", [](const Certificate& c) { return py::int_(py::str(c.space_size)); }, "Points of the mapspace.")
      .def_readonly("considered", &Certificate::considered, "Different mappings within the fanout that were looked at.")
      .def_readonly("fitting", &Certificate::fitting, "Of these, mappings whose tiles fit at these bits.")
      .def_readonly("pruned_by_bound", &Certificate::pruned_by_bound)
      .def_readonly("exhausted", &Certificate::exhausted, "The whole space is accounted for: the result is its optimum.")
      .def_readonly("lower_bound", &Certificate::lower_bound, "No mapping of the space has a smaller objective.")
      .def("__repr__", [](const Certificate& c) {
        return "Certificate(space_size=" + c.space_size + ", considered=" + std::to_string(c.considered) +
               ", exhausted=" + (c.exhausted ? "True" : "False") + ", lower_bound=" + py::repr(py::float_(c.lower_bound)).cast<std::string>() + ")";
      });
  py::class_<NamedTradeoff>(m, "Tradeoff", "A mapping that no other one beats in both energy and cycles.")
      .def_readonly("mapping", &NamedTradeoff::mapping)
      .def_readonly("energy_pj", &NamedTradeoff::energy_pj)
      .def_readonly("cycles", &NamedTradeoff::cycles);
  py::class_<NamedOptimum>(m, "Optimum", "The best mapping found for one bit setting; found is False if nothing fits.")
      .def_property_readonly("found", [](const NamedOptimum& o) { return o.optimum.found; })
      .def_readonly("mapping", &NamedOptimum::mapping)
      .def_property_readonly("energy_pj", [](const NamedOptimum& o) { return o.optimum.energy_pj; })
      .def_property_readonly("cycles", [](const NamedOptimum& o) { return o.optimum.cycles; })
      .def_property_readonly("objective", [](const NamedOptimum& o) { return o.optimum.objective; })
      .def_readonly("front", &NamedOptimum::front,
                    "Objective 'pareto' only: all trade-offs, ascending in cycles; the other fields are those of the least energy * cycles.")
      .def_property_readonly("certificate", [](const NamedOptimum& o) { return o.optimum.certificate; })
      .def_property_readonly("refusal", [](const NamedOptimum& o) { return o.optimum.refusal.reason; },
                             "Why the answer is not a proven one though no budget was given; empty otherwise.")
      .def_property_readonly("way_out", [](const NamedOptimum& o) { return o.optimum.refusal.way_out; }, "What to do about a refusal.")
      .def_property_readonly("near_miss_level", [](const NamedOptimum& o) { return o.optimum.infeasibility.level; },
                             "If nothing fits: the level (0 = innermost) where the nearest mapping fails; -1: no mapping is within fanout and constraints.")
      .def_property_readonly("near_miss_need_words", [](const NamedOptimum& o) { return o.optimum.infeasibility.need_words; })
      .def_property_readonly("near_miss_have_words", [](const NamedOptimum& o) { return o.optimum.infeasibility.have_words; })
      .def_property_readonly("near_miss_tensor_words", [](const NamedOptimum& o) {
        std::map<std::string, Count> out;
        for (std::size_t t = 0; t < o.optimum.infeasibility.tensor_words.size(); ++t) out[o.tensors[t]] = o.optimum.infeasibility.tensor_words[t];
        return out;
      });
  m.def("optimize", [](const Arch& arch, const Workload& workload, const std::vector<std::map<std::string, int>>& settings,
                       const std::string& objective, const std::string& model, const std::string& selection, int threads, Count budget,
                       const std::string& packing, int psum_bits, const std::string& method, const py::object& progress) {
    const MapperOptions options{parse_objective(objective), parse_cost_model(model), parse_selection(selection), threads, budget,
                                parse_packing_rule(packing), psum_bits, parse_search_method(method)};
    return optimize_settings(arch, workload, settings, options, progress);
  }, py::arg("arch"), py::arg("workload"), py::arg("settings"), py::kw_only(), py::arg("objective") = "edp", py::arg("model") = std::string(cost_model_names().front()),
        py::arg("selection") = "all", py::arg("threads") = 0, py::arg("budget") = 0, py::arg("packing") = "word", py::arg("psum_bits") = 0, py::arg("method") = "automatic", py::arg("progress") = py::none(),
        "Best mapping for each bit setting ({tensor name: bits}), all settings together.\n\n"
        "objective: energy (pJ), cycles, edp, ed2p, or pareto for all trade-offs of energy and cycles.\n"
        "method: automatic, exhaustive or branch-and-bound; the answers are the same.\n"
        "progress(done, total, best, lower_bound) is called from the calling thread every 50 ms; the last two are of the objective of the\n"
        "setting in work, infinite and 0 where they are not known. Interruptible by Ctrl-C.\n"
        "Settings that no method can finish are refused, each by itself, unless a budget or a method is given.\n"
        "Raises MappingError for bits that exceed a word, SpecError for unknown options or impossible constraints.");
}

}  // namespace quantloom::bindings
