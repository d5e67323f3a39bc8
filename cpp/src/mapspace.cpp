#include "quantloom/mapspace.hpp"

#include <algorithm>

#include "mapspace_columns.hpp"
#include "mapspace_parts.hpp"
#include "quantloom/error.hpp"

namespace quantloom {
namespace detail {
namespace {

// 2^24 rows of a dozen factors are about a gigabyte.
constexpr std::uint64_t kMostRowsListed = std::uint64_t{1} << 24;
constexpr std::uint64_t kMostFactorizations = std::uint64_t{1} << 62;

[[noreturn]] void fail_too_large(const MapspaceParts& parts, const std::string& purpose) {
  throw Error(ErrorKind::mapping,
              "the mapspace of workload '" + parts.workload.name() + "' on '" + parts.arch.name() +
                  "' is too large to " + purpose + ": too many factorizations",
              "add constraints, or draw a sample");
}

}  // namespace

// NOLINTNEXTLINE(performance-unnecessary-value-param): callers hand it over, as they do the workload
MapspaceParts::MapspaceParts(Arch arch_in, Workload workload_in, Selection selection_in)
    : arch(cap_capacities(arch_in, selection_in)),
      workload(std::move(workload_in)),
      selection(selection_in),
      constraints(resolve_constraints(arch_in, workload, selection)) {
  for (int d = 0; d < num_dims(); ++d) {
    std::vector<FactorLimit> limits;
    for (const Block& block : constraints.blocks) limits.push_back(block.limits[static_cast<std::size_t>(d)]);
    factors.emplace_back(workload.bound(d), limits);
  }
  for (std::size_t b = 0; b < constraints.blocks.size(); ++b)
    rules.emplace_back(constraints.blocks[b], b == 0, num_dims());
  kept.resize(static_cast<std::size_t>(arch.num_levels()));
  for (int t = 0; t < workload.num_tensors(); ++t) {
    for (int l = 0; l < arch.num_levels(); ++l) {
      const Keep keep = constraints.keep[static_cast<std::size_t>(l)][static_cast<std::size_t>(t)];
      if (keep == Keep::open) open.push_back({l, t});
      if (keep == Keep::yes) kept[static_cast<std::size_t>(l)] |= 1U << t;
    }
  }
}

ViewStorage::ViewStorage(const MapspaceParts& parts)
    : factors(static_cast<std::size_t>(parts.num_blocks() * parts.num_dims()), 1),
      order(factors.size()),
      split(static_cast<std::size_t>(parts.num_blocks())),
      keep(parts.kept) {
  view = {parts.num_blocks(),
          parts.num_dims(),
          parts.arch.num_levels(),
          factors.data(),
          order.data(),
          split.data(),
          keep.data(),
          true};
}

std::uint64_t walkable_factorizations(const MapspaceParts& parts, const std::string& purpose) {
  std::uint64_t product = 1;
  for (const FactorSpace& space : parts.factors) {
    if (__builtin_mul_overflow(product, space.size(), &product) || product > kMostFactorizations)
      fail_too_large(parts, purpose);
  }
  return product;
}

std::vector<std::vector<std::uint32_t>> list_factorizations(const MapspaceParts& parts, const std::string& purpose) {
  std::uint64_t rows = 0;
  for (const FactorSpace& space : parts.factors) rows += std::min(space.size(), kMostRowsListed + 1);
  if (rows > kMostRowsListed) fail_too_large(parts, purpose);
  std::vector<std::vector<std::uint32_t>> out;
  for (const FactorSpace& space : parts.factors) out.push_back(space.list());
  return out;
}

namespace {

// The digits of an index taken apart; RandomDigits makes them up.
class IndexDigits {
 public:
  explicit IndexDigits(BigUnsigned index) : left_(std::move(index)) {}
  std::uint64_t take(std::uint64_t base) { return left_.divide(base); }

 private:
  BigUnsigned left_;
};

// Fills a view from the digits of an unpruned index, fastest digit first.
template <class Digits>
void fill(const MapspaceParts& parts, Digits& digits, ViewStorage& out) {
  const auto dims = static_cast<std::size_t>(parts.num_dims());
  std::copy(parts.kept.begin(), parts.kept.end(), out.keep.begin());
  for (const OpenPair& pair : parts.open) {
    if (digits.take(2) == 1) out.keep[static_cast<std::size_t>(pair.level)] |= 1U << pair.tensor;
  }
  std::vector<BlockOrders> orders;
  for (const OrderRule& rule : parts.rules) orders.push_back(make_orders(rule, 0, Enumeration::unpruned));
  for (std::size_t b = 0; b < orders.size(); ++b) {
    out.split[b] = static_cast<std::uint8_t>(orders[b].split_first + digits.take(orders[b].splits()));
  }
  for (std::size_t b = 0; b < orders.size(); ++b)
    orders[b].write(digits.take(orders[b].permutations()), &out.order[b * dims]);
  std::vector<std::uint32_t> row(orders.size());
  for (std::size_t d = 0; d < dims; ++d) {
    parts.factors[d].write(digits.take(parts.factors[d].size()), row);
    for (std::size_t b = 0; b < row.size(); ++b) out.factors[b * dims + d] = row[b];
  }
}

}  // namespace

void draw_point(const MapspaceParts& parts, RandomDigits& digits, ViewStorage& out) { fill(parts, digits, out); }

}  // namespace detail

Mapspace::Mapspace(Arch arch, Workload workload, Selection selection)
    : parts_(std::make_shared<const detail::MapspaceParts>(std::move(arch), std::move(workload), selection)) {}

const Arch& Mapspace::arch() const noexcept { return parts_->arch; }
const Workload& Mapspace::workload() const noexcept { return parts_->workload; }
const ResolvedConstraints& Mapspace::constraints() const noexcept { return parts_->constraints; }
Selection Mapspace::selection() const noexcept { return parts_->selection; }

MapspaceSizes Mapspace::sizes() const {
  MapspaceSizes out{1, 1, 1, 1, {}};
  for (const detail::FactorSpace& space : parts_->factors) {
    out.factorization *= space.size();
    out.factorizations.push_back(space.size());
  }
  for (const detail::OrderRule& rule : parts_->rules) {
    const detail::BlockOrders orders = detail::make_orders(rule, 0, Enumeration::unpruned);
    out.permutation *= orders.permutations();
    out.split *= orders.splits();
  }
  for (std::size_t i = 0; i < parts_->open.size(); ++i) out.bypass *= 2;
  return out;
}

BigUnsigned Mapspace::size() const {
  BigUnsigned out = 1;
  for (const detail::FactorSpace& space : parts_->factors) out *= space.size();
  for (const detail::OrderRule& rule : parts_->rules) {
    const detail::BlockOrders orders = detail::make_orders(rule, 0, Enumeration::unpruned);
    out *= orders.permutations();
    out *= orders.splits();
  }
  for (std::size_t i = 0; i < parts_->open.size(); ++i) out *= 2;
  return out;
}

Mapping Mapspace::at(const BigUnsigned& index) const {
  const BigUnsigned end = size();
  if (index >= end) {
    throw Error(ErrorKind::mapping,
                "mapspace index " + index.to_string() + " is out of range, the size is " + end.to_string());
  }
  detail::ViewStorage storage(*parts_);
  detail::IndexDigits digits(index);
  detail::fill(*parts_, digits, storage);
  return materialize(storage.view);
}

std::vector<Mapping> Mapspace::sample(std::size_t count, std::uint64_t seed, std::stop_token stop) const {
  std::vector<Mapping> out;
  detail::ViewStorage storage(*parts_);
  detail::RandomDigits digits(seed);
  for (std::size_t i = 0; i < count && !stop.stop_requested(); ++i) {
    detail::draw_point(*parts_, digits, storage);
    out.push_back(materialize(storage.view));
  }
  return out;
}

namespace {

// How many of the indices first .. first + count - 1 lie before end.
std::size_t indices_from(const BigUnsigned& first, std::size_t count, const BigUnsigned& end) {
  std::size_t low = 0;
  while (low < count) {
    const std::size_t middle = low + (count - low + 1) / 2;
    BigUnsigned last = first;
    last += middle;
    if (last <= end) {
      low = middle;
    } else {
      count = middle - 1;
    }
  }
  return low;
}

}  // namespace

MappingColumns Mapspace::columns(const BigUnsigned& first, std::size_t count, std::stop_token stop) const {
  const BigUnsigned end = size();
  if (first > end) {
    throw Error(ErrorKind::mapping, "mapspace index " + first.to_string() + " is out of range, the size is " + end.to_string());
  }
  count = indices_from(first, count, end);
  detail::ColumnWriter writer(*parts_, count);
  detail::ViewStorage storage(*parts_);
  BigUnsigned index = first;
  std::size_t done = 0;
  for (; done < count && !stop.stop_requested(); ++done, index += 1) {
    detail::IndexDigits digits(index);
    detail::fill(*parts_, digits, storage);
    writer.write(storage.view, done);
  }
  return std::move(writer).take(done);
}

MappingColumns Mapspace::sample_columns(std::size_t count, std::uint64_t seed, std::stop_token stop) const {
  detail::ColumnWriter writer(*parts_, count);
  detail::ViewStorage storage(*parts_);
  detail::RandomDigits digits(seed);
  std::size_t done = 0;
  for (; done < count && !stop.stop_requested(); ++done) {
    detail::fill(*parts_, digits, storage);
    writer.write(storage.view, done);
  }
  return std::move(writer).take(done);
}

Mapping Mapspace::materialize(const MappingView& view) const {
  Mapping out;
  out.levels.resize(static_cast<std::size_t>(view.num_levels));
  for (int l = 0; l < view.num_levels; ++l) out.levels[static_cast<std::size_t>(l)].keep = view.keep[l];
  for (int b = 0; b < view.num_blocks; ++b) {
    const Block& block = parts_->constraints.blocks[static_cast<std::size_t>(b)];
    LevelMapping& level = out.levels[static_cast<std::size_t>(block.level)];
    for (int i = view.num_dims; i-- > 0;) {
      const int dim = view.dim_at(b, i);
      const Loop loop{dim, static_cast<Count>(view.factor(b, dim))};
      if (loop.bound == 1) continue;
      (!block.spatial ? level.temporal : i < view.split[b] ? level.spatial_x : level.spatial_y).push_back(loop);
    }
  }
  return out;
}

}  // namespace quantloom
