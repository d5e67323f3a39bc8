#include <optional>
#include <variant>

#include "bindings.hpp"
#include "interruptible.hpp"
#include "quantloom/error.hpp"
#include "quantloom/mapspace.hpp"

namespace quantloom::bindings {
namespace {

// Widths by tensor name, or one per tensor in the workload's order; 0 and unnamed tensors: one element a word.
using Bits = std::variant<std::map<std::string, int>, std::vector<int>>;

std::vector<int> widths_of(const Mapspace& space, const Bits& bits) {
  if (const auto* by_name = std::get_if<0>(&bits)) return resolve_bits(space.workload(), *by_name);
  return std::get<1>(bits);
}

py::int_ to_python(const BigUnsigned& value) { return py::int_(py::str(value.to_string())); }

BigUnsigned from_python(const py::int_& value) { return BigUnsigned::from_decimal(py::str(value).cast<std::string>()); }

Enumeration parse_enumeration(const std::string& text) {
  if (text == "reference") return Enumeration::reference;
  if (text == "distinct") return Enumeration::distinct;
  if (text == "unpruned") return Enumeration::unpruned;
  throw Error(ErrorKind::mapping, "enumeration '" + text + "', expected reference, distinct or unpruned");
}

// A count with its levels by name.
struct NamedCount {
  MapspaceCount count;
  std::vector<std::string> levels;
};

NamedCount name_count(const Mapspace& space, MapspaceCount count) {
  NamedCount out{std::move(count), {}};
  for (const Level& level : space.arch().levels()) out.levels.push_back(level.name);
  return out;
}

Named<py::int_> name_levels(const NamedCount& count, const std::vector<BigUnsigned>& by_level) {
  Named<py::int_> out;
  for (std::size_t l = 0; l < count.levels.size(); ++l) {
    if (!by_level[l].is_zero()) out[py::str(count.levels[l])] = to_python(by_level[l]);
  }
  return out;
}

std::vector<NamedCount> count_settings(const Mapspace& space, const std::vector<Bits>& bits, int threads,
                                       const std::string& enumeration, const std::string& model, const std::string& packing,
                                       int psum_bits) {
  std::vector<std::vector<int>> widths;
  widths.reserve(bits.size());
  for (const Bits& setting : bits) widths.push_back(widths_of(space, setting));
  const CountOptions options{threads, parse_enumeration(enumeration), {}, parse_cost_model(model), parse_packing_rule(packing), psum_bits};
  auto counts = run_interruptible([&](std::stop_token stop) {
    CountOptions stoppable = options;
    stoppable.stop = std::move(stop);
    return space.count_many(widths, stoppable);
  });
  std::vector<NamedCount> out;
  out.reserve(counts.size());
  for (MapspaceCount& count : counts) out.push_back(name_count(space, std::move(count)));
  return out;
}

std::vector<NamedMapping> name_mappings(const Mapspace& space, const std::vector<Mapping>& mappings) {
  std::vector<NamedMapping> out;
  out.reserve(mappings.size());
  for (const Mapping& mapping : mappings) out.push_back(give_names(space.workload(), mapping));
  return out;
}

std::vector<NamedMapping> list_mappings(const Mapspace& space, std::size_t limit, const std::string& enumeration) {
  const Enumeration chosen = parse_enumeration(enumeration);
  return name_mappings(space, run_interruptible([&](std::stop_token stop) {
                         std::vector<Mapping> out;
                         MappingWalker walker(space, chosen);
                         while (out.size() < limit && walker.next() && !stop.stop_requested())
                           out.push_back(space.materialize(walker.view()));
                         return out;
                       }));
}

Named<py::int_> describe_sizes(const Mapspace& space) {
  const MapspaceSizes sizes = space.sizes();
  Named<py::int_> out;
  out["factorization"] = to_python(sizes.factorization);
  out["permutation"] = to_python(sizes.permutation);
  out["split"] = to_python(sizes.split);
  out["bypass"] = to_python(sizes.bypass);
  return out;
}

std::vector<std::string> name_dims(const Workload& workload, const std::vector<int>& dims) {
  std::vector<std::string> out;
  out.reserve(dims.size());
  for (const int d : dims) out.push_back(workload.dims()[static_cast<std::size_t>(d)].name);
  return out;
}

py::typing::List<Named<py::object>> describe_blocks(const Mapspace& space) {
  const Workload& workload = space.workload();
  py::typing::List<Named<py::object>> out;
  for (const Block& block : space.constraints().blocks) {
    py::dict limits;
    for (int d = 0; d < workload.num_dims(); ++d) {
      const FactorLimit& limit = block.limits[static_cast<std::size_t>(d)];
      const Count low = limit.fixed.value_or(limit.min);
      const Count high = limit.fixed.value_or(limit.max);
      limits[py::str(workload.dims()[static_cast<std::size_t>(d)].name)] = py::make_tuple(low, high);
    }
    Named<py::object> described;
    described["level"] = space.arch().level(block.level).name;
    described["kind"] = block.spatial ? "spatial" : "temporal";
    described["fanout_x"] = block.fanout_x;
    described["fanout_y"] = block.fanout_y;
    described["factors"] = limits;
    described["inner"] = name_dims(workload, block.inner);
    described["outer"] = name_dims(workload, block.outer);
    described["has_permutation"] = block.has_permutation;
    described["split"] = block.split;
    out.append(described);
  }
  return out;
}

Named<Named<py::str>> describe_keep(const Mapspace& space) {
  Named<Named<py::str>> out;
  for (int l = 0; l < space.arch().num_levels(); ++l) {
    Named<py::str> tensors;
    for (int t = 0; t < space.workload().num_tensors(); ++t) {
      const Keep keep = space.constraints().keep[static_cast<std::size_t>(l)][static_cast<std::size_t>(t)];
      tensors[py::str(space.workload().tensors()[static_cast<std::size_t>(t)].name)] = keep == Keep::yes  ? "keep"
                                                                                       : keep == Keep::no ? "bypass"
                                                                                                          : "open";
    }
    out[py::str(space.arch().level(l).name)] = tensors;
  }
  return out;
}

// What mappings must use of a level: least and most instances of its fanout, least words. Only levels with a limit.
Named<Named<py::int_>> describe_use(const Mapspace& space) {
  Named<Named<py::int_>> out;
  for (int l = 0; l < space.arch().num_levels(); ++l) {
    const UseLimit& limit = space.constraints().use[static_cast<std::size_t>(l)];
    Named<py::int_> described;
    if (limit.min_lanes > 1) described["min_lanes"] = limit.min_lanes;
    if (limit.max_lanes < kSaturated) described["max_lanes"] = limit.max_lanes;
    if (limit.min_words > 0) described["min_words"] = limit.min_words;
    if (py::len(described) > 0) out[py::str(space.arch().level(l).name)] = described;
  }
  return out;
}

void bind_count(py::module_& m) {
  py::class_<NamedCount>(m, "MapspaceCount",
                         "How many mappings of a mapspace fit: considered = valid + invalid_fanout + invalid_capacity + invalid_utilization.")
      .def_property_readonly("considered", [](const NamedCount& c) { return to_python(c.count.considered); })
      .def_property_readonly("valid", [](const NamedCount& c) { return to_python(c.count.valid); })
      .def_property_readonly("invalid_fanout", [](const NamedCount& c) { return to_python(c.count.invalid_fanout); })
      .def_property_readonly("invalid_capacity",
                             [](const NamedCount& c) { return to_python(c.count.invalid_capacity); })
      .def_property_readonly("invalid_capacity_by_level",
                             [](const NamedCount& c) { return name_levels(c, c.count.invalid_capacity_by_level); },
                             "By name of the innermost level that is too small; levels without failures are left out.")
      .def_property_readonly("invalid_utilization",
                             [](const NamedCount& c) { return to_python(c.count.invalid_utilization); },
                             "Within fanout and capacities, but not within the constraints on their use.")
      .def_property_readonly("invalid_utilization_by_level",
                             [](const NamedCount& c) { return name_levels(c, c.count.invalid_utilization_by_level); },
                             "By name of the level of which too little or too much is used; too little parallelism has none.")
      .def("__repr__", [](const NamedCount& c) {
        return "MapspaceCount(considered=" + c.count.considered.to_string() + ", valid=" + c.count.valid.to_string() +
               ", invalid_fanout=" + c.count.invalid_fanout.to_string() +
               ", invalid_capacity=" + c.count.invalid_capacity.to_string() +
               (c.count.invalid_utilization.is_zero() ? "" : ", invalid_utilization=" + c.count.invalid_utilization.to_string()) + ")";
      });
}

constexpr const char* kSpaceDoc =
    "Every mapping of a workload that an architecture's constraints leave, numbered from 0.\n\n"
    "selection: 'all' constraints of the architecture, only those that its hardware imposes ('architecture'), or none\n"
    "but the fanout ('free'). Raises SpecError for contradictory constraints, InfeasibleError if no mapping obeys "
    "them.";
constexpr const char* kCountDoc =
    "Counts the mappings that fit.\n\n"
    "bits: width by tensor name, or a list in the workload's tensor order (0: one element a word).\n"
    "model, packing, psum_bits: as in evaluate(), for what fits; the default model counts 'distinct' mappings only.\n"
    "enumeration: 'reference' counts as the reference tool's exhaustive search does, 'distinct' every different "
    "mapping\n"
    "once. The result does not depend on threads. Raises MappingError if bits exceed a word or if "
    "the\n"
    "space is too large to walk.";
constexpr const char* kMappingsDoc =
    "The first `limit` mappings as a list: 'distinct' (every different mapping within the fanout once), 'reference' "
    "(what\n"
    "the reference's exhaustive search visits) or 'unpruned' (index order, as at()).";

}  // namespace

void bind_mapspace(py::module_& m) {
  bind_count(m);
  py::class_<Mapspace> space(m, "Mapspace", kSpaceDoc);
  bind_mapspace_batches(space);
  space
      .def(py::init([](const Arch& arch, const Workload& workload, const std::string& selection) {
             return Mapspace(arch, workload, parse_selection(selection));
           }),
           py::arg("arch"), py::arg("workload"), py::kw_only(), py::arg("selection") = "all")
      .def_property_readonly("arch", &Mapspace::arch)
      .def_property_readonly("workload", &Mapspace::workload)
      .def_property_readonly("selection", [](const Mapspace& s) { return std::string(selection_name(s.selection())); })
      .def_property_readonly(
          "sizes", &describe_sizes,
          "Sizes of the four choices (factorization, permutation, split, bypass); their product is size().")
      .def_property_readonly(
          "factorizations",
          [](const Mapspace& s) {
            Named<py::int_> out;
            const std::vector<std::uint64_t> sizes = s.sizes().factorizations;
            for (std::size_t d = 0; d < sizes.size(); ++d) out[py::str(s.workload().dims()[d].name)] = sizes[d];
            return out;
          },
          "Number of factorizations by dim.")
      .def_property_readonly(
          "notes", [](const Mapspace& s) { return s.constraints().notes; },
          "Constraints that were dropped or lowered for this workload, one sentence each.")
      .def_property_readonly(
          "blocks", &describe_blocks,
          "Blocks of loops, innermost first: level, kind, fanout, (least, most) factor by dim, fixed order (inner to outer).")
      .def_property_readonly("use", &describe_use, "min_lanes, max_lanes, min_words by level, where constraints limit them.")
      .def_property_readonly("min_units", [](const Mapspace& s) { return s.constraints().min_units; },
                             "Arithmetic units that mappings use at least.")
      .def_property_readonly("keep", &describe_keep, "'keep', 'bypass' or 'open' by level and tensor.")
      .def(
          "size", [](const Mapspace& s) { return to_python(s.size()); }, "Number of points, exact.")
      .def(
          "at",
          [](const Mapspace& s, const py::int_& index) { return give_names(s.workload(), s.at(from_python(index))); },
          py::arg("index"),
          "The mapping with this index. It may exceed fanout or capacity. Raises MappingError outside of 0..size()-1.")
      .def(
          "sample",
          [](const Mapspace& s, std::size_t count, std::uint64_t seed) {
            return name_mappings(
                s, run_interruptible([&](std::stop_token stop) { return s.sample(count, seed, std::move(stop)); }));
          },
          py::arg("count"), py::arg("seed"),
          "Mappings drawn uniformly from all indices, with replacement; fixed by the seed.")
      .def("mappings", &list_mappings, py::kw_only(), py::arg("limit"), py::arg("enumeration") = "distinct",
           kMappingsDoc)
      .def(
          "count",
          [](const Mapspace& s, const Bits& bits, int threads, const std::string& enumeration, const std::string& model,
             const std::string& packing, int psum_bits) {
            return count_settings(s, {bits}, threads, enumeration, model, packing, psum_bits).front();
          },
          py::arg("bits") = std::map<std::string, int>{}, py::kw_only(), py::arg("threads") = 1,
          py::arg("enumeration") = "reference", py::arg("model") = "compat", py::arg("packing") = "word", py::arg("psum_bits") = 0,
          kCountDoc)
      .def("count_many", &count_settings, py::arg("bits"), py::kw_only(), py::arg("threads") = 1,
           py::arg("enumeration") = "reference", py::arg("model") = "compat", py::arg("packing") = "word", py::arg("psum_bits") = 0, "count() for many bit settings in one pass over the space.")
      .def("__repr__", [](const Mapspace& s) {
        return "Mapspace('" + s.arch().name() + "', '" + s.workload().name() + "', size=" + s.size().to_string() + ")";
      });
}

}  // namespace quantloom::bindings
