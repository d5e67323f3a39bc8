// Time and memory of the lattice mapper per layer in the space without constraints: one bit setting, CPU time and wall time, the
// most memory that a process had which solved this layer only. Checks itself: the mapping costs what evaluate() says, and another
// number of threads gives the same one. Layers with a window are run with a budget only. The gap says by how much the best found is
// at most above the optimum, 0 if proven; the first one was known after so many ms of CPU time.
//   free_bench [part of a layer's name] [eyeriss|simba] [energy|edp] [threads] [budget, millions] [all]
// all: every gap on the way, where it is smaller than the one before by a tenth of it.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../cpp/src/lattice_mapper.hpp"
#include "../../tests/cpp/recorded_constraints.hpp"
#include "layers.hpp"
#include "quantloom/cost.hpp"

namespace {

using namespace quantloom;
using bench::Layer;

constexpr Layer kLayers[] = {
    {"fc 1280->1000", 1280, 1000, 1, 1, 1},     {"pw 32->16 @112", 32, 16, 1, 112, 1},   {"pw 96->24 @56", 96, 24, 1, 56, 1},
    {"pw 24->144 @56", 24, 144, 1, 56, 1},      {"pw 160->960 @7", 160, 960, 1, 7, 1},   {"pw 512->512 @14", 512, 512, 1, 14, 1},
    {"gemm 4096x4096x4096", 4096, 4096, 1, 64, 1}, {"conv first 3->32 s2 @112", 3, 32, 3, 112, 2}, {"dw 32 @112", 1, 1, 3, 112, 1, 32},
    {"dw 144 @56", 1, 1, 3, 56, 1, 144},         {"dw 144 s2 @56", 1, 1, 3, 28, 2, 144}, {"dw 960 @7", 1, 1, 3, 7, 1, 960},
    {"conv 3x3 256 @14", 256, 256, 3, 14, 1},
};
const std::vector<int> kBits = {16, 16, 16};

double ms_since(std::clock_t begin) { return 1e3 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC; }

double gap_percent(double best, double lower_bound) { return 100 * (best / lower_bound - 1); }

// What the search tells on its way.
struct Trace {
  std::clock_t begin = std::clock();
  bool is_told = false;   // on stdout
  double first_ms = -1;   // of a gap; -1: none so far
  double first_gap = 0;
  double last_gap = 0;

  void note(const SearchState& state) {
    if (!std::isfinite(state.best) || state.lower_bound <= 0) return;
    const double gap = gap_percent(state.best, state.lower_bound);
    if (first_ms < 0) {
      first_ms = ms_since(begin);
      first_gap = last_gap = gap;
    } else if (gap > 0.9 * last_gap) {
      return;
    }
    last_gap = gap;
    if (is_told) std::printf("  %10.1f ms: gap %.2f %%\n", ms_since(begin), gap);
  }
};

Optimum solve(const Arch& arch, const Workload& workload, Objective objective, int threads, Count budget, Trace& trace) {
  MapperOptions options;
  options.budget = budget;
  options.objective = objective;
  options.selection = Selection::free;
  options.threads = threads;
  return optimize_on_lattice(arch, workload, {kBits}, options, {}, [&](const SearchState& state) { trace.note(state); }).front();
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// One row; false if answers disagree.
bool measure(const std::string& arch_name, const Arch& arch, const Layer& layer, const char* objective, int threads, Count budget, bool is_told) {
  const Workload workload = make_workload(layer);
  Trace trace;
  trace.is_told = is_told;
  const auto wall = std::chrono::steady_clock::now();
  const Optimum best = solve(arch, workload, parse_objective(objective), threads, budget, trace);
  const double cpu_ms = ms_since(trace.begin);
  const double wall_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - wall).count();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const Cost cost = evaluate(arch, workload, best.mapping, kBits);
  const bool is_proven = best.certificate.exhausted;
  bool sound = (is_proven || budget > 0) && cost.energy_pj == best.energy_pj && cost.cycles == best.cycles;
  Trace again;
  if (cpu_ms < 1000) sound = sound && solve(arch, workload, parse_objective(objective), threads + 1, budget, again).mapping == best.mapping;
  std::printf("%-8s %-24s %-7s %10.1f %10.1f %9.1f %12lld %18.10e", arch_name.c_str(), layer.name, objective, cpu_ms, wall_ms,
              static_cast<double>(usage.ru_maxrss) / 1024, static_cast<long long>(best.certificate.considered), best.objective);
  if (trace.first_ms >= 0) std::printf("  gap %.1f %% after %.1f ms", trace.first_gap, trace.first_ms);
  std::printf("  gap %.2f %%\n", is_proven ? 0 : gap_percent(best.objective, best.certificate.lower_bound));
  return sound;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 4 ? std::atoi(argv[4]) : 1;
  const Count window_budget = 1'000'000 * (argc > 5 ? std::atoll(argv[5]) : 0);
  const bool is_told = argc > 6 && std::string(argv[6]) == "all";
  bool sound = true;
  std::printf("%-8s %-24s %-7s %10s %10s %9s %12s %18s\n", "arch", "layer", "least", "cpu ms", "wall ms", "peak MiB", "looked at", "objective");
  for (const auto& [name, arch] : test::read_constrained_archs()) {
    if (argc > 2 && name != argv[2]) continue;
    for (const Layer& layer : kLayers) {
      if (argc > 1 && !contains(layer.name, argv[1])) continue;
      if (layer.r > 1 && window_budget == 0) continue;
      for (const char* objective : {"edp", "energy"}) {
        if (argc > 3 && std::string(objective) != argv[3]) continue;
        std::fflush(stdout);
        const pid_t child = fork();  // so that its memory is its own
        if (child == 0) {
          const bool is_sound = measure(name, arch, layer, objective, threads, layer.r > 1 ? window_budget : 0, is_told);
          std::fflush(stdout);
          _exit(is_sound ? EXIT_SUCCESS : EXIT_FAILURE);
        }
        int status = 1;
        sound = child > 0 && waitpid(child, &status, 0) == child && status == 0 && sound;
      }
    }
  }
  std::printf(sound ? "answers agree\n" : "ANSWERS DISAGREE\n");
  return sound ? EXIT_SUCCESS : EXIT_FAILURE;
}
