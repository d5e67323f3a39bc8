#include "bindings.hpp"

#include "quantloom/arch.hpp"
#include "quantloom/error.hpp"
#include "quantloom/mac_table.hpp"

namespace quantloom::bindings {
namespace {

using NamedFactor = std::tuple<std::string, std::string, Count>;

FactorConstraint make_factor(const NamedFactor& factor) {
  const auto& [dim, relation, value] = factor;
  if (relation == "=") return {dim, FactorRelation::equal, value};
  if (relation == "<=") return {dim, FactorRelation::at_most, value};
  if (relation == ">=") return {dim, FactorRelation::at_least, value};
  throw Error(ErrorKind::spec, "constraint on dim '" + dim + "': relation '" + relation + "', expected =, <= or >=");
}

NamedFactor name_factor(const FactorConstraint& factor) {
  const char* relation = factor.relation == FactorRelation::equal ? "=" : factor.relation == FactorRelation::at_most ? "<=" : ">=";
  return {factor.dim, relation, factor.value};
}

ConstraintTarget make_target(const std::string& target) {
  if (target == "temporal") return ConstraintTarget::temporal;
  if (target == "spatial") return ConstraintTarget::spatial;
  if (target == "keep") return ConstraintTarget::keep;
  if (target == "utilization") return ConstraintTarget::utilization;
  throw Error(ErrorKind::spec, "constraint target '" + target + "', expected temporal, spatial, keep or utilization");
}

std::string name_target(ConstraintTarget target) {
  switch (target) {
    case ConstraintTarget::temporal: return "temporal";
    case ConstraintTarget::spatial: return "spatial";
    case ConstraintTarget::keep: return "keep";
    case ConstraintTarget::utilization: break;
  }
  return "utilization";
}

SerialOperand make_serial(const std::string& operand) {
  if (operand == "first") return SerialOperand::first;
  if (operand == "second") return SerialOperand::second;
  if (operand == "both") return SerialOperand::both;
  throw Error(ErrorKind::spec, "serial operand '" + operand + "', expected first, second or both");
}

std::optional<PackingRule> make_packing(const std::optional<std::string>& packing) {
  return packing ? std::optional(parse_packing_rule(*packing)) : std::nullopt;
}

std::optional<std::string> name_packing(const std::optional<PackingRule>& packing) {
  if (!packing) return std::nullopt;
  return *packing == PackingRule::word ? "word" : *packing == PackingRule::dense ? "dense" : "none";
}

void bind_mac_table(py::module_& m) {
  using Rate = std::pair<Count, Count>;
  py::class_<MacTable>(m, "MacTable",
                       "Energy and speed of one arithmetic unit by the bits of its first and second operand.\n\n"
                       "energy_pj and rate have an entry for each pair, the second operand's index running faster; rate is (macs, cycles).\n"
                       "An arch with a table by which more bits are cheaper or faster raises SpecError.")
      .def(py::init([](std::vector<int> first, std::vector<int> second, std::vector<double> energy, const std::vector<Rate>& rates) {
             MacTable table{std::move(first), std::move(second), std::move(energy), {}};
             for (const auto& [macs, cycles] : rates) table.rate.push_back({macs, cycles});
             return table;
           }),
           py::kw_only(), py::arg("first_bits"), py::arg("second_bits"), py::arg("energy_pj"), py::arg("rate"))
      .def_static("bit_scalable", &bit_scalable_macs, py::kw_only(), py::arg("word_bits"), py::arg("brick_bits"), py::arg("energy_pj"),
                  "Units of bricks that join up, as BitFusion (arXiv 1712.01507). energy_pj: of one operation at word_bits x word_bits.")
      .def_static("bit_serial", [](int word_bits, const std::string& serial, Count lanes, double energy_pj) {
                    return bit_serial_macs(word_bits, make_serial(serial), lanes, energy_pj);
                  }, py::kw_only(), py::arg("word_bits"), py::arg("serial") = "second", py::arg("lanes") = 0, py::arg("energy_pj"),
                  "Units that take one operand ('first', 'second') or 'both' bit by bit, as Stripes (10.1109/MICRO.2016.7783722) and Loom\n"
                  "(arXiv 1706.07853). lanes: operations under way at once; 0: as many as make one a cycle at word_bits.")
      .def_readonly("first_bits", &MacTable::first_bits)
      .def_readonly("second_bits", &MacTable::second_bits)
      .def_readonly("energy_pj", &MacTable::energy_pj, "pJ per operation.")
      .def_property_readonly("rate", [](const MacTable& table) {
        std::vector<Rate> out;
        for (const MacRate& rate : table.rate) out.emplace_back(rate.macs, rate.cycles);
        return out;
      }, "(operations, cycles).")
      .def("__eq__", [](const MacTable& a, const MacTable& b) { return a == b; }, py::is_operator());
}

void bind_level(py::module_& m) {
  py::class_<AccessEnergy>(m, "AccessEnergy", "Energy in pJ of one block access, by action, each with its source.")
      .def(py::init([](double read, double fill, double update, std::string read_source, std::string fill_source, std::string update_source) {
             return AccessEnergy{read, fill, update, std::move(read_source), std::move(fill_source), std::move(update_source)};
           }),
           py::kw_only(), py::arg("read_pj"), py::arg("fill_pj"), py::arg("update_pj"), py::arg("read_source") = "",
           py::arg("fill_source") = "", py::arg("update_source") = "")
      .def_readonly("read_pj", &AccessEnergy::read_pj)
      .def_readonly("fill_pj", &AccessEnergy::fill_pj)
      .def_readonly("update_pj", &AccessEnergy::update_pj)
      .def_readonly("read_source", &AccessEnergy::read_source)
      .def_readonly("fill_source", &AccessEnergy::fill_source)
      .def_readonly("update_source", &AccessEnergy::update_source)
      .def("__eq__", [](const AccessEnergy& a, const AccessEnergy& b) { return a == b; }, py::is_operator());

  py::class_<Level>(m, "Level", "One storage level. Capacities in words per instance, bandwidths in words (bandwidth_in_bits: bits) per cycle and instance.")
      .def(py::init([](std::string name, Count word_bits, Count block_words, Count cluster_size, std::optional<Count> capacity_words,
                       Count instances, Count mesh_x, Count mesh_y, std::optional<double> read_bandwidth,
                       std::optional<double> write_bandwidth, std::optional<double> shared_bandwidth, bool is_dram, AccessEnergy energy,
                       std::optional<double> address_energy_pj, double hop_energy_pj, double router_energy_pj, double leak_energy_pj, double area_um2,
                       bool bandwidth_in_bits, const std::optional<std::string>& packing, bool multicast, bool reduction, bool forwarding,
                       double adder_energy_pj, double idle_energy_pj) {
             return Level{std::move(name), word_bits, block_words, cluster_size, capacity_words, instances, mesh_x, mesh_y, read_bandwidth,
                          write_bandwidth, shared_bandwidth, is_dram, std::move(energy), address_energy_pj, hop_energy_pj, router_energy_pj,
                          leak_energy_pj, area_um2, bandwidth_in_bits, make_packing(packing), multicast, reduction, forwarding,
                          adder_energy_pj, idle_energy_pj};
           }),
           py::kw_only(), py::arg("name"), py::arg("word_bits"), py::arg("block_words") = 1, py::arg("cluster_size") = 1,
           py::arg("capacity_words") = py::none(), py::arg("instances") = 1, py::arg("mesh_x") = 1, py::arg("mesh_y") = 1,
           py::arg("read_bandwidth") = py::none(), py::arg("write_bandwidth") = py::none(), py::arg("shared_bandwidth") = py::none(),
           py::arg("is_dram") = false, py::arg("energy"), py::arg("address_energy_pj") = py::none(), py::arg("hop_energy_pj") = 0.0,
           py::arg("router_energy_pj") = 0.0, py::arg("leak_energy_pj") = 0.0, py::arg("area_um2") = 0.0,
           py::arg("bandwidth_in_bits") = false, py::arg("packing") = py::none(), py::arg("multicast") = true, py::arg("reduction") = true,
           py::arg("forwarding") = false, py::arg("adder_energy_pj") = 0.0, py::arg("idle_energy_pj") = 0.0)
      .def_readonly("name", &Level::name)
      .def_readonly("word_bits", &Level::word_bits)
      .def_readonly("block_words", &Level::block_words)
      .def_readonly("cluster_size", &Level::cluster_size)
      .def_readonly("capacity_words", &Level::capacity_words)
      .def_readonly("instances", &Level::instances)
      .def_readonly("mesh_x", &Level::mesh_x)
      .def_readonly("mesh_y", &Level::mesh_y)
      .def_readonly("read_bandwidth", &Level::read_bandwidth)
      .def_readonly("write_bandwidth", &Level::write_bandwidth)
      .def_readonly("shared_bandwidth", &Level::shared_bandwidth)
      .def_readonly("is_dram", &Level::is_dram)
      .def_readonly("energy", &Level::energy)
      .def_readonly("address_energy_pj", &Level::address_energy_pj)
      .def_readonly("hop_energy_pj", &Level::hop_energy_pj)
      .def_readonly("router_energy_pj", &Level::router_energy_pj)
      .def_readonly("leak_energy_pj", &Level::leak_energy_pj)
      .def_readonly("area_um2", &Level::area_um2)
      .def_readonly("bandwidth_in_bits", &Level::bandwidth_in_bits, "This and what follows: default model only.")
      .def_property_readonly("packing", [](const Level& l) { return name_packing(l.packing); })
      .def_readonly("multicast", &Level::multicast)
      .def_readonly("reduction", &Level::reduction)
      .def_readonly("forwarding", &Level::forwarding)
      .def_readonly("adder_energy_pj", &Level::adder_energy_pj)
      .def_readonly("idle_energy_pj", &Level::idle_energy_pj)
      .def("__eq__", [](const Level& a, const Level& b) { return a == b; }, py::is_operator())
      .def("__repr__", [](const Level& l) { return "Level('" + l.name + "')"; });

  py::class_<Arithmetic>(m, "Arithmetic", "The multiply-accumulate units below the innermost level; energy in pJ per operation.")
      .def(py::init([](std::string name, Count instances, Count mesh_x, Count mesh_y, Count word_bits, double energy_pj, std::string energy_source, double area_um2,
                       std::optional<MacTable> mac_table, int psum_bits, double leak_energy_pj, double idle_energy_pj) {
             return Arithmetic{std::move(name), instances, mesh_x, mesh_y, word_bits, energy_pj, std::move(energy_source), area_um2,
                               std::move(mac_table), psum_bits, leak_energy_pj, idle_energy_pj};
           }),
           py::kw_only(), py::arg("name"), py::arg("instances"), py::arg("mesh_x"), py::arg("mesh_y"), py::arg("word_bits"),
           py::arg("energy_pj"), py::arg("energy_source") = "", py::arg("area_um2") = 0.0, py::arg("mac_table") = py::none(), py::arg("psum_bits") = 0,
           py::arg("leak_energy_pj") = 0.0, py::arg("idle_energy_pj") = 0.0)
      .def_readonly("name", &Arithmetic::name)
      .def_readonly("instances", &Arithmetic::instances)
      .def_readonly("mesh_x", &Arithmetic::mesh_x)
      .def_readonly("mesh_y", &Arithmetic::mesh_y)
      .def_readonly("word_bits", &Arithmetic::word_bits)
      .def_readonly("energy_pj", &Arithmetic::energy_pj)
      .def_readonly("energy_source", &Arithmetic::energy_source)
      .def_readonly("area_um2", &Arithmetic::area_um2)
      .def_readonly("mac_table", &Arithmetic::mac_table, "This and what follows: default model only.")
      .def_readonly("psum_bits", &Arithmetic::psum_bits)
      .def_readonly("leak_energy_pj", &Arithmetic::leak_energy_pj)
      .def_readonly("idle_energy_pj", &Arithmetic::idle_energy_pj)
      .def("__eq__", [](const Arithmetic& a, const Arithmetic& b) { return a == b; }, py::is_operator());
}

void bind_constraint(py::module_& m) {
  py::class_<Constraint>(m, "Constraint", "One limit on mappings: factors, order, axis split or kept tensors of one level.")
      .def(py::init([](std::string origin, std::string level, const std::string& target, const std::vector<NamedFactor>& factors,
                       std::vector<std::string> inner, std::vector<std::string> outer, bool has_permutation, std::optional<int> split,
                       std::vector<std::string> keep, std::vector<std::string> bypass, std::optional<double> min_fanout,
                       std::optional<double> max_fanout, std::optional<double> min_capacity, std::optional<double> max_capacity,
                       std::optional<double> min_parallelism, std::string where) {
             if (origin != "architecture" && origin != "mapspace") {
               throw Error(ErrorKind::spec, "constraint origin '" + origin + "', expected architecture or mapspace");
             }
             std::vector<FactorConstraint> made;
             made.reserve(factors.size());
             for (const NamedFactor& factor : factors) made.push_back(make_factor(factor));
             return Constraint{std::move(origin), std::move(level), make_target(target), std::move(made), std::move(inner), std::move(outer),
                               has_permutation, split, std::move(keep), std::move(bypass),
                               {min_fanout, max_fanout, min_capacity, max_capacity, min_parallelism}, std::move(where)};
           }),
           py::kw_only(), py::arg("origin"), py::arg("level"), py::arg("target"), py::arg("factors") = std::vector<NamedFactor>{},
           py::arg("permutation_inner") = std::vector<std::string>{}, py::arg("permutation_outer") = std::vector<std::string>{},
           py::arg("has_permutation") = false, py::arg("split") = py::none(), py::arg("keep") = std::vector<std::string>{},
           py::arg("bypass") = std::vector<std::string>{}, py::arg("min_fanout") = py::none(), py::arg("max_fanout") = py::none(),
           py::arg("min_capacity") = py::none(), py::arg("max_capacity") = py::none(), py::arg("min_parallelism") = py::none(),
           py::arg("where") = "")
      .def_readonly("origin", &Constraint::origin)
      .def_readonly("level", &Constraint::level)
      .def_property_readonly("target", [](const Constraint& c) { return name_target(c.target); })
      .def_property_readonly("factors", [](const Constraint& c) {
        std::vector<NamedFactor> out;
        for (const FactorConstraint& factor : c.factors) out.push_back(name_factor(factor));
        return out;
      })
      .def_readonly("permutation_inner", &Constraint::permutation_inner)
      .def_readonly("permutation_outer", &Constraint::permutation_outer)
      .def_readonly("has_permutation", &Constraint::has_permutation)
      .def_readonly("split", &Constraint::split)
      .def_readonly("keep", &Constraint::keep)
      .def_readonly("bypass", &Constraint::bypass)
      .def_property_readonly("min_fanout", [](const Constraint& c) { return c.use.min_fanout; }, "This and what follows: shares, 0 to 1.")
      .def_property_readonly("max_fanout", [](const Constraint& c) { return c.use.max_fanout; })
      .def_property_readonly("min_capacity", [](const Constraint& c) { return c.use.min_capacity; })
      .def_property_readonly("max_capacity", [](const Constraint& c) { return c.use.max_capacity; })
      .def_property_readonly("min_parallelism", [](const Constraint& c) { return c.use.min_parallelism; })
      .def_readonly("where", &Constraint::where)
      .def("__eq__", [](const Constraint& a, const Constraint& b) { return a == b; }, py::is_operator());
}

}  // namespace

void bind_arch(py::module_& m) {
  bind_mac_table(m);
  bind_level(m);
  bind_constraint(m);
  py::class_<Arch>(m, "Arch",
                   "An accelerator: levels innermost first, the arithmetic units, constraints on mappings.\n\n"
                   "Raises SpecError if the hierarchy is impossible.")
      .def(py::init<std::string, std::vector<Level>, Arithmetic, std::vector<Constraint>, bool, std::string>(), py::kw_only(),
           py::arg("name"), py::arg("levels"), py::arg("arithmetic"), py::arg("constraints") = std::vector<Constraint>{},
           py::arg("relax_indivisible_factors") = false, py::arg("source") = "")
      .def_property_readonly("name", &Arch::name)
      .def_property_readonly("source", &Arch::source)
      .def_property_readonly("levels", &Arch::levels)
      .def_property_readonly("arithmetic", &Arch::arithmetic)
      .def_property_readonly("constraints", &Arch::constraints)
      .def_property_readonly("relax_indivisible_factors", &Arch::relax_indivisible_factors)
      .def_property_readonly("num_levels", &Arch::num_levels)
      .def("fanout_x", [](const Arch& a, int level) {
        if (level < 0 || level >= a.num_levels()) throw py::index_error("level " + std::to_string(level));
        return a.fanout_x(level);
      }, py::arg("level"))
      .def("fanout_y", [](const Arch& a, int level) {
        if (level < 0 || level >= a.num_levels()) throw py::index_error("level " + std::to_string(level));
        return a.fanout_y(level);
      }, py::arg("level"))
      .def("__eq__", [](const Arch& a, const Arch& b) { return a == b; }, py::is_operator())
      .def("__repr__", [](const Arch& a) { return "Arch('" + a.name() + "', " + std::to_string(a.num_levels()) + " levels)"; });
}

}  // namespace quantloom::bindings
