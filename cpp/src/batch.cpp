// The batch door: checks, and how mappings get into lanes.
#include "quantloom/batch.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>

#include "batch_lanes.hpp"
#include "batch_single.hpp"
#include "quantloom/error.hpp"

namespace quantloom {

double count_lane_sums(const double* const* steps, const double* const* bounds, int count, int lane, DefaultScratch& scratch) noexcept {
  std::array<SumStep, kMaxLaneSlots> used;
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) {
    if (bounds[i][lane] != 1) used[size++] = {static_cast<Count>(steps[i][lane]), static_cast<Count>(bounds[i][lane])};
  }
  const Count sums = distinct_sums(std::span(used).first(size), scratch);
  return sums == kSaturated ? -1 : static_cast<double>(sums);
}

Mapping mapping_at(const MappingBatch& batch, std::size_t index, int num_levels) {
  Mapping out;
  out.levels.resize(static_cast<std::size_t>(num_levels));
  for (int l = 0; l < num_levels; ++l) out.levels[static_cast<std::size_t>(l)].keep = batch.keep[static_cast<std::size_t>(l) * batch.stride + index];
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    const Loop loop{batch.dims[s * batch.stride + index], batch.bounds[s * batch.stride + index]};
    if (loop.bound == 1) continue;
    LevelMapping& level = out.levels[static_cast<std::size_t>(batch.slots[s].level)];
    const LoopKind kind = batch.slots[s].kind;
    (kind == LoopKind::temporal ? level.temporal : kind == LoopKind::spatial_x ? level.spatial_x : level.spatial_y).push_back(loop);
  }
  return out;
}

struct BatchEvaluator::Shared {
  BatchSetting setting;
  LanePlan plan;
  LaneKernel kernel = nullptr;
};

struct BatchEvaluator::Buffers {
  static constexpr std::size_t kGrouped = 1024;  // mappings that are sorted by what they keep

  explicit Buffers(const Shared& shared) {
    if (shared.setting.options.model == CostModel::default_model) reserve(shared.setting);
    if (shared.plan.usable) arrays = std::unique_ptr<LaneArrays>(new LaneArrays);  // left uninitialised
  }

  // Whatever the counts list are children, and there are no more of them than units.
  void reserve(const BatchSetting& setting) {
    constexpr Count kMostListed = Count{1} << 22;
    const auto children = static_cast<std::size_t>(std::min(setting.arch.arithmetic().instances, kMostListed));
    single.scratch.exact.sums.reserve(children);
    for (const TensorSpec& tensor : setting.workload.tensors()) {
      if (!ranks_share_dims(setting.workload, tensor)) continue;
      single.scratch.exact.points.reserve(children * tensor.ranks.size());
      single.scratch.exact.order.reserve(children);
    }
  }

  void run_single(const Shared& shared, const MappingBatch& batch, std::size_t index, const BatchResult& result) noexcept;
  void run_lanes(const Shared& shared, const MappingBatch& batch, std::size_t first, const BatchResult& result) noexcept;
  void run_listed(const Shared& shared, const MappingBatch& batch, std::span<const std::size_t> list, const BatchResult& result) noexcept;
  void run_group(const Shared& shared, const MappingBatch& batch, std::size_t first, std::size_t count, const BatchResult& result) noexcept;
  void start_block(const Shared& shared, const MappingBatch& batch, std::size_t like) noexcept;

  SingleBuffers single;
  LaneBlock block;
  std::unique_ptr<LaneArrays> arrays;
  std::array<std::uint8_t, std::size_t{kMaxLaneSlots} * kLanes> dims;
  std::array<std::uint32_t, std::size_t{kMaxLaneSlots} * kLanes> bounds;
  std::array<std::size_t, kGrouped> order;
};

namespace {

bool keep_the_same(const MappingBatch& batch, int levels, std::size_t a, std::size_t b) {
  for (int l = 0; l < levels; ++l) {
    const std::uint32_t* row = batch.keep + static_cast<std::size_t>(l) * batch.stride;
    if (row[a] != row[b]) return false;
  }
  return true;
}

bool all_keep_the_same(const MappingBatch& batch, int levels, std::size_t first, std::size_t count) {
  for (int l = 0; l < levels; ++l) {
    const std::uint32_t* row = batch.keep + static_cast<std::size_t>(l) * batch.stride + first;
    std::uint32_t differences = 0;
    for (std::size_t i = 0; i < count; ++i) differences |= row[i] ^ row[0];
    if (differences != 0) return false;
  }
  return true;
}

bool keeps_unknown_tensors(const Workload& workload, const MappingBatch& batch, int levels, std::size_t index) {
  std::uint32_t all = 0;
  for (int l = 0; l < levels; ++l) all |= batch.keep[static_cast<std::size_t>(l) * batch.stride + index];
  return all >> workload.num_tensors() != 0;
}

void write(const SinglePrice& price, std::size_t index, const BatchResult& result) {
  result.energy_pj[index] = price.energy_pj;
  result.cycles[index] = price.cycles;
  result.status[index] = static_cast<std::uint8_t>(static_cast<int>(price.status) + price.level);
}

}  // namespace

void BatchEvaluator::Buffers::run_single(const Shared& shared, const MappingBatch& batch, std::size_t index, const BatchResult& result) noexcept {
  write(price_single(shared.setting, batch, index, single), index, result);
}

void BatchEvaluator::Buffers::start_block(const Shared& shared, const MappingBatch& batch, std::size_t like) noexcept {
  block.num_slots = static_cast<int>(batch.slots.size());
  for (std::size_t s = 0; s < batch.slots.size(); ++s) block.slots[s] = {batch.slots[s].level, batch.slots[s].kind, nullptr, nullptr};
  for (int l = 0; l < shared.plan.num_levels; ++l) block.keep[l] = batch.keep[static_cast<std::size_t>(l) * batch.stride + like];
}

// kLanes mappings that lie next to each other and keep the same.
void BatchEvaluator::Buffers::run_lanes(const Shared& shared, const MappingBatch& batch, std::size_t first, const BatchResult& result) noexcept {
  start_block(shared, batch, first);
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    block.slots[s].dims = batch.dims + s * batch.stride + first;
    block.slots[s].bounds = batch.bounds + s * batch.stride + first;
  }
  shared.kernel(shared.plan, block, *arrays, single.scratch.exact);
  std::memcpy(result.energy_pj + first, block.energy_pj, sizeof block.energy_pj);
  std::memcpy(result.cycles + first, block.cycles, sizeof block.cycles);
  for (std::size_t i = 0; i < kLanes; ++i) {
    result.status[first + i] = static_cast<std::uint8_t>(block.status[i]);
    if (block.open[i] != 0) run_single(shared, batch, first + i, result);
  }
}

// At most kLanes mappings that keep the same, wherever they lie.
void BatchEvaluator::Buffers::run_listed(const Shared& shared, const MappingBatch& batch, std::span<const std::size_t> list,
                                         const BatchResult& result) noexcept {
  start_block(shared, batch, list[0]);
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    std::uint8_t* to_dims = dims.data() + s * kLanes;
    std::uint32_t* to_bounds = bounds.data() + s * kLanes;
    for (std::size_t i = 0; i < kLanes; ++i) {
      const std::size_t from = s * batch.stride + list[std::min(i, list.size() - 1)];  // lanes left over repeat the last one
      to_dims[i] = batch.dims[from];
      to_bounds[i] = batch.bounds[from];
    }
    block.slots[s].dims = to_dims;
    block.slots[s].bounds = to_bounds;
  }
  shared.kernel(shared.plan, block, *arrays, single.scratch.exact);
  for (std::size_t i = 0; i < list.size(); ++i) {
    result.energy_pj[list[i]] = block.energy_pj[i];
    result.cycles[list[i]] = block.cycles[i];
    result.status[list[i]] = static_cast<std::uint8_t>(block.status[i]);
    if (block.open[i] != 0) run_single(shared, batch, list[i], result);
  }
}

// At most kGrouped mappings that lie next to each other.
void BatchEvaluator::Buffers::run_group(const Shared& shared, const MappingBatch& batch, std::size_t first, std::size_t count,
                                        const BatchResult& result) noexcept {
  const int levels = shared.plan.num_levels;
  const bool sorted = all_keep_the_same(batch, levels, first, count);
  if (sorted && !keeps_unknown_tensors(shared.setting.workload, batch, levels, first)) {
    for (; count >= kLanes; first += kLanes, count -= kLanes) run_lanes(shared, batch, first, result);
  }
  const std::span<std::size_t> list = std::span(order).first(count);
  for (std::size_t i = 0; i < count; ++i) list[i] = first + i;
  if (!sorted) {
    std::sort(list.begin(), list.end(), [&](std::size_t a, std::size_t b) {
      for (int l = 0; l < levels; ++l) {
        const std::uint32_t* row = batch.keep + static_cast<std::size_t>(l) * batch.stride;
        if (row[a] != row[b]) return row[a] < row[b];
      }
      return a < b;
    });
  }
  for (std::size_t begin = 0; begin < count;) {
    std::size_t end = begin + 1;
    while (end < count && end - begin < kLanes && (sorted || keep_the_same(batch, levels, list[begin], list[end]))) ++end;
    if (keeps_unknown_tensors(shared.setting.workload, batch, levels, list[begin])) {
      for (; begin < end; ++begin) run_single(shared, batch, list[begin], result);
    } else {
      run_listed(shared, batch, list.subspan(begin, end - begin), result);
      begin = end;
    }
  }
}

BatchEvaluator::BatchEvaluator(Arch arch, Workload workload, std::span<const int> bits, const EvaluateOptions& options) {
  auto shared = std::make_shared<Shared>();
  shared->setting = make_batch_setting(std::move(arch), std::move(workload), bits, options);
  if (!shared->setting.overflows) shared->plan = plan_lanes(shared->setting.arch, shared->setting.workload, bits, options);
  shared->kernel = choose_lane_kernel();
  shared_ = std::move(shared);
  buffers_ = std::make_unique<Buffers>(*shared_);
}

BatchEvaluator::BatchEvaluator(const BatchEvaluator& other) : shared_(other.shared_), buffers_(std::make_unique<Buffers>(*shared_)) {}

BatchEvaluator::~BatchEvaluator() = default;

bool BatchEvaluator::is_vectorized() const noexcept { return shared_->plan.usable; }

void BatchEvaluator::check(const MappingBatch& batch) const {
  const auto fail = [](const std::string& what) { throw Error(ErrorKind::mapping, "batch: " + what); };
  if (batch.stride < batch.count) fail("rows are " + std::to_string(batch.stride) + " entries long, less than its " + std::to_string(batch.count) + " mappings");
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    const LoopSlot& slot = batch.slots[s];
    const std::string name = "slot " + std::to_string(s);
    const int levels = shared_->setting.arch.num_levels();
    if (slot.level < 0 || slot.level >= levels) fail(name + " is of level " + std::to_string(slot.level) + ", the architecture has levels 0 to " + std::to_string(levels - 1));
    if (s == 0) continue;
    const LoopSlot& before = batch.slots[s - 1];
    if (before.level < slot.level || (before.level == slot.level && before.kind > slot.kind)) {
      fail(name + " is out of order: slots go from the outermost level inwards, in a level temporal, Y, X");
    }
  }
  // A level has one loop of a dim on each axis: the nest holds no more.
  std::size_t same = 1;
  for (std::size_t s = 1; s < batch.slots.size(); ++s) {
    same = batch.slots[s] == batch.slots[s - 1] ? same + 1 : 1;
    if (same > static_cast<std::size_t>(kMaxDims)) fail("more than " + std::to_string(kMaxDims) + " slots of one level and kind");
  }
}

void BatchEvaluator::evaluate(const MappingBatch& batch, std::size_t first, std::size_t count, const BatchResult& result) noexcept {
  const std::size_t end = first + count;
  if (!shared_->plan.usable || batch.slots.size() > static_cast<std::size_t>(kMaxLaneSlots)) {
    for (std::size_t i = first; i < end; ++i) buffers_->run_single(*shared_, batch, i, result);
    return;
  }
  for (std::size_t i = first; i < end; i += Buffers::kGrouped) {
    buffers_->run_group(*shared_, batch, i, std::min(Buffers::kGrouped, end - i), result);
  }
}

}  // namespace quantloom
