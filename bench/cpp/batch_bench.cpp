// Mappings per second and core of the batch door, on one thread: by accelerator, layer and cost model, over mappings drawn
// uniformly from the accelerator's mapspace, as drawn and those that fit only. Checks itself: status, energy and cycles must
// be those of check_fit() and evaluate().
//   batch_bench [part of a layer's name] [eyeriss|simba] [default|compat]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "../../tests/cpp/recorded_constraints.hpp"
#include "layers.hpp"
#include "quantloom/batch.hpp"
#include "quantloom/mapspace.hpp"

namespace {

using namespace quantloom;
using bench::Layer;

constexpr Layer kLayers[] = {
    {"first 3->32 s2 @112", 3, 32, 3, 112, 2}, {"pw 24->144 @56", 24, 144, 1, 56, 1},       {"pw 160->960 @7", 160, 960, 1, 7, 1},
    {"dw 96 s1 @56", 1, 1, 3, 56, 1, 96},      {"dw 144 s2 @28", 1, 1, 3, 28, 2, 144},      {"dense 3x3 256 @14", 256, 256, 3, 14, 1},
    {"gemm 512x512x512", 512, 512, 1, 1, 1},
};
constexpr std::size_t kMappings = 1 << 14;
constexpr std::size_t kMostDrawn = 1 << 19;
constexpr std::size_t kChecked = 2000;
constexpr double kSeconds = 0.3;  // of one measurement; the fastest of three counts

// "gemm": N takes the place of an output's two coordinates.
Workload make_layer(const Layer& layer) {
  if (std::strncmp(layer.name, "gemm", 4) != 0) return bench::make_workload(layer);
  return {layer.name,
          {{"C", layer.c}, {"M", layer.m}, {"N", 512}},
          {{"Weights", {{{0, 1}}, {{1, 1}}}, false}, {"Inputs", {{{2, 1}}, {{0, 1}}}, false}, {"Outputs", {{{2, 1}}, {{1, 1}}}, true}}};
}

struct Results {
  std::vector<double> energy;
  std::vector<double> cycles;
  std::vector<std::uint8_t> status;

  explicit Results(std::size_t count) : energy(count), cycles(count), status(count) {}
  BatchResult view() { return {energy.data(), cycles.data(), status.data()}; }
};

MappingColumns columns_of(const MappingColumns& from, const std::vector<std::size_t>& list) {
  MappingColumns out{from.slots, list.size(), {}, {}, {}};
  const auto copy = [&](const auto& rows, auto& to) {
    for (std::size_t row = 0; row * from.count < rows.size(); ++row) {
      for (const std::size_t i : list) to.push_back(rows[row * from.count + i]);
    }
  };
  copy(from.dims, out.dims);
  copy(from.bounds, out.bounds);
  copy(from.keep, out.keep);
  return out;
}

MappingColumns keep_fitting(BatchEvaluator& evaluator, const MappingColumns& drawn) {
  Results results(drawn.count);
  evaluator.evaluate(drawn.batch(), results.view());
  std::vector<std::size_t> fitting;
  for (std::size_t i = 0; i < drawn.count && fitting.size() < kMappings; ++i) {
    if (results.status[i] == 0) fitting.push_back(i);
  }
  return columns_of(drawn, fitting);
}

bool check(const Arch& arch, const Workload& workload, std::span<const int> bits, const EvaluateOptions& options, const MappingColumns& columns, const Results& results) {
  for (std::size_t i = 0; i < std::min(columns.count, kChecked); ++i) {
    const Mapping mapping = mapping_at(columns.batch(), i, arch.num_levels());
    const Fit fit = check_fit(arch, workload, mapping, bits, options);
    if (fit.fits() != (results.status[i] == 0)) return false;
    if (!fit.fits()) continue;
    const Cost cost = evaluate(arch, workload, mapping, bits, options);
    if (cost.cycles != results.cycles[i] || std::abs(cost.energy_pj - results.energy[i]) > 1e-12 * cost.energy_pj) return false;
  }
  return true;
}

// Mappings per second of CPU time.
double measure(BatchEvaluator& evaluator, const MappingColumns& columns, Results& results) {
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const std::clock_t begin = std::clock();
    std::size_t passes = 0;
    double seconds = 0;
    while (seconds < kSeconds) {
      evaluator.evaluate(columns.batch(), results.view());
      ++passes;
      seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    }
    best = std::max(best, static_cast<double>(passes * columns.count) / seconds);
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<int> bits{8, 8, 8};
  bool sound = true;
  std::printf("%-8s %-20s %-8s %6s %12s %14s %8s %14s\n", "arch", "layer", "model", "slots", "fitting", "drawn M/s", "checked", "fitting M/s");
  for (const auto& [name, arch] : test::read_constrained_archs()) {
    if (argc > 2 && name != argv[2]) continue;
    for (const Layer& layer : kLayers) {
      if (argc > 1 && std::string(layer.name).find(argv[1]) == std::string::npos) continue;
      const Workload workload = make_layer(layer);
      const MappingColumns many = Mapspace(arch, workload).sample_columns(kMostDrawn, 1);
      std::vector<std::size_t> head(kMappings);
      for (std::size_t i = 0; i < kMappings; ++i) head[i] = i;
      const MappingColumns drawn = columns_of(many, head);
      for (const std::string_view model : cost_model_names()) {
        if (argc > 3 && model != argv[3]) continue;
        const EvaluateOptions options{parse_cost_model(model)};
        BatchEvaluator evaluator(arch, workload, bits, options);
        const MappingColumns fitting = keep_fitting(evaluator, many);
        Results of_drawn(drawn.count);
        Results of_fitting(fitting.count);
        const double drawn_rate = measure(evaluator, drawn, of_drawn);
        const double fitting_rate = fitting.count > 0 ? measure(evaluator, fitting, of_fitting) : 0;
        const bool agree = check(arch, workload, bits, options, drawn, of_drawn) && check(arch, workload, bits, options, fitting, of_fitting);
        sound = sound && agree;
        std::printf("%-8s %-20s %-8s %6zu %12zu %14.3f %8s %14.3f\n", name.c_str(), layer.name, std::string(model).c_str(), drawn.slots.size(),
                    fitting.count, drawn_rate * 1e-6, agree ? "yes" : "NO", fitting_rate * 1e-6);
        std::fflush(stdout);
      }
    }
  }
  std::printf(sound ? "answers agree\n" : "ANSWERS DISAGREE\n");
  return sound ? EXIT_SUCCESS : EXIT_FAILURE;
}
