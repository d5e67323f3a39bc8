// CPU time of the exact mapper per layer, on one thread: one bit setting from cold (lists built anew), and all 125 packing
// classes of 16-bit words (2..8 and 16 bits per tensor pack in five ways) in one call. Checks itself: the one setting
// must cost the same in both calls, and fewer bits never more.
//   mapper_bench [part of a layer's name] [eyeriss|simba] [default|compat]
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "../../cpp/src/exact_mapper.hpp"
#include "../../tests/cpp/recorded_constraints.hpp"
#include "layers.hpp"

namespace {

using namespace quantloom;

using bench::Layer;

constexpr Layer kLayers[] = {
    {"first 3->32 s2 @112", 3, 32, 3, 112, 2},   {"pw 32->16 @112", 32, 16, 1, 112, 1}, {"pw 96->24 @56", 96, 24, 1, 56, 1},
    {"pw 24->144 @56", 24, 144, 1, 56, 1},       {"pw 160->960 @7", 160, 960, 1, 7, 1}, {"pw 512->512 @14", 512, 512, 1, 14, 1},
    {"fc 1280->1000", 1280, 1000, 1, 1, 1},      {"dw 32 @112", 1, 1, 3, 112, 1, 32},   {"dw 96 s2 @56", 1, 1, 3, 56, 2, 96},
    {"dw 960 @7", 1, 1, 3, 7, 1, 960},           {"dense 3x3 32 @112", 32, 32, 3, 112, 1}, {"dense 3x3 96 s2 @56", 96, 96, 3, 56, 2},
};

struct Timed {
  double seconds = 0;
  std::vector<Optimum> optima;
};

Timed solve(const Arch& arch, const Workload& workload, const std::vector<std::vector<int>>& settings, Objective objective, CostModel model) {
  MapperOptions options;
  options.objective = objective;
  options.model = model;
  options.threads = 1;
  const std::clock_t start = std::clock();
  Timed out;
  out.optima = optimize_exactly(arch, workload, settings, options, {}, {});
  out.seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  return out;
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::vector<int>> all;
  for (const int w : {16, 8, 5, 4, 2}) {
    for (const int i : {16, 8, 5, 4, 2}) {
      for (const int o : {16, 8, 5, 4, 2}) all.push_back({w, i, o});
    }
  }
  bool sound = true;
  const CostModel model = argc > 3 ? parse_cost_model(argv[3]) : CostModel::default_model;
  std::printf("cost model %s\n", std::string(cost_model_names()[static_cast<std::size_t>(model)]).c_str());
  std::printf("%-8s %-22s %12s %9s %12s %12s %10s %16s\n", "arch", "layer", "one ms", "priced", "energy ms", "125 ms", "priced", "EDP 16/16/16");
  for (const auto& [name, arch] : test::read_constrained_archs()) {
    if (argc > 2 && name != argv[2]) continue;
    for (const Layer& layer : kLayers) {
      if (argc > 1 && !contains(layer.name, argv[1])) continue;
      const Workload workload = make_workload(layer);
      const Timed one = solve(arch, workload, {{16, 16, 16}}, Objective::edp, model);
      const Timed energy = solve(arch, workload, {{16, 16, 16}}, Objective::energy, model);
      const Timed many = solve(arch, workload, all, Objective::edp, model);
      Count priced = 0;
      for (const Optimum& optimum : many.optima) priced += optimum.certificate.considered;
      sound = sound && many.optima.front().objective == one.optima.front().objective && many.optima.front().mapping == one.optima.front().mapping;
      for (std::size_t i = 1; i < all.size(); ++i) {
        sound = sound && (i % 5 == 0 || many.optima[i].objective <= many.optima[i - 1].objective) && many.optima[i].certificate.exhausted;
      }
      std::printf("%-8s %-22s %12.2f %9lld %12.2f %12.1f %10lld %16.9e\n", name.c_str(), layer.name, one.seconds * 1e3,
                  static_cast<long long>(one.optima.front().certificate.considered), energy.seconds * 1e3, many.seconds * 1e3,
                  static_cast<long long>(priced), one.optima.front().objective);
      std::fflush(stdout);
    }
  }
  std::printf(sound ? "answers agree\n" : "ANSWERS DISAGREE\n");
  return sound ? EXIT_SUCCESS : EXIT_FAILURE;
}
