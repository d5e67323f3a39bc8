#include "quantloom/mac_table.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "quantities.hpp"
#include "quantloom/error.hpp"

namespace quantloom {
namespace {

constexpr int kMaxSerialBits = 32;
constexpr Count kLargestRate = Count{1} << 40;  // batches divide by it in doubles: from 2^53 on a share of a cycle is lost

[[noreturn]] void fail(const std::string& arch, const std::string& what) {
  throw Error(ErrorKind::spec, "architecture '" + arch + "': MAC table: " + what);
}

void check_widths(const std::string& arch, const char* operand, const std::vector<int>& bits) {
  if (bits.empty()) fail(arch, std::string("no widths of the ") + operand + " operand");
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const int least = i == 0 ? 1 : bits[i - 1] + 1;
    if (bits[i] < least) fail(arch, std::string("widths of the ") + operand + " operand must ascend from 1, " + std::to_string(bits[i]) + " does not");
  }
}

bool is_faster(const MacRate& a, const MacRate& b) {
  return static_cast<__int128>(a.macs) * b.cycles > static_cast<__int128>(b.macs) * a.cycles;
}

void check_step(const std::string& arch, const MacTable& table, std::size_t narrow, std::size_t wide) {
  const std::size_t columns = table.second_bits.size();
  const auto name = [&](std::size_t at) { return std::to_string(table.first_bits[at / columns]) + " x " + std::to_string(table.second_bits[at % columns]) + " bits"; };
  if (table.energy_pj[wide] < table.energy_pj[narrow]) fail(arch, name(wide) + " take less energy than " + name(narrow));
  if (is_faster(table.rate[wide], table.rate[narrow])) fail(arch, name(wide) + " are faster than " + name(narrow));
}

std::vector<int> widths_up_to(int last) {
  std::vector<int> out;
  for (int bits = 1; bits <= last; ++bits) out.push_back(bits);
  return out;
}

std::size_t find_width(const Arch& arch, const std::vector<int>& widths, int bits) {
  if (bits == 0) return widths.size() - 1;
  const auto it = std::lower_bound(widths.begin(), widths.end(), bits);
  if (it == widths.end()) {
    throw Error(ErrorKind::mapping, "'" + arch.arithmetic().name + "' multiplies operands of at most " + std::to_string(widths.back()) + " bits, " +
                                        std::to_string(bits) + " are asked for",
                "use fewer bits, or extend the precision table of the architecture");
  }
  return static_cast<std::size_t>(it - widths.begin());
}

}  // namespace

MacTable bit_scalable_macs(int word_bits, int brick_bits, double energy_pj) {
  const bool fits = brick_bits >= 1 && word_bits >= brick_bits && word_bits <= 1024 && word_bits % brick_bits == 0 &&
                    std::has_single_bit(static_cast<unsigned>(word_bits / brick_bits));
  if (!fits) {
    throw Error(ErrorKind::spec, "bit-scalable units of " + std::to_string(word_bits) + " bits cannot be made of bricks of " + std::to_string(brick_bits),
                "word_bits must be brick_bits times a power of two");
  }
  MacTable table;
  for (int bits = brick_bits; bits <= 2 * word_bits; bits *= 2) table.first_bits.push_back(bits);
  table.second_bits = table.first_bits;
  const Count whole = static_cast<Count>(word_bits) * word_bits;
  for (const int first : table.first_bits) {
    for (const int second : table.second_bits) {
      const Count part = static_cast<Count>(first) * second;
      table.energy_pj.push_back(energy_pj * static_cast<double>(part) / static_cast<double>(whole));
      table.rate.push_back(part <= whole ? MacRate{whole / part, 1} : MacRate{1, part / whole});
    }
  }
  return table;
}

MacTable bit_serial_macs(int word_bits, SerialOperand serial, Count lanes, double energy_pj) {
  if (word_bits < 1 || word_bits > kMaxSerialBits || lanes < 0) {
    throw Error(ErrorKind::spec, "bit-serial units of " + std::to_string(word_bits) + " bits with " + std::to_string(lanes) + " lanes",
                "expected 1 to " + std::to_string(kMaxSerialBits) + " bits and at least one lane");
  }
  const Count full = serial == SerialOperand::both ? static_cast<Count>(word_bits) * word_bits : word_bits;
  MacTable table;
  table.first_bits = serial == SerialOperand::second ? std::vector<int>{word_bits} : widths_up_to(kMaxSerialBits);
  table.second_bits = serial == SerialOperand::first ? std::vector<int>{word_bits} : widths_up_to(kMaxSerialBits);
  for (const int first : table.first_bits) {
    for (const int second : table.second_bits) {
      const Count bits = serial == SerialOperand::first ? first : serial == SerialOperand::second ? second : static_cast<Count>(first) * second;
      table.energy_pj.push_back(energy_pj * static_cast<double>(bits) / static_cast<double>(full));
      table.rate.push_back({lanes > 0 ? lanes : full, bits});
    }
  }
  return table;
}

void check_mac_table(const std::string& arch, const MacTable& table) {
  check_widths(arch, "first", table.first_bits);
  check_widths(arch, "second", table.second_bits);
  const std::size_t columns = table.second_bits.size();  // not 0
  const std::size_t entries = table.first_bits.size() * columns;
  if (table.energy_pj.size() != entries || table.rate.size() != entries) {
    fail(arch, std::to_string(entries) + " pairs of widths need as many energies and rates, there are " + std::to_string(table.energy_pj.size()) +
                   " and " + std::to_string(table.rate.size()));
  }
  for (std::size_t i = 0; i < entries; ++i) {
    if (!std::isfinite(table.energy_pj[i]) || table.energy_pj[i] < 0) fail(arch, "energies must be 0 or more");
    if (table.energy_pj[i] > kLargestQuantity) fail(arch, "energies must be at most 1e100");
    if (table.rate[i].macs < 1 || table.rate[i].cycles < 1) fail(arch, "rates must be above 0");
    if (table.rate[i].macs > kLargestRate || table.rate[i].cycles > kLargestRate) fail(arch, "rates must be at most 2^40 operations and cycles");
    if (i % columns > 0) check_step(arch, table, i - 1, i);  // NOLINT(clang-analyzer-core.DivideZero): check_widths() refuses it
    if (i >= columns) check_step(arch, table, i - columns, i);
  }
}

MacMode mac_mode(const Arch& arch, const Workload& workload, std::span<const int> bits, CostModel model) {
  const Arithmetic& units = arch.arithmetic();
  if (!units.mac_table || model == CostModel::compat) return {units.energy_pj, {}};
  const MacTable& table = *units.mac_table;
  int first = -1;
  int second = -1;
  for (std::size_t t = 0; t < bits.size(); ++t) {
    if (workload.tensors()[t].is_output) continue;
    if (first < 0) {
      first = bits[t];
    } else if (second != 0) {  // 0: unspecified, wider than any
      second = bits[t] == 0 ? 0 : std::max(second, bits[t]);
    }
  }
  const std::size_t row = find_width(arch, table.first_bits, first);
  const std::size_t column = second < 0 ? 0 : find_width(arch, table.second_bits, second);
  const std::size_t at = row * table.second_bits.size() + column;
  return {table.energy_pj[at], table.rate[at]};
}

}  // namespace quantloom
