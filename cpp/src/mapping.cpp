#include "quantloom/mapping.hpp"

#include <array>
#include <sstream>

#include "quantloom/error.hpp"

namespace quantloom {
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& hint = {}) {
  throw Error(ErrorKind::mapping, what, hint);
}

void multiply_factors(const Workload& workload, const std::string& level, const char* block,
                      const std::vector<Loop>& loops, std::array<Count, kMaxDims>& products, std::uint32_t& seen) {
  for (const Loop& loop : loops) {
    if (loop.dim < 0 || loop.dim >= workload.num_dims()) {
      fail("mapping, level '" + level + "', " + block + ": dim number " + std::to_string(loop.dim) + " does not exist");
    }
    const std::string& dim = workload.dims()[static_cast<std::size_t>(loop.dim)].name;
    if (loop.bound < 1) {
      fail("mapping, level '" + level + "', " + block + ": loop " + dim + " has bound " + std::to_string(loop.bound) +
           ", expected 1 or more");
    }
    if ((seen >> loop.dim & 1U) != 0) {
      fail("mapping, level '" + level + "', " + block + ": dim " + dim + " has two loops on one axis",
           "merge them into one loop whose bound is the product");
    }
    seen |= 1U << loop.dim;
    Count& product = products[static_cast<std::size_t>(loop.dim)];
    product = saturating_mul(product, loop.bound);
  }
}

}  // namespace

void check_mapping(const Arch& arch, const Workload& workload, const Mapping& mapping) {
  if (static_cast<int>(mapping.levels.size()) != arch.num_levels()) {
    fail("mapping has " + std::to_string(mapping.levels.size()) + " levels, architecture '" + arch.name() + "' has " +
         std::to_string(arch.num_levels()));
  }
  std::array<Count, kMaxDims> products;
  products.fill(1);
  for (int i = 0; i < arch.num_levels(); ++i) {
    const LevelMapping& here = mapping.levels[static_cast<std::size_t>(i)];
    const std::string& name = arch.level(i).name;
    if (here.keep >> workload.num_tensors() != 0) fail("mapping, level '" + name + "': keeps a tensor that does not exist");
    std::uint32_t seen = 0;
    multiply_factors(workload, name, "temporal", here.temporal, products, seen);
    seen = 0;
    multiply_factors(workload, name, "spatial x", here.spatial_x, products, seen);
    seen = 0;
    multiply_factors(workload, name, "spatial y", here.spatial_y, products, seen);
  }
  for (int d = 0; d < workload.num_dims(); ++d) {
    const Count product = products[static_cast<std::size_t>(d)];
    if (product != workload.bound(d)) {
      fail("mapping: the factors of dim " + workload.dims()[static_cast<std::size_t>(d)].name + " multiply to " +
           std::to_string(product) + ", its bound is " + std::to_string(workload.bound(d)));
    }
  }
}

std::string describe_mapping(const Arch& arch, const Workload& workload, const Mapping& mapping) {
  std::ostringstream out;
  int depth = 0;
  const auto print_loops = [&](const std::vector<Loop>& loops, const char* what) {
    for (const Loop& loop : loops) {
      if (loop.bound == 1) continue;
      const std::string& dim = workload.dims()[static_cast<std::size_t>(loop.dim)].name;
      out << std::string(static_cast<std::size_t>(2 * depth), ' ') << what << ' ' << dim << " in 0.." << loop.bound - 1 << '\n';
      ++depth;
    }
  };
  for (int i = arch.num_levels() - 1; i >= 0; --i) {
    const LevelMapping& here = mapping.levels[static_cast<std::size_t>(i)];
    out << std::string(static_cast<std::size_t>(2 * depth), ' ') << "[" << arch.level(i).name << ":";
    for (int t = 0; t < workload.num_tensors(); ++t) {
      if (here.keeps(t)) out << ' ' << workload.tensors()[static_cast<std::size_t>(t)].name;
    }
    out << "]\n";
    print_loops(here.temporal, "for");
    print_loops(here.spatial_y, "parallel-for-Y");
    print_loops(here.spatial_x, "parallel-for-X");
  }
  return out.str();
}

}  // namespace quantloom
