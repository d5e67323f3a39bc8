// Small workloads and architectures that the tests share, and how they look at errors.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/error.hpp"
#include "quantloom/mapping.hpp"
#include "quantloom/workload.hpp"

namespace quantloom::test {

// What a call threw: kind, message and hint; the test fails if it threw nothing.
struct Caught {
  ErrorKind kind = ErrorKind::internal;
  std::string message;
  std::string hint;
};

template <class Call>
[[nodiscard]] Caught caught_from(Call&& call) {
  try {
    std::forward<Call>(call)();
  } catch (const Error& error) {
    return {error.kind(), error.what(), error.hint()};
  }
  ADD_FAILURE() << "no error was thrown";
  return {};
}

// Outputs[m][n] += Weights[c][m] * Inputs[c][n]; dims 0 = M, 1 = C, 2 = N.
[[nodiscard]] inline Workload matmul(Count m, Count c, Count n) {
  return {"matmul",
          {{"M", m}, {"C", c}, {"N", n}},
          {{"Weights", {{{1, 1}}, {{0, 1}}}, false},
           {"Inputs", {{{1, 1}}, {{2, 1}}}, false},
           {"Outputs", {{{0, 1}}, {{2, 1}}}, true}}};
}

// A one-dimensional convolution: Inputs[stride * p + r]; dims 0 = P, 1 = R.
[[nodiscard]] inline Workload conv1d(Count p, Count r, Count stride = 1) {
  return {"conv1d",
          {{"P", p}, {"R", r}},
          {{"Weights", {{{1, 1}}}, false}, {"Inputs", {{{0, stride}, {1, 1}}}, false}, {"Outputs", {{{0, 1}}}, true}}};
}

[[nodiscard]] inline Level make_level(std::string name, Count mesh_x, Count mesh_y) {
  Level level;
  level.name = std::move(name);
  level.mesh_x = mesh_x;
  level.mesh_y = mesh_y;
  level.instances = mesh_x * mesh_y;
  level.energy = {1, 2, 3, "", "", ""};
  return level;
}

[[nodiscard]] inline Arithmetic make_macs(Count mesh_x, Count mesh_y) {
  Arithmetic macs;
  macs.name = "mac";
  macs.instances = mesh_x * mesh_y;
  macs.mesh_x = mesh_x;
  macs.mesh_y = mesh_y;
  macs.energy_pj = 0.5;
  return macs;
}

// A buffer of 64 words of 16 bits over one multiplier, and a DRAM ten times as dear.
[[nodiscard]] inline Arch buffer_and_dram() {
  Level buffer = make_level("buffer", 1, 1);
  buffer.capacity_words = 64;
  Level dram = make_level("DRAM", 1, 1);
  dram.is_dram = true;
  dram.energy = {10, 20, 30, "", "", ""};
  return {"small", {buffer, dram}, make_macs(1, 1), {}};
}

inline constexpr std::uint32_t kKeepAll = 0b111;

}  // namespace quantloom::test
