// Arithmetic units whose energy and speed depend on the widths of their operands: tables of the known styles, and what one
// multiply-accumulate of a workload costs on them. Section 8 of docs/model.md.
#pragma once

#include <span>

#include "quantloom/arch.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

// A unit of word_bits x word_bits made of bricks of brick_bits x brick_bits that join up (BitFusion, arXiv 1712.01507):
// operands take the next power of two of bricks, the unit does word_bits^2 / (first * second) operations a cycle, and each
// has the same share of energy_pj, the energy of one at full width. Operands up to twice the word take several cycles.
// Throws Error(spec) unless word_bits is brick_bits times a power of two.
[[nodiscard]] MacTable bit_scalable_macs(int word_bits, int brick_bits, double energy_pj);

enum class SerialOperand { first, second, both };

// A unit that takes serial operands bit by bit on `lanes` lanes (Stripes, 10.1109/MICRO.2016.7783722; both operands: Loom,
// arXiv 1706.07853): lanes / (serial bits) operations a cycle, energy_pj * (serial bits / word_bits) each. lanes 0: as many
// as make one operation a cycle at word_bits. Serial operands have 1 to 32 bits, others at most word_bits.
// Throws Error(spec) for word_bits outside 1..32 or negative lanes.
[[nodiscard]] MacTable bit_serial_macs(int word_bits, SerialOperand serial, Count lanes, double energy_pj);

// Throws Error(spec) naming the arch unless widths ascend from 1, the rows are complete, all numbers are positive (energies: not
// negative), and more bits are never cheaper or faster.
void check_mac_table(const std::string& arch, const MacTable& table);

struct MacMode {
  double energy_pj = 0;  // per multiply-accumulate
  MacRate rate;
  bool operator==(const MacMode&) const = default;
};

// How the arch multiplies at these bits per tensor. First operand: the first input; second: the widest of the others, the
// narrowest entry if there is none. Width 0 stands for the last entry. compat: energy_pj of the units, one a cycle.
// Throws Error(mapping) for a width that the table does not have.
[[nodiscard]] MacMode mac_mode(const Arch& arch, const Workload& workload, std::span<const int> bits, CostModel model);

}  // namespace quantloom
