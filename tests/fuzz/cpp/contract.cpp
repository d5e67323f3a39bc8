#include "contract.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "draw.hpp"
#include "quantloom/batch.hpp"
#include "quantloom/big_unsigned.hpp"
#include "quantloom/error.hpp"
#include "quantloom/heuristics.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/mapspace.hpp"

namespace quantloom::fuzz {
namespace {

constexpr std::uint64_t kWalked = 3000;  // points of a mapspace that is searched and counted as a whole
constexpr int kCompared = 200;           // of its mappings that are priced one by one

void require(bool holds, const char* what) {
  if (!holds) throw ContractBroken(what);
}

// What the call returns; nothing if it refused its arguments.
template <class Call>
auto answer(const Call& call) -> std::optional<decltype(call())> {
  try {
    return call();
  } catch (const Error& error) {
    require(error.kind() != ErrorKind::internal, "an internal error");
    require(*error.what() != '\0', "an error without a message");
    return std::nullopt;
  }
}

bool is_close(double a, double b) { return a == b || std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)); }

void check_cost(const Cost& cost) {
  if (!(cost.energy_pj >= 0 && cost.cycles > 0)) {
    throw ContractBroken("energy or cycles are negative or no number: " + std::to_string(cost.energy_pj) + " pJ, " +
                         std::to_string(cost.cycles));
  }
  require(cost.cycles >= cost.compute_cycles, "fewer cycles than computing takes");
  double energy = cost.arithmetic_energy_pj + cost.arithmetic_leak_energy_pj;
  for (const LevelCost& level : cost.levels) {
    energy += level.energy_pj + level.network_energy_pj;
    for (const TensorLevelCost& tensor : level.tensors) {
      require(tensor.reads >= 0 && tensor.fills >= 0 && tensor.updates >= 0, "a count is negative or no number");
      require(tensor.energy_pj >= 0, "an energy is negative or no number");
    }
  }
  require(!std::isfinite(cost.energy_pj) || is_close(energy, cost.energy_pj),
          "the parts of the energy are not the whole");
}

struct Priced {
  bool fits = false;
  double energy_pj = std::numeric_limits<double>::infinity();
  double cycles = std::numeric_limits<double>::infinity();
};

// Nothing if the arguments are refused; then both doors refuse them.
std::optional<Priced> price(const Arch& arch, const Workload& workload, const Mapping& mapping,
                            std::span<const int> bits, const EvaluateOptions& options) {
  const auto fit = answer([&] { return check_fit(arch, workload, mapping, bits, options); });
  const auto cost = answer([&] { return evaluate(arch, workload, mapping, bits, options); });
  require(!cost || (fit && fit->fits()), "a mapping is priced that does not fit");
  if (!fit) return std::nullopt;
  require(fit->fits() || !fit->message.empty(), "a mapping does not fit, for no reason");
  if (!fit->fits()) return Priced{};
  if (!cost) return std::nullopt;  // what the model cannot count
  check_cost(*cost);
  return Priced{true, cost->energy_pj, cost->cycles};
}

// The mapping as a batch of one.
struct OneMapping {
  MappingColumns columns;
  double energy_pj = -1;
  double cycles = -1;
  std::uint8_t status = 255;
  bool has_unit_loops = false;  // of bound 1: batches do not look at their dims

  void price(BatchEvaluator& evaluator) { evaluator.evaluate(columns.batch(), {&energy_pj, &cycles, &status}); }
};

// Nothing for what a batch cannot say: other levels than the arch's, numbers out of its types' range.
std::optional<OneMapping> as_batch(const Arch& arch, const Mapping& mapping) {
  if (static_cast<int>(mapping.levels.size()) != arch.num_levels()) return std::nullopt;
  OneMapping out;
  out.columns.count = 1;
  const auto add = [&](int level, LoopKind kind, const std::vector<Loop>& loops) {
    for (const Loop& loop : loops) {
      out.has_unit_loops = out.has_unit_loops || loop.bound == 1;
      if (loop.dim < 0 || loop.dim > 255 || loop.bound < 0 || loop.bound > std::numeric_limits<std::uint32_t>::max())
        return false;
      out.columns.slots.push_back({level, kind});
      out.columns.dims.push_back(static_cast<std::uint8_t>(loop.dim));
      out.columns.bounds.push_back(static_cast<std::uint32_t>(loop.bound));
    }
    return true;
  };
  for (std::size_t l = mapping.levels.size(); l-- > 0;) {
    const LevelMapping& level = mapping.levels[l];
    const auto at = static_cast<int>(l);
    if (!add(at, LoopKind::temporal, level.temporal) || !add(at, LoopKind::spatial_y, level.spatial_y) ||
        !add(at, LoopKind::spatial_x, level.spatial_x))
      return std::nullopt;
  }
  for (const LevelMapping& level : mapping.levels) out.columns.keep.push_back(level.keep);
  return out;
}

void compare_with_batch(const OneMapping& batch, const std::optional<Priced>& priced) {
  const bool is_valid = batch.status == static_cast<std::uint8_t>(BatchStatus::valid);
  if (!priced) {
    require(!is_valid || batch.has_unit_loops, "a batch prices what evaluate() refuses");
    return;
  }
  require(is_valid == priced->fits, "a batch and check_fit() disagree");
  if (is_valid) {
    require(batch.cycles == priced->cycles, "a batch and evaluate() disagree on cycles");
    require(is_close(batch.energy_pj, priced->energy_pj), "a batch and evaluate() disagree on energy");
  } else {
    require(std::isinf(batch.energy_pj) && std::isinf(batch.cycles), "a mapping that is not valid has a finite price");
  }
}

bool run_evaluation(Bytes& bytes) {
  const auto workload = answer([&] { return draw_workload(bytes); });
  if (!workload) return false;
  const auto arch = answer([&] { return draw_arch(bytes, *workload); });
  if (!arch) return false;
  const std::vector<int> bits = draw_bits(bytes, *workload);
  const EvaluateOptions options = draw_options(bytes);
  const auto evaluator = answer([&] { return BatchEvaluator(*arch, *workload, bits, options); });
  bool priced_any = false;
  for (int n = 0; n < 4; ++n) {
    const Mapping mapping = draw_mapping(bytes, *arch, *workload);
    const auto priced = price(*arch, *workload, mapping, bits, options);
    require(!priced || evaluator, "a batch refuses what evaluate() takes");
    if (priced)
      require(!describe_mapping(*arch, *workload, mapping).empty() || priced->cycles == 1, "a mapping without loops");
    priced_any = priced_any || priced;
    if (!evaluator) continue;
    BatchEvaluator batches = *evaluator;
    auto batch = as_batch(*arch, mapping);
    if (!batch || !answer([&] { return batches.check(batch->columns.batch()), true; })) continue;
    batch->price(batches);
    compare_with_batch(*batch, priced);
  }
  return priced_any;
}

// Arrays of any bytes, as nobody but a hostile caller makes them.
bool run_raw_batch(Bytes& bytes) {
  const auto workload = answer([&] { return draw_workload(bytes); });
  if (!workload) return false;
  const auto arch = answer([&] { return draw_arch(bytes, *workload); });
  if (!arch) return false;
  const std::vector<int> bits = draw_bits(bytes, *workload);
  const EvaluateOptions options = draw_options(bytes);
  auto evaluator = answer([&] { return BatchEvaluator(*arch, *workload, bits, options); });
  if (!evaluator) return false;
  MappingColumns columns;
  columns.count = static_cast<std::size_t>(bytes.below(40));
  int level = arch->num_levels() - 1;
  for (int n = bytes.below(14); n > 0; --n) {
    if (bytes.is_hostile()) level = bytes.integer(14);
    columns.slots.push_back({level, static_cast<LoopKind>(bytes.below(3))});
    if (bytes.one_in(3)) --level;
  }
  for (std::size_t i = 0; i < columns.slots.size() * columns.count; ++i) {
    columns.dims.push_back(bytes.is_hostile() ? bytes.byte()
                                              : static_cast<std::uint8_t>(bytes.below(workload->num_dims())));
    columns.bounds.push_back(static_cast<std::uint32_t>(bytes.one_in(2) ? 1 : bytes.count(8)));
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(arch->num_levels()) * columns.count; ++i)
    columns.keep.push_back(static_cast<std::uint32_t>(bytes.byte()));
  if (!answer([&] { return evaluator->check(columns.batch()), true; })) return false;
  std::vector<double> energy(columns.count, -1);
  std::vector<double> cycles(columns.count, -1);
  std::vector<std::uint8_t> status(columns.count, 255);
  evaluator->evaluate(columns.batch(), {energy.data(), cycles.data(), status.data()});
  for (std::size_t i = 0; i < columns.count; ++i) {
    const Mapping mapping = mapping_at(columns.batch(), i, arch->num_levels());
    OneMapping one{{}, energy[i], cycles[i], status[i], false};
    if (status[i] == static_cast<std::uint8_t>(BatchStatus::malformed)) continue;  // as bounds of 0 are
    compare_with_batch(one, price(*arch, *workload, mapping, bits, options));
  }
  return true;
}

struct Space {
  Arch arch;
  Workload workload;
  Mapspace space;
};

std::optional<Space> draw_space(Bytes& bytes) {
  auto workload = answer([&] { return draw_workload(bytes); });
  if (!workload) return std::nullopt;
  auto arch = answer([&] { return draw_arch(bytes, *workload); });
  if (!arch) return std::nullopt;
  const auto selection = static_cast<Selection>(bytes.below(3));
  auto space = answer([&] { return Mapspace(*arch, *workload, selection); });
  if (!space) return std::nullopt;
  return Space{*arch, *workload, *space};
}

void check_count(const MapspaceCount& count) {
  BigUnsigned sum = count.valid;
  for (const BigUnsigned& part : {count.invalid_fanout, count.invalid_capacity, count.invalid_utilization}) sum += part;
  require(sum == count.considered, "the parts of a count are not the whole");
  BigUnsigned by_level;
  for (const BigUnsigned& part : count.invalid_capacity_by_level) by_level += part;
  require(by_level == count.invalid_capacity, "the levels of a count are not the whole");
}

bool run_mapspace(Bytes& bytes) {
  const auto drawn = draw_space(bytes);
  if (!drawn) return false;
  const Mapspace& space = drawn->space;
  const BigUnsigned size = space.size();
  require(!size.is_zero(), "an empty mapspace");
  require(BigUnsigned::from_decimal(size.to_string()) == size, "a size does not read back");
  require(!answer([&] { return space.at(size); }), "a mapping behind the last one");
  const std::uint64_t seed = bytes.word();
  for (const Mapping& mapping : space.sample(4, seed)) check_mapping(space.arch(), space.workload(), mapping);
  const MappingColumns drawn_columns = space.sample_columns(4, seed);
  const std::vector<Mapping> again = space.sample(4, seed);
  for (std::size_t i = 0; i < again.size(); ++i)
    require(mapping_at(drawn_columns.batch(), i, space.arch().num_levels()) == again[i],
            "columns and mappings of a sample differ");
  const MappingColumns columns = space.columns(BigUnsigned(0), 20);
  for (std::size_t i = 0; i < columns.count; ++i) {
    const Mapping mapping = space.at(BigUnsigned(i));
    check_mapping(space.arch(), space.workload(), mapping);
    require(mapping_at(columns.batch(), i, space.arch().num_levels()) == mapping, "columns and mappings differ");
  }
  if (size > BigUnsigned(kWalked)) return true;
  const std::vector<int> bits = draw_bits(bytes, drawn->workload);
  CountOptions options;
  const EvaluateOptions evaluation = draw_options(bytes);
  options.model = evaluation.model;
  options.packing = evaluation.packing;
  options.psum_bits = evaluation.psum_bits;
  options.enumeration = bytes.one_in(2) ? Enumeration::distinct : Enumeration::reference;
  const auto count = answer([&] { return space.count(bits, options); });
  if (count) check_count(*count);
  std::uint64_t points = 0;
  for (MappingWalker walker(space, Enumeration::unpruned); walker.next();) ++points;
  require(BigUnsigned(points) == size, "the walk does not visit every point");
  return true;
}

MapperOptions draw_mapper_options(Bytes& bytes, Selection selection) {
  MapperOptions options;
  options.objective = static_cast<Objective>(bytes.below(5));
  const EvaluateOptions evaluation = draw_options(bytes);
  options.model = evaluation.model;
  options.packing = evaluation.packing;
  options.psum_bits = evaluation.psum_bits;
  options.selection = selection;
  options.threads = 1;
  options.method = static_cast<SearchMethod>(bytes.below(3));
  if (bytes.one_in(3)) options.budget = bytes.count(100);
  return options;
}

bool is_limited(const Mapspace& space) {
  const ResolvedConstraints& constraints = space.constraints();
  return constraints.min_units > 1 || std::any_of(constraints.use.begin(), constraints.use.end(),
                                                  [](const UseLimit& use) { return use != UseLimit{}; });
}

void check_optimum(const Space& drawn, const MapperOptions& options, std::span<const int> bits,
                   const Optimum& optimum) {
  const EvaluateOptions evaluation{options.model, false, options.packing, options.psum_bits};
  if (optimum.found) {
    const auto priced = price(drawn.space.arch(), drawn.workload, optimum.mapping, bits, evaluation);
    require(priced && priced->fits, "the optimum does not fit");
    require(priced->cycles == optimum.cycles && is_close(priced->energy_pj, optimum.energy_pj),
            "the optimum costs something else");
  }
  if (is_limited(drawn.space)) return;
  int left = kCompared;
  for (MappingWalker walker(drawn.space, Enumeration::distinct); left > 0 && walker.next(); --left) {
    const auto priced =
        price(drawn.space.arch(), drawn.workload, drawn.space.materialize(walker.view()), bits, evaluation);
    if (!priced || !priced->fits || !std::isfinite(priced->energy_pj)) continue;
    const double edp = priced->energy_pj * priced->cycles;
    const double objective = options.objective == Objective::pareto
                                 ? edp
                                 : objective_value(options.objective, priced->energy_pj, priced->cycles);
    if (!std::isfinite(objective)) continue;
    require(options.objective == Objective::pareto || optimum.certificate.lower_bound <= objective * (1 + 1e-9),
            "a mapping is below the lower bound");
    if (!optimum.certificate.exhausted) continue;
    require(optimum.found, "nothing is found where something fits");
    require(optimum.objective <= objective * (1 + 1e-9), "a mapping is better than the optimum");
  }
}

bool run_mapper(Bytes& bytes) {
  const auto drawn = draw_space(bytes);
  if (!drawn || drawn->space.size() > BigUnsigned(kWalked)) return false;
  const MapperOptions options = draw_mapper_options(bytes, drawn->space.selection());
  const std::vector<std::vector<int>> settings{draw_bits(bytes, drawn->workload), draw_bits(bytes, drawn->workload)};
  const auto optima = answer([&] { return optimize(drawn->arch, drawn->workload, settings, options); });
  if (optima) {
    require(optima->size() == settings.size(), "not one optimum for each setting");
    for (std::size_t i = 0; i < optima->size(); ++i) check_optimum(*drawn, options, settings[i], (*optima)[i]);
  }
  HeuristicOptions heuristic;
  heuristic.heuristic = static_cast<Heuristic>(bytes.below(3));
  heuristic.objective = options.objective;
  heuristic.model = options.model;
  heuristic.selection = options.selection;
  heuristic.packing = options.packing;
  heuristic.psum_bits = options.psum_bits;
  heuristic.seed = bytes.word();
  heuristic.streams = bytes.is_hostile() ? bytes.integer(4) % 64 : 1 + bytes.below(3);
  heuristic.threads = 1;
  heuristic.budget = std::min<Count>(bytes.count(80), 500);
  if (heuristic.budget == 0) heuristic.search_size = 5;
  if (bytes.one_in(4)) heuristic.victory = bytes.count(20);
  if (bytes.one_in(4)) heuristic.timeout = bytes.count(20);
  if (heuristic.budget == 0 && !heuristic.timeout) heuristic.timeout = 50;
  const auto best = answer([&] { return search_heuristically(drawn->arch, drawn->workload, settings[0], heuristic); });
  if (best && best->found) {
    const auto priced = price(drawn->space.arch(), drawn->workload, best->mapping, settings[0],
                              {options.model, false, options.packing, options.psum_bits});
    require(priced && priced->fits, "a heuristic's best does not fit");
    require(priced->cycles == best->cycles && is_close(priced->energy_pj, best->energy_pj),
            "a heuristic's best costs something else");
  }
  return optima.has_value();
}

bool run_numbers(Bytes& bytes) {
  const auto a = static_cast<unsigned __int128>(bytes.word()) << 30 | bytes.word();
  const std::uint64_t b = bytes.one_in(4) ? bytes.word() : static_cast<std::uint64_t>(bytes.byte()) + 1;
  BigUnsigned number = BigUnsigned::from_128(a);
  number += BigUnsigned(b);
  require(number == BigUnsigned::from_128(a + b), "a sum is wrong");
  require(b == 0 || (BigUnsigned(number).divide(b) == static_cast<std::uint64_t>((a + b) % b)), "a remainder is wrong");
  const BigUnsigned before = number;
  number *= b;
  require(BigUnsigned::from_decimal(number.to_string()) == number, "a number does not read back");
  require(b == 0 ? number.is_zero() : number.divide(b) == 0 && number == before, "a product does not divide back");
  std::string text;
  while (!bytes.is_empty()) text.push_back(static_cast<char>(bytes.byte()));
  (void)answer([&] { return BigUnsigned::from_decimal(text); });
  (void)answer([&] { return parse_objective(text); });
  (void)answer([&] { return parse_search_method(text); });
  (void)answer([&] { return parse_selection(text); });
  (void)answer([&] { return parse_cost_model(text); });
  (void)answer([&] { return parse_packing_rule(text); });
  (void)answer([&] { return parse_heuristic(text); });
  return true;
}

}  // namespace

bool run_input(std::span<const std::uint8_t> data) {
  Bytes bytes(data);
  const int what = bytes.below(16);
  bytes.set_hostility(bytes.below(3));
  if (what == 0) return run_numbers(bytes);
  if (what < 6) return run_evaluation(bytes);
  if (what < 8) return run_raw_batch(bytes);
  if (what < 11) return run_mapspace(bytes);
  return run_mapper(bytes);
}

}  // namespace quantloom::fuzz
