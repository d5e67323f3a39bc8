// The batch door against evaluate() and check_fit(): random architectures, layers, mappings and widths, valid or not.
#include "quantloom/batch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <random>

#include "batch_lanes.hpp"
#include "fixtures.hpp"
#include "quantloom/mapspace.hpp"
#include "some_of.hpp"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // the replacements below are made of malloc and free
#endif

namespace {
std::size_t allocations = 0;  // of the whole program
}

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  const auto align = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(align, (size + align - 1) / align * align)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace quantloom {
namespace {

using test::caught_from;
using test::kKeepAll;
using test::make_level;
using test::make_macs;
using test::matmul;

// Mappings of one layer as columns; a loop goes into the first free slot of its level and kind.
class Columns {
 public:
  Columns(std::vector<LoopSlot> slots, int levels, std::size_t count)
      : slots_(std::move(slots)),
        levels_(levels),
        count_(count),
        dims_(slots_.size() * count),
        bounds_(slots_.size() * count, 1),
        keep_(static_cast<std::size_t>(levels) * count),
        energy_(count, -1),
        cycles_(count, -1),
        status_(count, 255) {}

  void put(std::size_t column, const Mapping& mapping, std::mt19937& random) {
    for (int l = 0; l < levels_; ++l) {
      const LevelMapping& level = mapping.levels[static_cast<std::size_t>(l)];
      keep_[static_cast<std::size_t>(l) * count_ + column] = level.keep;
      put_loops(column, l, LoopKind::temporal, level.temporal, random);
      put_loops(column, l, LoopKind::spatial_y, level.spatial_y, random);
      put_loops(column, l, LoopKind::spatial_x, level.spatial_x, random);
    }
  }

  [[nodiscard]] MappingBatch batch() const {
    return {slots_, count_, count_, dims_.data(), bounds_.data(), keep_.data()};
  }
  [[nodiscard]] BatchResult result() { return {energy_.data(), cycles_.data(), status_.data()}; }
  [[nodiscard]] double energy(std::size_t i) const { return energy_[i]; }
  [[nodiscard]] double cycles(std::size_t i) const { return cycles_[i]; }
  [[nodiscard]] int status(std::size_t i) const { return status_[i]; }
  std::uint32_t& bound(std::size_t slot, std::size_t column) { return bounds_[slot * count_ + column]; }
  std::uint8_t& dim(std::size_t slot, std::size_t column) { return dims_[slot * count_ + column]; }
  std::uint32_t& keep(std::size_t level, std::size_t column) { return keep_[level * count_ + column]; }

 private:
  void put_loops(std::size_t column, int level, LoopKind kind, const std::vector<Loop>& loops, std::mt19937& random) {
    std::size_t slot = 0;
    while (slot < slots_.size() && slots_[slot] != LoopSlot{level, kind}) ++slot;
    std::size_t free = 0;  // slots that may stay empty
    while (slot + free < slots_.size() && slots_[slot + free] == LoopSlot{level, kind}) ++free;
    for (const Loop& loop : loops) {
      if (loop.bound != 1) --free;
    }
    for (const Loop& loop : loops) {
      if (loop.bound == 1) continue;
      for (; free > 0 && random() % 3 == 0; --free) ++slot;
      dims_[slot * count_ + column] = static_cast<std::uint8_t>(loop.dim);
      bounds_[slot * count_ + column] = static_cast<std::uint32_t>(loop.bound);
      ++slot;
    }
  }

  std::vector<LoopSlot> slots_;
  int levels_;
  std::size_t count_;
  std::vector<std::uint8_t> dims_;
  std::vector<std::uint32_t> bounds_;
  std::vector<std::uint32_t> keep_;
  std::vector<double> energy_;
  std::vector<double> cycles_;
  std::vector<std::uint8_t> status_;
};

// As many slots of each level and kind as the mappings need, and sometimes one to spare.
std::vector<LoopSlot> make_slots(const std::vector<Mapping>& mappings, std::mt19937& random) {
  std::vector<LoopSlot> slots;
  const auto add = [&](int level, LoopKind kind, std::vector<Loop> LevelMapping::*loops) {
    std::size_t most = 0;
    for (const Mapping& mapping : mappings)
      most = std::max(most, (mapping.levels[static_cast<std::size_t>(level)].*loops).size());
    if (most > 0 && random() % 4 == 0) ++most;
    slots.insert(slots.end(), most, {level, kind});
  };
  for (int l = static_cast<int>(mappings.front().levels.size()) - 1; l >= 0; --l) {
    add(l, LoopKind::temporal, &LevelMapping::temporal);
    add(l, LoopKind::spatial_y, &LevelMapping::spatial_y);
    add(l, LoopKind::spatial_x, &LevelMapping::spatial_x);
  }
  return slots;
}

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  std::mt19937& engine() { return random_; }

  // scalar_networks: some level has a network that the lanes do not have.
  Arch arch(bool scalar_networks) {
    const int count = 2 + below(4);
    std::vector<Level> levels(static_cast<std::size_t>(count));
    Count x = 1;
    Count y = 1;
    for (int l = count - 1; l >= 0; --l) {
      Level& level = levels[static_cast<std::size_t>(l)];
      level = make_level("L" + std::to_string(l), x, y);
      level.word_bits = 16 << below(2);
      level.block_words = 1 + below(4);
      level.cluster_size = x * y > 1 && below(3) == 0 ? x * y : 1;
      if (l < count - 1 && below(2) == 0) level.capacity_words = 1 << (1 + below(12));
      level.energy = {1.0 / (1 + below(9)), 2.0 / (1 + below(9)), 0.1 * below(30), "", "", ""};
      if (below(3) == 0) level.address_energy_pj = 0.01 * below(100);
      if (below(3) == 0) level.leak_energy_pj = 0.001 * below(100);
      if (below(4) == 0) level.idle_energy_pj = 0.001 * below(100);
      if (below(3) == 0) level.read_bandwidth = 0.3 * (1 + below(20));
      if (below(3) == 0) level.write_bandwidth = 0.7 * (1 + below(20));
      if (below(4) == 0) level.shared_bandwidth = 1 + below(20);
      level.bandwidth_in_bits = below(4) == 0;
      if (below(3) == 0) level.packing = static_cast<PackingRule>(below(3));
      level.multicast = below(5) != 0;
      if (scalar_networks) {
        level.hop_energy_pj = 0.1 * below(3);
        level.adder_energy_pj = 0.1 * below(3);
        level.reduction = below(3) != 0;
        level.forwarding = below(4) == 0;
      }
      x *= below(2) == 0 ? 1 : 1 + below(6);
      y *= below(2) == 0 ? 1 : 1 + below(6);
    }
    Arithmetic macs = make_macs(x, y);
    macs.psum_bits = below(3) == 0 ? 1 + below(40) : 0;
    macs.leak_energy_pj = 0.01 * below(2);
    macs.idle_energy_pj = 0.001 * below(2);
    if (below(3) == 0) macs.mac_table = MacTable{{4, 32}, {32}, {0.2, 0.7}, {{3, 2}, {1, 2}}};
    return {"random", levels, macs, {}};
  }

  // A strided, dilated convolution over groups (dims G C M R S P Q), a GEMM, or three inputs with a window of three
  // dims.
  Workload workload() {
    static constexpr std::array<Count, 8> kBounds{1, 2, 3, 4, 6, 8, 12, 16};
    const auto bound = [&] { return kBounds[static_cast<std::size_t>(below(8))]; };
    const Count stride = 1 + below(3);
    const Count dilation = 1 + below(3);
    switch (below(4)) {
      case 0:
        return matmul(bound(), bound(), bound());
      case 1:
        return {"three",
                {{"a", bound()}, {"b", bound()}, {"c", bound()}, {"d", bound()}},
                {{"x", {{{0, stride}, {1, 1}, {2, dilation}}, {{3, stride}}}, false},
                 {"y", {{{1, 1}}, {{3, 1}}}, false},
                 {"w", {{{2, 2}, {3, 1}}}, false},
                 {"z", {{{0, 1}}, {{3, 1}}}, true}}};
      default:
        return {"conv",
                {{"G", below(3) == 0 ? bound() : 1},
                 {"C", bound()},
                 {"M", bound()},
                 {"R", 1 + below(3)},
                 {"S", 1 + below(3)},
                 {"P", bound()},
                 {"Q", bound()}},
                {{"Weights", {{{0, 1}}, {{1, 1}}, {{2, 1}}, {{3, 1}}, {{4, 1}}}, false},
                 {"Inputs", {{{0, 1}}, {{1, 1}}, {{3, dilation}, {5, stride}}, {{4, 1}, {6, stride}}}, false},
                 {"Outputs", {{{0, 1}}, {{2, 1}}, {{5, 1}}, {{6, 1}}}, true}}};
    }
  }

  // fixed_order: dims ascend in every block.
  Mapping mapping(const Arch& arch, const Workload& workload, std::uint32_t keep_mask, bool fixed_order) {
    Mapping out;
    const int tensors = workload.num_tensors();
    for (int l = 0; l < arch.num_levels(); ++l) {
      const std::uint32_t all = (1U << tensors) - 1;
      const std::uint32_t keep = keep_mask != 0 ? keep_mask >> (l % 4) : static_cast<std::uint32_t>(random_());
      out.levels.push_back({{}, {}, {}, l == arch.num_levels() - 1 ? all : keep & all});
    }
    for (int d = 0; d < workload.num_dims(); ++d) {
      for (Count left = workload.bound(d); left > 1;) {
        Count factor = 2;
        while (left % factor != 0) ++factor;
        left /= factor;
        const int level = below(arch.num_levels());
        LevelMapping& here = out.levels[static_cast<std::size_t>(level)];
        const bool x = arch.fanout_x(level) > 1 && below(2) == 0;
        const bool y = !x && arch.fanout_y(level) > 1 && below(2) == 0;
        std::vector<Loop>& loops = x ? here.spatial_x : y ? here.spatial_y : here.temporal;
        const auto same = std::find_if(loops.begin(), loops.end(), [&](const Loop& loop) { return loop.dim == d; });
        if (same == loops.end()) {
          loops.push_back({d, factor});
        } else {
          same->bound *= factor;
        }
      }
    }
    if (fixed_order) return out;
    for (LevelMapping& level : out.levels) {
      for (std::vector<Loop>* loops : {&level.temporal, &level.spatial_x, &level.spatial_y})
        std::shuffle(loops->begin(), loops->end(), random_);
    }
    return out;
  }

  EvaluateOptions options() {
    EvaluateOptions out;
    out.packing = static_cast<PackingRule>(below(3));
    out.psum_bits = below(3) == 0 ? 1 + below(40) : 0;
    return out;
  }

 private:
  std::mt19937 random_;
};

struct Tally {
  int valid = 0;
  int fanout = 0;
  int capacity = 0;
  int vectorized = 0;
};

void expect_equal(const Arch& arch, const Workload& workload, const std::vector<Mapping>& mappings,
                  std::span<const int> bits, const EvaluateOptions& options, const Columns& columns, Tally& tally) {
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    const Fit fit = check_fit(arch, workload, mappings[i], bits, options);
    if (fit.reason == Fit::Reason::capacity) {
      ++tally.capacity;
      ASSERT_EQ(columns.status(i), static_cast<int>(BatchStatus::capacity) + fit.level) << fit.message;
    } else if (fit.reason == Fit::Reason::fanout) {
      ++tally.fanout;
      ASSERT_EQ(columns.status(i), static_cast<int>(BatchStatus::fanout)) << fit.message;
    } else {
      ++tally.valid;
      ASSERT_EQ(columns.status(i), 0) << describe_mapping(arch, workload, mappings[i]);
      const Cost cost = evaluate(arch, workload, mappings[i], bits, options);
      ASSERT_EQ(columns.cycles(i), cost.cycles) << i << '\n' << describe_mapping(arch, workload, mappings[i]);
      ASSERT_EQ(columns.energy(i), cost.energy_pj) << i << '\n' << describe_mapping(arch, workload, mappings[i]);
      continue;
    }
    ASSERT_TRUE(std::isinf(columns.energy(i)) && std::isinf(columns.cycles(i)));
  }
}

// One batch of one random layer on one random accelerator.
void compare(unsigned seed, CostModel model, bool scalar_networks, std::size_t count, Tally& tally) {
  Generator generate(seed);
  const Arch arch = generate.arch(scalar_networks);
  const Workload workload = generate.workload();
  std::vector<int> bits;
  for (int t = 0; t < workload.num_tensors(); ++t) bits.push_back(generate.below(17));
  EvaluateOptions options = model == CostModel::compat ? EvaluateOptions{model} : generate.options();
  const std::uint32_t keep = generate.below(2) == 0 ? static_cast<std::uint32_t>(generate.engine()()) | 1U : 0;
  const bool fixed_order = generate.below(2) == 0;
  std::vector<Mapping> mappings;
  for (std::size_t i = 0; i < count; ++i) mappings.push_back(generate.mapping(arch, workload, keep, fixed_order));
  Columns columns(make_slots(mappings, generate.engine()), arch.num_levels(), count);
  for (std::size_t i = 0; i < count; ++i) columns.put(i, mappings[i], generate.engine());
  BatchEvaluator evaluator(arch, workload, bits, options);
  evaluator.check(columns.batch());
  evaluator.evaluate(columns.batch(), columns.result());
  tally.vectorized += evaluator.is_vectorized() ? 1 : 0;
  expect_equal(arch, workload, mappings, bits, options, columns, tally);
}

TEST(Batch, EqualsEvaluate) {
  Tally tally;
  constexpr int kCases = test::some_of(400);
  for (unsigned seed = 0; seed < kCases; ++seed) {
    compare(seed, CostModel::default_model, false, 70 + seed % 80, tally);
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
  }
  EXPECT_GT(tally.valid, 12 * kCases);
  EXPECT_GT(tally.fanout, 2 * kCases);
  EXPECT_GT(tally.capacity, 2 * kCases);
  EXPECT_GT(tally.vectorized, kCases * 3 / 4);
}

TEST(Batch, EqualsEvaluateInTheCompatModel) {
  Tally tally;
  constexpr int kCases = test::some_of(600);
  for (unsigned seed = 0; seed < kCases; ++seed) {
    compare(seed, CostModel::compat, false, 70 + seed % 80, tally);
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
  }
  EXPECT_GT(tally.valid, 12 * kCases);
  EXPECT_GT(tally.fanout, 2 * kCases);
  EXPECT_GT(tally.capacity, 2 * kCases);
  EXPECT_GT(tally.vectorized, kCases * 4 / 5);
}

TEST(Batch, EqualsEvaluateOneByOne) {
  Tally tally;
  constexpr int kCases = test::some_of(150);
  for (unsigned seed = 0; seed < kCases; ++seed) {
    compare(seed, CostModel::compat, true, 20, tally);
    compare(seed, CostModel::default_model, true, 20, tally);
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
  }
  EXPECT_GT(tally.valid, 6 * kCases);
  EXPECT_LT(tally.vectorized, kCases * 2 / 5);
}

// Two mappings of a 1 x 12 x 1 GEMM on the small accelerator, C cut as 4 x 3 and 3 x 4: slots C, C.
Columns two_mappings() {
  Columns columns({{1, LoopKind::temporal}, {0, LoopKind::temporal}}, 2, 2);
  for (std::size_t i = 0; i < 2; ++i) {
    columns.dim(0, i) = columns.dim(1, i) = 1;
    columns.bound(0, i) = i == 0 ? 4 : 3;
    columns.bound(1, i) = i == 0 ? 3 : 4;
    columns.keep(0, i) = columns.keep(1, i) = kKeepAll;
  }
  return columns;
}

int status_after(const std::function<void(Columns&)>& change) {
  BatchEvaluator evaluator(test::buffer_and_dram(), matmul(1, 12, 1), std::array{8, 8, 8});
  Columns columns = two_mappings();
  change(columns);
  evaluator.evaluate(columns.batch(), columns.result());
  EXPECT_EQ(columns.status(0), 0);
  EXPECT_EQ(std::isinf(columns.energy(1)), columns.status(1) != 0);
  return columns.status(1);
}

TEST(Batch, MalformedMappingsAreSaidToBe) {
  constexpr int kMalformed = static_cast<int>(BatchStatus::malformed);
  EXPECT_EQ(status_after([](Columns&) {}), 0);
  EXPECT_EQ(status_after([](Columns& c) { c.bound(0, 1) = 4; }), kMalformed);  // 16, not 12
  EXPECT_EQ(status_after([](Columns& c) { c.bound(0, 1) = 0; }), kMalformed);
  EXPECT_EQ(status_after([](Columns& c) { c.bound(0, 1) = std::numeric_limits<std::uint32_t>::max(); }), kMalformed);
  EXPECT_EQ(status_after([](Columns& c) { c.dim(0, 1) = 0; }), kMalformed);  // M is 1
  EXPECT_EQ(status_after([](Columns& c) { c.dim(0, 1) = 3; }), kMalformed);  // no such dim
  EXPECT_EQ(status_after([](Columns& c) { c.dim(0, 1) = 255; }), kMalformed);
  EXPECT_EQ(status_after([](Columns& c) { c.keep(0, 1) = 0b1111; }), kMalformed);  // no such tensor
  EXPECT_EQ(status_after([](Columns& c) { c.bound(0, 1) = 12, c.bound(1, 1) = 1, c.dim(1, 1) = 99; }),
            0);  // an empty slot
}

TEST(Batch, ADimWithTwoLoopsOnOneAxisIsMalformed) {
  for (const LoopKind kind : {LoopKind::temporal, LoopKind::spatial_x}) {
    BatchEvaluator evaluator(test::buffer_and_dram(), matmul(1, 12, 1), std::array{8, 8, 8});
    Columns columns({{0, kind}, {0, kind}}, 2, 2);
    for (std::size_t i = 0; i < 2; ++i) {
      columns.dim(0, i) = columns.dim(1, i) = 1;
      columns.bound(0, i) = i == 0 ? 12 : 3;
      columns.bound(1, i) = i == 0 ? 1 : 4;
      columns.keep(0, i) = columns.keep(1, i) = kKeepAll;
    }
    evaluator.evaluate(columns.batch(), columns.result());
    EXPECT_EQ(columns.status(0), kind == LoopKind::temporal ? 0 : static_cast<int>(BatchStatus::fanout));
    EXPECT_EQ(columns.status(1), static_cast<int>(BatchStatus::malformed));
  }
}

TEST(Batch, BatchesThatNoMappingFitsAreRefused) {
  const BatchEvaluator evaluator(test::buffer_and_dram(), matmul(1, 12, 1), std::array{8, 8, 8});
  const auto message = [&](std::vector<LoopSlot> slots, std::size_t count, std::size_t stride) {
    const auto caught = caught_from([&] { evaluator.check({slots, count, stride, nullptr, nullptr, nullptr}); });
    EXPECT_EQ(caught.kind, ErrorKind::mapping);
    return caught.message;
  };
  EXPECT_EQ(message({}, 3, 2), "batch: rows are 2 entries long, less than its 3 mappings");
  EXPECT_EQ(message({{2, LoopKind::temporal}}, 1, 1),
            "batch: slot 0 is of level 2, the architecture has levels 0 to 1");
  EXPECT_EQ(message({{0, LoopKind::temporal}, {1, LoopKind::temporal}}, 1, 1),
            "batch: slot 1 is out of order: slots go from the outermost level inwards, in a level temporal, Y, X");
  EXPECT_EQ(message({{1, LoopKind::spatial_x}, {1, LoopKind::spatial_y}}, 1, 1),
            "batch: slot 1 is out of order: slots go from the outermost level inwards, in a level temporal, Y, X");
  EXPECT_EQ(message(std::vector<LoopSlot>(17, {1, LoopKind::temporal}), 1, 1),
            "batch: more than 16 slots of one level and kind");
}

TEST(Batch, TheConstructorThrowsAsEvaluateDoes) {
  const Arch arch = test::buffer_and_dram();
  EXPECT_EQ(caught_from([&] { BatchEvaluator(arch, matmul(1, 1, 1), std::array{8, 8}); }).kind, ErrorKind::mapping);
  EXPECT_EQ(caught_from([&] { BatchEvaluator(arch, matmul(1, 1, 1), std::array{8, 8, 17}); }).kind, ErrorKind::mapping);
  EvaluateOptions dense{CostModel::compat};
  dense.packing = PackingRule::dense;
  EXPECT_EQ(caught_from([&] {
              BatchEvaluator(arch, matmul(1, 1, 1), std::array{8, 8, 8}, dense);
            }).kind,
            ErrorKind::spec);
}

// Bounds up to 2^31: whatever cannot be counted costs infinity, and nothing wraps.
TEST(Batch, HugeBoundsEqualEvaluate) {
  Generator generate(5);
  Level dram = make_level("DRAM", 1, 1);
  const Arch arch("unlimited", {make_level("near", 4, 2), dram}, make_macs(8, 2), {});
  int infinite = 0;
  Tally tally;
  for (int round = 0; round < 300; ++round) {
    const int largest = 1 + generate.below(31);
    std::vector<Mapping> mappings(1);
    mappings[0].levels.push_back({{}, {}, {}, static_cast<std::uint32_t>(generate.below(8))});
    mappings[0].levels.push_back({{}, {}, {}, kKeepAll});
    std::vector<Dim> dims;
    for (int d = 0; d < 5; ++d) {
      const int exponent = generate.below(largest + 1);
      const int inside = generate.below(exponent + 1);
      dims.push_back({std::string(1, static_cast<char>('a' + d)), Count{1} << exponent});
      mappings[0].levels[0].temporal.push_back({d, Count{1} << inside});
      mappings[0].levels[1].temporal.push_back({d, Count{1} << (exponent - inside)});
    }
    const Workload workload(
        "huge", dims,
        {{"Weights", {{{0, 1}}, {{1, 1}}, {{2, 1}}}, false},
         {"Inputs",
          {{{0, 1}}, {{3, Count{1} << generate.below(32)}, {2, Count{1} << generate.below(32)}}, {{4, 1}}},
          false},
         {"Outputs", {{{1, 1}}, {{3, 1}}, {{4, 1}}}, true}});
    const std::array bits{generate.below(17), generate.below(17), generate.below(17)};
    Columns columns(make_slots(mappings, generate.engine()), 2, 1);
    columns.put(0, mappings[0], generate.engine());
    BatchEvaluator evaluator(arch, workload, bits);
    evaluator.evaluate(columns.batch(), columns.result());
    expect_equal(arch, workload, mappings, bits, {}, columns, tally);
    infinite += std::isinf(columns.energy(0)) ? 1 : 0;
    tally.vectorized += evaluator.is_vectorized() ? 1 : 0;
  }
  EXPECT_GT(infinite, 60);
  EXPECT_LT(infinite, 240);
  EXPECT_GT(tally.vectorized, 60);
}

TEST(Batch, NothingIsAllocatedPerMapping) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    Generator generate(seed);
    const Arch arch = generate.arch(false);
    const Workload workload = generate.workload();
    const std::vector<int> bits(static_cast<std::size_t>(workload.num_tensors()), 8);
    std::vector<Mapping> mappings;
    for (std::size_t i = 0; i < 100; ++i) mappings.push_back(generate.mapping(arch, workload, 0, false));
    Columns columns(make_slots(mappings, generate.engine()), arch.num_levels(), mappings.size());
    for (std::size_t i = 0; i < mappings.size(); ++i) columns.put(i, mappings[i], generate.engine());
    BatchEvaluator evaluator(arch, workload, bits);
    const std::size_t before = allocations;
    evaluator.evaluate(columns.batch(), columns.result());
    EXPECT_EQ(allocations, before) << "seed " << seed;
    BatchEvaluator compat(arch, workload, bits, {CostModel::compat});
    compat.evaluate(columns.batch(), columns.result());  // the buffers grow, and remembered children may grow later
    const std::size_t grown = allocations;
    compat.evaluate(columns.batch(), columns.result());
    EXPECT_LT(allocations, grown + mappings.size() / 10) << "seed " << seed;
  }
}

// The kernels of all instruction sets that this machine has, to the last bit. compat leaves some mappings to
// evaluate()'s functions, most it prices.
void compare_kernels(CostModel model, int& valid, int& open) {
  std::vector<LaneKernel> kernels{price_lanes_portable};
  if (choose_lane_kernel() != price_lanes_portable) kernels.push_back(price_lanes_avx2);
  if (choose_lane_kernel() == price_lanes_avx512) kernels.push_back(price_lanes_avx512);
  const auto arrays = std::make_unique<LaneArrays>();
  DefaultScratch scratch;
  for (unsigned seed = 0; seed < 120; ++seed) {
    Generator generate(seed);
    const Arch arch = generate.arch(false);
    const Workload workload = generate.workload();
    const std::vector<int> bits(static_cast<std::size_t>(workload.num_tensors()), 5);
    const LanePlan plan = plan_lanes(arch, workload, bits, {model});
    ASSERT_TRUE(plan.usable);
    std::vector<Mapping> mappings;
    for (int i = 0; i < kLanes; ++i) mappings.push_back(generate.mapping(arch, workload, 0x37, false));
    Columns columns(make_slots(mappings, generate.engine()), arch.num_levels(), kLanes);
    for (std::size_t i = 0; i < kLanes; ++i) columns.put(i, mappings[i], generate.engine());
    const MappingBatch batch = columns.batch();
    std::vector<LaneBlock> blocks(kernels.size());
    for (std::size_t k = 0; k < kernels.size(); ++k) {
      blocks[k].num_slots = static_cast<int>(batch.slots.size());
      for (std::size_t s = 0; s < batch.slots.size(); ++s) {
        blocks[k].slots[s] = {batch.slots[s].level, batch.slots[s].kind, batch.dims + s * kLanes,
                              batch.bounds + s * kLanes};
      }
      for (int l = 0; l < arch.num_levels(); ++l) blocks[k].keep[l] = batch.keep[l * kLanes];
      kernels[k](plan, blocks[k], *arrays, scratch);
      for (int i = 0; i < kLanes; ++i) {
        ASSERT_EQ(blocks[k].status[i], blocks[0].status[i]) << "seed " << seed;
        ASSERT_EQ(blocks[k].energy_pj[i], blocks[0].energy_pj[i]) << "seed " << seed;
        ASSERT_EQ(blocks[k].cycles[i], blocks[0].cycles[i]) << "seed " << seed;
        ASSERT_EQ(blocks[k].open[i], blocks[0].open[i]) << "seed " << seed;
      }
    }
    for (int i = 0; i < kLanes; ++i) {
      valid += blocks[0].status[i] == 0 ? 1 : 0;
      open += blocks[0].open[i] != 0 ? 1 : 0;
    }
  }
}

TEST(Batch, KernelsAgree) {
  int valid = 0;
  int open = 0;
  compare_kernels(CostModel::default_model, valid, open);
  EXPECT_EQ(open, 0);
  valid = 0;
  compare_kernels(CostModel::compat, valid, open);
  EXPECT_GT(open, 50);
  EXPECT_GT(valid - open, 1000);
}

TEST(Batch, ColumnsOfAMapspaceAreItsMappings) {
  Generator generate(11);
  for (int round = 0; round < 30; ++round) {
    const Arch arch = generate.arch(false);
    const Workload workload = generate.workload();
    const Mapspace space(arch, workload, Selection::free);
    const MappingColumns drawn = space.sample_columns(50, 7);
    const std::vector<Mapping> sample = space.sample(50, 7);
    ASSERT_EQ(drawn.count, 50U);
    for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(mapping_at(drawn.batch(), i, arch.num_levels()), sample[i]);
    const MappingColumns listed = space.columns(3, 40);
    for (std::size_t i = 0; i < listed.count; ++i)
      EXPECT_EQ(mapping_at(listed.batch(), i, arch.num_levels()), space.at(3 + i));
    EXPECT_EQ(listed.slots, drawn.slots);
    EXPECT_EQ(space.columns(space.size(), 5).count, 0U);
    BatchEvaluator(arch, workload, std::vector<int>(workload.tensors().size(), 8)).check(drawn.batch());
  }
}

}  // namespace
}  // namespace quantloom
