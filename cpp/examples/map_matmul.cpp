// Describes a matrix product and an accelerator, finds the mapping of least energy * delay at 8 bits, prints it.
#include <iostream>

#include <quantloom/cost.hpp>
#include <quantloom/error.hpp>
#include <quantloom/mapper.hpp>

namespace ql = quantloom;

namespace {

// Outputs[m][n] += Weights[m][k] * Inputs[k][n]
ql::Workload make_matmul(ql::Count m, ql::Count k, ql::Count n) {
  enum { M, K, N };
  return {"matmul",
          {{"M", m}, {"K", k}, {"N", n}},
          {{"Weights", {{{M}}, {{K}}}, false}, {"Inputs", {{{K}}, {{N}}}, false}, {"Outputs", {{{M}}, {{N}}}, true}}};
}

ql::Level make_level(std::string name, ql::Count instances, double read_pj, double write_pj) {
  ql::Level level;
  level.name = std::move(name);
  level.word_bits = 16;
  level.instances = instances;
  level.mesh_x = instances;
  level.energy.read_pj = read_pj;
  level.energy.fill_pj = write_pj;
  level.energy.update_pj = write_pj;
  return level;
}

// Eight units, each with a scratchpad of 64 words, one buffer of 4096 words, and a DRAM.
ql::Arch make_arch() {
  ql::Level scratchpad = make_level("scratchpad", 8, 0.6, 0.7);
  scratchpad.capacity_words = 64;
  ql::Level buffer = make_level("buffer", 1, 6, 7);
  buffer.capacity_words = 4096;
  buffer.read_bandwidth = 8;
  ql::Level dram = make_level("DRAM", 1, 200, 200);
  dram.is_dram = true;
  ql::Arithmetic units;
  units.name = "mac";
  units.instances = 8;
  units.mesh_x = 8;
  units.energy_pj = 0.5;
  return {"example", {scratchpad, buffer, dram}, units, {}};
}

}  // namespace

int main() {
  try {
    const ql::Arch arch = make_arch();
    const ql::Workload workload = make_matmul(64, 64, 64);
    const std::vector<int> bits{8, 8, 8};  // one width a tensor

    const ql::Optimum best = ql::optimize(arch, workload, {bits}).front();
    if (!best.found) {
      std::cerr << "nothing fits\n";
      return 1;
    }
    const ql::Cost cost = ql::evaluate(arch, workload, best.mapping, bits);
    std::cout << ql::describe_mapping(arch, workload, best.mapping) << "\n"
              << "energy       " << cost.energy_pj / 1e6 << " uJ\n"
              << "cycles       " << cost.cycles << "\n"
              << "utilization  " << 100 * cost.utilization << "%\n"
              << (best.certificate.exhausted ? "proven optimal over " : "best found of ") << best.certificate.space_size
              << " mappings\n";
  } catch (const ql::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
