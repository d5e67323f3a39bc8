// The exhaustive mapper: walks every different mapping within the fanout once, counts it once, and prices it for all bit
// settings together. It is the reference that cleverer searches are tested against.
#include "quantloom/mapper.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "exact_mapper.hpp"
#include "incumbents.hpp"
#include "lattice_mapper.hpp"
#include "nest.hpp"
#include "quantities.hpp"
#include "quantloom/error.hpp"
#include "quantloom/mapspace.hpp"
#include "quantloom/parallel.hpp"
#include "settings.hpp"
#include "tensor_price.hpp"
#include "use_limits.hpp"

namespace quantloom {
namespace {

constexpr int kChunks = 64;  // fixed, so that a budget cuts at the same places for any number of threads

struct NearMiss {
  double ratio = kInfinity;  // need / have at the level that fails worst
  Infeasibility report;
};

struct ChunkResult {
  std::vector<Incumbents<Mapping>> best;  // [class]
  std::vector<NearMiss> near_miss;  // [class]
  std::vector<Count> fitting;
  std::vector<Count> pruned;
  Count considered = 0;
  Count priced = 0;
  bool complete = false;
};

// Price of one tensor at one packing, as far as totals need it.
struct Share {
  double energy_pj = 0;
  std::array<double, kMaxLevels> reads;   // words per instance
  std::array<double, kMaxLevels> writes;
};

class Worker {
 public:
  Worker(const Mapspace& space, const SettingTable& settings, const MapperOptions& options)
      : space_(space), arch_(space.arch()), workload_(space.workload()), settings_(settings), options_(options),
        limits_lanes_(limits_lanes(space.constraints())) {
    for (int l = 0; l < arch_.num_levels(); ++l) {
      if (arch_.level(l).capacity_words) bounded_.push_back(l);
    }
    shares_.resize(settings.packings.size());
    words_.resize(settings.packings.size());
    for (std::size_t t = 0; t < shares_.size(); ++t) {
      shares_[t].resize(settings.packings[t].size());
      words_[t].resize(settings.packings[t].size());
    }
    fits_.resize(settings.classes.size());
    for (const MacMode& mode : settings.class_mac) arithmetic_energy_pj_.push_back(static_cast<double>(workload_.macs()) * mode.energy_pj);
  }

  void run(std::uint64_t first, std::uint64_t count, Count budget, const std::stop_token& stop, ChunkResult& out) {
    out.best.assign(settings_.classes.size(), Incumbents<Mapping>(options_.objective));
    out.near_miss.resize(settings_.classes.size());
    out.fitting.assign(settings_.classes.size(), 0);
    out.pruned.assign(settings_.classes.size(), 0);
    MappingWalker walker(space_, Enumeration::distinct, first, count);
    walker.stop_on(stop);
    while (walker.next()) {
      if ((++out.considered & 0x3FF) == 0 && stop.stop_requested()) return;
      build_nest(space_.constraints(), walker.view(), nest_);
      if (limits_lanes_ && !uses_lanes(space_.constraints(), nest_)) continue;
      if (!find_fitting(out) || !find_promising(out)) continue;
      if (budget > 0 && out.priced >= budget) return;
      ++out.priced;
      price_shares();
      update_best(walker.view(), out);
    }
    out.complete = !stop.stop_requested();
  }

 private:
  // Sets fits_ for every class; false if the mapping fits for none.
  bool find_fitting(ChunkResult& out) {
    for (std::size_t t = 0; t < words_.size(); ++t) {
      const bool exact = settings_.options.model == CostModel::default_model;
      const std::uint32_t partial = exact ? partial_levels(arch_, workload_, nest_, static_cast<int>(t)) : 0;
      for (const int l : bounded_) {
        const auto at = static_cast<std::size_t>(l);
        const bool kept = (nest_.keep[at] >> t & 1U) != 0;
        const Count tile = kept ? tile_elements(workload_.tensors()[t], nest_.extent[at]) : 0;
        for (std::size_t p = 0; p < words_[t].size(); ++p) {
          words_[t][p][at] = tile_words(arch_, nest_, static_cast<int>(t), l, tile, partial, settings_.packings[t][p].bits, settings_.options);
        }
      }
    }
    bool any = false;
    for (std::size_t c = 0; c < settings_.classes.size(); ++c) {
      fits_[c] = fits_class(settings_.classes[c], out.best[c].empty() ? &out.near_miss[c] : nullptr) ? 1 : 0;
      out.fitting[c] += fits_[c];
      any = any || fits_[c] != 0;
    }
    return any;
  }

  bool fits_class(const std::vector<int>& packing, NearMiss* near_miss) const {
    double worst = 0;
    int worst_level = -1;
    bool uses_enough = true;
    for (const int l : bounded_) {
      const Count need = needed_words(packing, l);
      const Count have = *arch_.level(l).capacity_words;
      uses_enough = uses_enough && need >= space_.constraints().use[static_cast<std::size_t>(l)].min_words;
      if (need <= have) continue;
      if (near_miss == nullptr) return false;
      const double ratio = static_cast<double>(need) / static_cast<double>(have);
      if (ratio > worst) {
        worst = ratio;
        worst_level = l;
      }
    }
    if (worst_level < 0) return uses_enough;
    if (worst < near_miss->ratio) {
      near_miss->ratio = worst;
      near_miss->report = {worst_level, needed_words(packing, worst_level), *arch_.level(worst_level).capacity_words, {}};
      for (std::size_t t = 0; t < words_.size(); ++t) {
        near_miss->report.tensor_words.push_back(words_[t][static_cast<std::size_t>(packing[t])][static_cast<std::size_t>(worst_level)]);
      }
    }
    return false;
  }

  [[nodiscard]] Count needed_words(const std::vector<int>& packing, int level) const {
    Count need = 0;
    for (std::size_t t = 0; t < words_.size(); ++t) {
      need = saturating_add(need, words_[t][static_cast<std::size_t>(packing[t])][static_cast<std::size_t>(level)]);
    }
    return need;
  }

  // Drops classes whose best cannot be beaten even if moving data cost nothing; false if no class is left.
  bool find_promising(ChunkResult& out) {
    bool any = false;
    for (std::size_t c = 0; c < fits_.size(); ++c) {
      if (fits_[c] == 0) continue;
      const double cycles = compute_cycles(nest_.temporal_steps, settings_.class_mac[c].rate);
      if (arithmetic_energy_pj_[c] > out.best[c].energy_limit(cycles)) {
        fits_[c] = 0;
        ++out.pruned[c];
      }
      any = any || fits_[c] != 0;
    }
    return any;
  }

  void price_shares() {
    for (std::size_t t = 0; t < shares_.size(); ++t) {
      count_tensor(arch_, workload_, nest_, static_cast<int>(t), settings_.options, scratch_, counts_);
      for (std::size_t p = 0; p < shares_[t].size(); ++p) {
        price_tensor(arch_, nest_, counts_, static_cast<int>(t), settings_.packings[t][p].bits, settings_.options, price_);
        Share& share = shares_[t][p];
        share.energy_pj = price_.energy_pj;
        for (std::size_t l = 0; l < static_cast<std::size_t>(arch_.num_levels()); ++l) {
          share.reads[l] = price_.storage[l].reads;
          share.writes[l] = price_.storage[l].fills + price_.storage[l].updates;
        }
      }
    }
  }

  void update_best(const MappingView& view, ChunkResult& out) {
    const double leakage = leakage_pj(arch_, nest_, options_.model);
    for (std::size_t c = 0; c < fits_.size(); ++c) {
      if (fits_[c] == 0) continue;
      double energy = arithmetic_energy_pj_[c];
      for (std::size_t t = 0; t < shares_.size(); ++t) energy += shares_[t][static_cast<std::size_t>(settings_.classes[c][t])].energy_pj;
      const double cycles = count_cycles(c);
      energy += leakage * cycles;
      // Of equals the first in the walk stays.
      out.best[c].offer(energy, cycles, [&] { return space_.materialize(view); }, [](const Mapping&) { return false; });
    }
  }

  [[nodiscard]] double count_cycles(std::size_t c) const {
    const std::vector<int>& packing = settings_.classes[c];
    const double steps = compute_cycles(nest_.temporal_steps, settings_.class_mac[c].rate);
    double cycles = steps;
    for (int l = 0; l < arch_.num_levels(); ++l) {
      const Level& level = arch_.level(l);
      if (!level.read_bandwidth && !level.write_bandwidth && !level.shared_bandwidth) continue;
      LevelTraffic traffic;
      for (std::size_t t = 0; t < shares_.size(); ++t) {
        const Share& share = shares_[t][static_cast<std::size_t>(packing[t])];
        traffic.add(share.reads[static_cast<std::size_t>(l)], share.writes[static_cast<std::size_t>(l)], steps);
      }
      double slowdown = 1;
      cycles = std::max(cycles, level_cycles(settings_.options.model, level, steps, traffic, slowdown));
    }
    return cycles;
  }

  const Mapspace& space_;
  const Arch& arch_;
  const Workload& workload_;
  const SettingTable& settings_;
  const MapperOptions& options_;
  bool limits_lanes_;
  std::vector<int> bounded_;                                              // levels with a capacity
  std::vector<std::vector<std::array<Count, kMaxLevels>>> words_;         // [tensor][packing][level]
  std::vector<std::vector<Share>> shares_;                                // [tensor][packing]
  std::vector<char> fits_;                                                // [class]
  std::vector<double> arithmetic_energy_pj_;                              // [class]
  Nest nest_;
  CompatScratch scratch_;
  TensorCounts counts_;
  TensorPrice price_;
};

// Chunk results in chunk order: the first of equals wins, as in one long walk.
Optimum merge_class(const std::vector<ChunkResult>& chunks, Objective objective, std::size_t c) {
  Optimum out;
  Incumbents<Mapping> best(objective);
  NearMiss near_miss;
  out.certificate.exhausted = true;
  for (const ChunkResult& chunk : chunks) {
    out.certificate.exhausted = out.certificate.exhausted && chunk.complete;
    if (chunk.best.empty()) continue;
    out.certificate.considered += chunk.considered;
    out.certificate.fitting += chunk.fitting[c];
    out.certificate.pruned_by_bound += chunk.pruned[c];
    for (const auto& point : chunk.best[c].points()) {
      best.offer(point.energy_pj, point.cycles, [&] { return point.place; }, [](const Mapping&) { return false; });
    }
    if (chunk.near_miss[c].ratio < near_miss.ratio) near_miss = chunk.near_miss[c];
  }
  std::vector<Tradeoff> points;
  for (const auto& point : best.points()) points.push_back({point.place, point.energy_pj, point.cycles});
  set_points(std::move(points), objective, out);
  out.infeasibility = std::move(near_miss.report);
  return out;
}

std::vector<Optimum> optimize_exhaustively(const Arch& arch, const Workload& workload,
                                           const std::vector<std::vector<int>>& settings,
                                           const MapperOptions& options, std::stop_token stop, const Progress& progress) {
  const SettingTable table = group_settings(arch, workload, settings, options);
  const Mapspace space(arch, workload, options.selection);
  std::uint64_t total = 1;
  for (const std::uint64_t size : space.sizes().factorizations) {
    if (__builtin_mul_overflow(total, size, &total)) throw Error(ErrorKind::mapping, "workload '" + workload.name() + "': the mapspace is too large to walk");
  }
  const int chunks = static_cast<int>(std::min<std::uint64_t>(kChunks, std::max<std::uint64_t>(total, 1)));
  const int threads = options.threads > 0 ? options.threads : default_threads();
  std::vector<ChunkResult> results(static_cast<std::size_t>(chunks));
  std::vector<std::unique_ptr<Worker>> workers(static_cast<std::size_t>(std::max(threads, 1)));
  std::atomic<std::uint64_t> done{0};
  std::mutex progress_lock;
  for_each_chunk(chunks, threads, stop, [&](int chunk, int worker) {
    auto& mine = workers[static_cast<std::size_t>(worker)];
    if (!mine) mine = std::make_unique<Worker>(space, table, options);
    const auto at = static_cast<std::uint64_t>(chunk);
    const auto n = static_cast<std::uint64_t>(chunks);
    const auto begin = static_cast<std::uint64_t>(static_cast<unsigned __int128>(total) * at / n);
    const auto end = static_cast<std::uint64_t>(static_cast<unsigned __int128>(total) * (at + 1) / n);
    const Count budget = options.budget > 0 ? std::max<Count>(1, options.budget / chunks) : 0;
    mine->run(begin, end - begin, budget, stop, results[static_cast<std::size_t>(chunk)]);
    const std::lock_guard lock(progress_lock);
    done += end - begin;
    if (progress) progress({done, total});
  });

  std::vector<Optimum> by_class;
  for (std::size_t c = 0; c < table.classes.size(); ++c) {
    Optimum& optimum = by_class.emplace_back(merge_class(results, options.objective, c));
    optimum.certificate.method = "exhaustive";
    optimum.certificate.space_size = space.size().to_string();
    if (options.objective == Objective::pareto) continue;
    optimum.certificate.lower_bound = optimum.certificate.exhausted && optimum.found ? optimum.objective : universal_bound(arch, workload, table.class_mac[c], options.objective);
  }
  std::vector<Optimum> out;
  for (const int c : table.class_of) out.push_back(by_class[static_cast<std::size_t>(c)]);
  return out;
}

// Walking more factorizations than these, each in all its orders, takes days.
constexpr double kMostWalked = 1e9;

bool is_endless_walk(const Arch& arch, const Workload& workload, const MapperOptions& options) {
  if (options.method != SearchMethod::automatic || options.budget > 0) return false;
  const Mapspace space(arch, workload, options.selection);
  double factorizations = 1;
  for (const std::uint64_t size : space.sizes().factorizations) factorizations *= static_cast<double>(size);
  return factorizations > kMostWalked;
}

// Nothing was looked at.
std::vector<Optimum> refuse_all(const Arch& arch, const Workload& workload, const std::vector<std::vector<int>>& settings, const MapperOptions& options) {
  const SettingTable table = group_settings(arch, workload, settings, options);
  const std::string size = Mapspace(arch, workload, options.selection).size().to_string();
  std::vector<Optimum> out;
  for (const int c : table.class_of) {
    Optimum& optimum = out.emplace_back();
    set_points({}, options.objective, optimum);
    optimum.certificate.method = "none";
    optimum.certificate.space_size = size;
    if (options.objective != Objective::pareto) {
      optimum.certificate.lower_bound = universal_bound(arch, workload, table.class_mac[static_cast<std::size_t>(c)], options.objective);
    }
    optimum.refusal = {"workload '" + workload.name() + "' on '" + arch.name() + "': a mapspace of " + size + " mappings is too large to prove an optimum",
                       "give a budget of mappings to look at, or constraints that leave fewer"};
  }
  return out;
}

SearchMethod choose_method(const Arch& arch, const Workload& workload, const MapperOptions& options) {
  if (options.method == SearchMethod::branch_and_bound && limits_words(resolve_constraints(arch, workload, options.selection))) {
    throw Error(ErrorKind::spec, "branch and bound does not know min_capacity, which the constraints of '" + arch.name() + "' give",
                "leave the method to be chosen");
  }
  if (options.method != SearchMethod::automatic) return options.method;
  const bool listable = options.budget == 0 && can_optimize_exactly(arch, workload, options);
  return listable ? SearchMethod::branch_and_bound : SearchMethod::exhaustive;
}

}  // namespace

double universal_bound(const Arch& arch, const Workload& workload, const MacMode& mode, Objective objective) {
  const Count steps = ceil_div(workload.macs(), arch.arithmetic().instances);
  return kBoundMargin * objective_value(objective, static_cast<double>(workload.macs()) * mode.energy_pj, compute_cycles(steps, mode.rate));
}

void set_points(std::vector<Tradeoff> points, Objective objective, Optimum& out) {
  out.found = !points.empty();
  if (!out.found) {
    out.energy_pj = out.cycles = out.objective = kInfinity;
    return;
  }
  const auto edp = [](const Tradeoff& point) { return point.energy_pj * point.cycles; };
  const auto best = std::min_element(points.begin(), points.end(), [&](const Tradeoff& a, const Tradeoff& b) { return edp(a) < edp(b); });
  out.mapping = best->mapping;
  out.energy_pj = best->energy_pj;
  out.cycles = best->cycles;
  out.objective = objective == Objective::pareto ? edp(*best) : objective_value(objective, best->energy_pj, best->cycles);
  if (objective == Objective::pareto) out.front = std::move(points);
}

SearchMethod parse_search_method(std::string_view text) {
  if (text == "automatic") return SearchMethod::automatic;
  if (text == "exhaustive") return SearchMethod::exhaustive;
  if (text == "branch-and-bound") return SearchMethod::branch_and_bound;
  throw Error(ErrorKind::spec, "unknown search method '" + std::string(text) + "'",
              "the methods are: automatic, exhaustive, branch-and-bound");
}

Objective parse_objective(std::string_view text) {
  if (text == "energy") return Objective::energy;
  if (text == "cycles") return Objective::cycles;
  if (text == "edp") return Objective::edp;
  if (text == "ed2p") return Objective::ed2p;
  if (text == "pareto") return Objective::pareto;
  throw Error(ErrorKind::spec, "unknown objective '" + std::string(text) + "'", "the objectives are: energy, cycles, edp, ed2p, pareto");
}

double objective_value(Objective objective, double energy_pj, double cycles) noexcept {
  switch (objective) {
    case Objective::energy: return energy_pj;
    case Objective::cycles:
    case Objective::pareto: return cycles;
    case Objective::edp: return energy_pj * cycles;
    case Objective::ed2p: return energy_pj * cycles * cycles;
  }
  return kInfinity;
}

std::vector<Optimum> optimize(const Arch& arch, const Workload& workload, const std::vector<std::vector<int>>& settings,
                              const MapperOptions& options, std::stop_token stop, const Progress& progress) {
  if (choose_method(arch, workload, options) == SearchMethod::branch_and_bound) {
    return optimize_exactly(arch, workload, settings, options, std::move(stop), progress);
  }
  // Beyond that its counts would not be exact, and the divisors of its merged dims take long to find.
  const bool is_exact = static_cast<double>(workload.macs()) <= kLargestExactCount;
  if (options.method == SearchMethod::automatic && is_exact && can_optimize_on_lattice(arch, workload, options)) {
    return optimize_on_lattice(arch, workload, settings, options, std::move(stop), progress);
  }
  if (is_endless_walk(arch, workload, options)) return refuse_all(arch, workload, settings, options);
  return optimize_exhaustively(arch, workload, settings, options, std::move(stop), progress);
}

}  // namespace quantloom
