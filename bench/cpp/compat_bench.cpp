// Mappings a second that the compat model counts and prices on one thread: the nest is built, and all tensors are counted
// and priced at all levels, over mappings that fit, drawn from the accelerator's mapspace. Every mapping's cost is
// compared with that of stepping through the nest before anything is timed.
//   compat_bench [--benchmark_filter=part of a layer's name]
#include <benchmark/benchmark.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "../../cpp/src/tensor_price.hpp"
#include "../../tests/cpp/recorded_constraints.hpp"
#include "quantloom/mapspace.hpp"

namespace {

using namespace quantloom;

constexpr std::size_t kMappings = 2000;
constexpr std::size_t kDrawsAtOnce = 20000;
constexpr std::size_t kMostDraws = 2000000;
constexpr std::array<int, 3> kBits{8, 4, 16};
constexpr EvaluateOptions kMapperOptions{CostModel::compat, false, PackingRule::word, 0, false};  // no hops for reports

struct Layer {
  const char* name;
  Count c, m, r, n, p, stride;
  Count g = 1;  // above 1: depthwise
};

constexpr Layer kLayers[] = {
    {"mobilenet_first_3to32_s2_112", 3, 32, 3, 1, 112, 2}, {"mobilenet_pointwise_96to24_56", 96, 24, 1, 1, 56, 1},
    {"mobilenet_depthwise_3x3_144_56", 1, 1, 3, 1, 56, 1, 144}, {"mobilenet_depthwise_3x3_s2_96_56", 1, 1, 3, 1, 56, 2, 96},
    {"resnet50_3x3_256_14", 256, 256, 3, 1, 14, 1}, {"gemm_128x768x768", 768, 768, 1, 128, 1, 1},
};

Workload make_workload(const Layer& layer) {
  std::vector<Dim> dims;
  if (layer.g > 1) dims.push_back({"G", layer.g});
  const int first = static_cast<int>(dims.size());
  for (const Dim& d : {Dim{"C", layer.c}, Dim{"M", layer.m}, Dim{"R", layer.r}, Dim{"S", layer.r}, Dim{"N", layer.n}, Dim{"P", layer.p}, Dim{"Q", layer.p}}) {
    dims.push_back(d);
  }
  const auto at = [&](int i) { return std::vector<Term>{{first + i, 1}}; };
  std::vector<TensorSpec> tensors = {
      {"Weights", {at(0), at(1), at(2), at(3)}, false},
      {"Inputs", {at(4), at(0), {{first + 2, 1}, {first + 5, layer.stride}}, {{first + 3, 1}, {first + 6, layer.stride}}}, false},
      {"Outputs", {at(4), at(1), at(6), at(5)}, true}};
  if (layer.g > 1) {
    for (TensorSpec& tensor : tensors) tensor.ranks.insert(tensor.ranks.begin(), {{0, 1}});
  }
  return {layer.name, dims, tensors};
}

struct Sample {
  Arch arch;
  Workload workload;
  std::vector<Mapping> mappings;
};

// Up to kMappings that fit, uniform over the mapspace.
std::vector<Mapping> draw(const Arch& arch, const Workload& workload) {
  const Mapspace space(arch, workload);
  std::vector<Mapping> out;
  for (std::size_t drawn = 0; drawn < kMostDraws && out.size() < kMappings; drawn += kDrawsAtOnce) {
    for (Mapping& mapping : space.sample(kDrawsAtOnce, drawn + 1)) {
      if (out.size() < kMappings && check_fit(arch, workload, mapping, kBits, {CostModel::compat}).fits()) out.push_back(std::move(mapping));
    }
  }
  return out;
}

class Pricer {
 public:
  explicit Pricer(const Sample& sample) : sample_(sample) {}

  // Energy of all levels and networks.
  double energy_of(const Mapping& mapping, const EvaluateOptions& options) {
    build_nest(mapping, nest_);
    double energy = 0;
    for (int t = 0; t < sample_.workload.num_tensors(); ++t) {
      count_tensor(sample_.arch, sample_.workload, nest_, t, options, scratch_, counts_);
      price_tensor(sample_.arch, nest_, counts_, t, tensor_bits(sample_.arch, sample_.workload, kBits, t, options), options, price_);
      energy += price_.energy_pj;
    }
    return energy;
  }

 private:
  const Sample& sample_;
  Nest nest_;
  CompatScratch scratch_;
  TensorCounts counts_;
  TensorPrice price_;
};

bool agrees_with_stepping(const Sample& sample) {
  Pricer pricer(sample);
  for (const Mapping& mapping : sample.mappings) {
    if (pricer.energy_of(mapping, {CostModel::compat, true}) != pricer.energy_of(mapping, kMapperOptions)) return false;
  }
  return !sample.mappings.empty();
}

void price_all(benchmark::State& state, const Sample& sample) {
  Pricer pricer(sample);
  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(pricer.energy_of(sample.mappings[next], kMapperOptions));
    if (++next == sample.mappings.size()) next = 0;
  }
  state.SetItemsProcessed(state.iterations());
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const auto archs = test::read_constrained_archs();
  std::vector<std::unique_ptr<Sample>> samples;
  for (const char* name : {"eyeriss", "simba"}) {
    for (const Layer& layer : kLayers) {
      Sample& sample = *samples.emplace_back(std::make_unique<Sample>(Sample{archs.at(name), make_workload(layer), {}}));
      sample.mappings = draw(sample.arch, sample.workload);
      const std::string label = std::string(name) + "/" + layer.name;
      if (!agrees_with_stepping(sample)) {
        std::fprintf(stderr, "%s: no mapping, or one that costs something else when stepped through\n", label.c_str());
        return EXIT_FAILURE;
      }
      std::printf("%s: %zu mappings agree with stepping\n", label.c_str(), sample.mappings.size());
      benchmark::RegisterBenchmark(label.c_str(), [&sample](benchmark::State& state) { price_all(state, sample); });
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return EXIT_SUCCESS;
}
