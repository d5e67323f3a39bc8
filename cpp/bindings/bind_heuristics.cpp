#include <optional>

#include "bindings.hpp"
#include "interruptible.hpp"
#include "quantloom/heuristics.hpp"

namespace quantloom::bindings {
namespace {

// A result with dims and tensors by name.
struct NamedResult {
  HeuristicResult result;
  std::optional<NamedMapping> mapping;
};

constexpr const char* kSearchDoc =
    "Looks for a good mapping by a heuristic, to compare the exact mapper with; nothing it returns is proven.\n\n"
    "heuristic: one of HEURISTICS. bits: {tensor name: bits}. seed and streams fix the result, threads do not.\n"
    "budget: mappings to look at, those that do not fit included, shared out among the streams; 0 for no limit.\n"
    "victory, timeout, search_size: the reference tool's stops, for each stream: fitting mappings in a row without\n"
    "improvement (0: never), failing ones in a row (None: never; 0: at the first), fitting mappings in all (0: no limit).\n"
    "Interruptible by Ctrl-C. Raises SpecError for options that contradict each other or never end, MappingError for\n"
    "bits that exceed a word.";

}  // namespace

void bind_heuristics(py::module_& m) {
  py::class_<NamedResult>(m, "HeuristicResult", "The best mapping that a heuristic met, and how it came to it.")
      .def_readonly("mapping", &NamedResult::mapping, "None if no mapping that fits was met; the cost is infinite then.")
      .def_property_readonly("energy_pj", [](const NamedResult& r) { return r.result.energy_pj; })
      .def_property_readonly("cycles", [](const NamedResult& r) { return r.result.cycles; })
      .def_property_readonly("objective", [](const NamedResult& r) { return r.result.objective; })
      .def_property_readonly("looked_at", [](const NamedResult& r) { return r.result.looked_at; })
      .def_property_readonly("fitting", [](const NamedResult& r) { return r.result.fitting; })
      .def_property_readonly("trace", [](const NamedResult& r) {
        std::vector<std::pair<Count, double>> out;
        for (const TracePoint& point : r.result.trace) out.emplace_back(point.looked_at, point.objective);
        return out;
      }, "(mappings looked at, best objective then) at each improvement.")
      .def_property_readonly("stops", [](const NamedResult& r) {
        std::vector<std::string> out;
        for (const StreamEnd& stream : r.result.streams) out.emplace_back(stop_name(stream.stop));
        return out;
      }, "What ended each stream: budget, victory, timeout or search-size.");
  std::vector<std::string> names(heuristic_names().begin(), heuristic_names().end());
  m.attr("HEURISTICS") = py::tuple(py::cast(names));
  m.def("search_heuristically", [](const Arch& arch, const Workload& workload, const std::map<std::string, int>& bits,
                                   const std::string& heuristic, std::uint64_t seed, int streams, const std::string& objective,
                                   const std::string& model, const std::string& selection, const std::string& packing, int psum_bits,
                                   int threads, Count budget, Count victory, std::optional<Count> timeout, Count search_size) {
    const HeuristicOptions options{parse_heuristic(heuristic), parse_objective(objective), parse_cost_model(model), parse_selection(selection),
                                   parse_packing_rule(packing), psum_bits, seed, streams, threads, budget, victory, timeout, search_size};
    const std::vector<int> widths = resolve_bits(workload, bits);
    NamedResult out{run_interruptible([&](const std::stop_token& stop) {
      return search_heuristically(arch, workload, widths, options, stop);
    }), std::nullopt};
    if (out.result.found) out.mapping = give_names(workload, out.result.mapping);
    return out;
  }, py::arg("arch"), py::arg("workload"), py::arg("bits") = std::map<std::string, int>{}, py::kw_only(), py::arg("heuristic") = "random-pruned",
        py::arg("seed") = 1, py::arg("streams") = 1, py::arg("objective") = "edp", py::arg("model") = std::string(cost_model_names().front()),
        py::arg("selection") = "all", py::arg("packing") = "word", py::arg("psum_bits") = 0, py::arg("threads") = 0, py::arg("budget") = 10000,
        py::arg("victory") = 0, py::arg("timeout") = py::none(), py::arg("search_size") = 0, kSearchDoc);
}

}  // namespace quantloom::bindings
