// Time of the lattice mapper per layer in the space without constraints: one bit setting, CPU time and wall time. Checks itself:
// the mapping costs what evaluate() says, and another number of threads gives the same one. Layers with a window are run with a
// budget only: the gap says by how much the best found is at most above the optimum, 0 if proven.
//   free_bench [part of a layer's name] [eyeriss|simba] [energy|edp] [threads] [budget, millions]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

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

Optimum solve(const Arch& arch, const Workload& workload, Objective objective, int threads, Count budget) {
  MapperOptions options;
  options.budget = budget;
  options.objective = objective;
  options.selection = Selection::free;
  options.threads = threads;
  return optimize_on_lattice(arch, workload, {kBits}, options, {}, {}).front();
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 4 ? std::atoi(argv[4]) : 1;
  const Count window_budget = 1'000'000 * (argc > 5 ? std::atoll(argv[5]) : 0);
  bool sound = true;
  std::printf("%-8s %-24s %-7s %10s %10s %12s %18s\n", "arch", "layer", "least", "cpu ms", "wall ms", "looked at", "objective");
  for (const auto& [name, arch] : test::read_constrained_archs()) {
    if (argc > 2 && name != argv[2]) continue;
    for (const Layer& layer : kLayers) {
      if (argc > 1 && !contains(layer.name, argv[1])) continue;
      if (layer.r > 1 && window_budget == 0) continue;
      const Workload workload = make_workload(layer);
      for (const char* objective : {"edp", "energy"}) {
        if (argc > 3 && std::string(objective) != argv[3]) continue;
        const Count budget = layer.r > 1 ? window_budget : 0;
        const std::clock_t cpu = std::clock();
        const auto wall = std::chrono::steady_clock::now();
        const Optimum best = solve(arch, workload, parse_objective(objective), threads, budget);
        const double cpu_ms = 1e3 * static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
        const double wall_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - wall).count();
        const Cost cost = evaluate(arch, workload, best.mapping, kBits);
        const bool is_proven = best.certificate.exhausted;
        const double gap = is_proven ? 0 : 100 * (best.objective / best.certificate.lower_bound - 1);
        sound = sound && (is_proven || budget > 0) && cost.energy_pj == best.energy_pj && cost.cycles == best.cycles;
        if (cpu_ms < 1000) sound = sound && solve(arch, workload, parse_objective(objective), threads + 1, budget).mapping == best.mapping;
        std::printf("%-8s %-24s %-7s %10.1f %10.1f %12lld %18.10e", name.c_str(), layer.name, objective, cpu_ms, wall_ms,
                    static_cast<long long>(best.certificate.considered), best.objective);
        if (budget > 0) std::printf("  gap %.2f %%", gap);
        std::printf("\n");
        std::fflush(stdout);
      }
    }
  }
  std::printf(sound ? "answers agree\n" : "ANSWERS DISAGREE\n");
  return sound ? EXIT_SUCCESS : EXIT_FAILURE;
}
