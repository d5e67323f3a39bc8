// Workloads, accelerators and mappings made of bytes: sane ones, and ones with hostile values in any field.
#pragma once

#include <vector>

#include "bytes.hpp"
#include "quantloom/arch.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/mapping.hpp"
#include "quantloom/workload.hpp"

namespace quantloom::fuzz {

// Each throws quantloom::Error as its constructor does.
[[nodiscard]] Workload draw_workload(Bytes& bytes);
[[nodiscard]] Arch draw_arch(Bytes& bytes, const Workload& workload);

[[nodiscard]] Mapping draw_mapping(Bytes& bytes, const Arch& arch, const Workload& workload);
[[nodiscard]] std::vector<int> draw_bits(Bytes& bytes, const Workload& workload);
[[nodiscard]] EvaluateOptions draw_options(Bytes& bytes);

}  // namespace quantloom::fuzz
