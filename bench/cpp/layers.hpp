// The layers that the benchmarks run.
#pragma once

#include <vector>

#include "quantloom/workload.hpp"

namespace quantloom::bench {

struct Layer {
  const char* name;
  Count c, m, r, p, stride;
  Count g = 1;  // above 1: depthwise
};

inline Workload make_workload(const Layer& layer) {
  std::vector<Dim> dims;
  if (layer.g > 1) dims.push_back({"G", layer.g});
  const int first = static_cast<int>(dims.size());
  for (const Dim& d : {Dim{"C", layer.c}, Dim{"M", layer.m}, Dim{"R", layer.r}, Dim{"S", layer.r}, Dim{"N", 1}, Dim{"P", layer.p}, Dim{"Q", layer.p}}) {
    dims.push_back(d);
  }
  const auto at = [&](int i) { return std::vector<Term>{{first + i, 1}}; };
  std::vector<TensorSpec> tensors = {{"Weights", {at(0), at(1), at(2), at(3)}, false},
                                     {"Inputs", {at(4), at(0), {{first + 2, 1}, {first + 5, layer.stride}}, {{first + 3, 1}, {first + 6, layer.stride}}}, false},
                                     {"Outputs", {at(4), at(1), at(6), at(5)}, true}};
  if (layer.g > 1) {
    for (TensorSpec& tensor : tensors) tensor.ranks.insert(tensor.ranks.begin(), {{0, 1}});
  }
  return {layer.name, dims, tensors};
}

}  // namespace quantloom::bench
