#include <pybind11/numpy.h>

#include <algorithm>
#include <memory>

#include "bindings.hpp"
#include "interruptible.hpp"
#include "quantloom/batch.hpp"
#include "quantloom/error.hpp"
#include "quantloom/mapspace.hpp"
#include "quantloom/parallel.hpp"

namespace quantloom::bindings {
namespace {

constexpr std::size_t kChunk = 4096;  // mappings that one thread takes at a time
constexpr std::size_t kSingles = 16;  // between two looks at a stop where they are priced one by one: milliseconds each at worst

LoopKind parse_kind(const std::string& text) {
  if (text == "temporal") return LoopKind::temporal;
  if (text == "spatial_y") return LoopKind::spatial_y;
  if (text == "spatial_x") return LoopKind::spatial_x;
  throw Error(ErrorKind::mapping, "batch: slot of kind '" + text + "', expected temporal, spatial_y or spatial_x");
}

std::string kind_name(LoopKind kind) {
  return kind == LoopKind::temporal ? "temporal" : kind == LoopKind::spatial_y ? "spatial_y" : "spatial_x";
}

using NamedSlot = std::pair<int, std::string>;

// Arrays of Python and what their rows mean. The arrays are kept alive, not copied.
struct ArrayBatch {
  std::vector<LoopSlot> slots;
  py::array_t<std::uint8_t> dims;
  py::array_t<std::uint32_t> bounds;
  py::array_t<std::uint32_t> keep;

  [[nodiscard]] std::size_t count() const { return static_cast<std::size_t>(bounds.shape(1)); }
  [[nodiscard]] int levels() const { return static_cast<int>(keep.shape(0)); }
  [[nodiscard]] MappingBatch view() const { return {slots, count(), count(), dims.data(), bounds.data(), keep.data()}; }
};

// The array itself if it has the type, two axes and C order; nothing is converted.
template <class T>
py::array_t<T> require_rows(const py::array& array, const char* name, const char* dtype) {
  const auto fail = [&](const std::string& what) { throw Error(ErrorKind::mapping, std::string("batch: ") + name + " " + what); };
  if (!py::isinstance<py::array_t<T>>(array)) fail("has dtype " + py::str(array.dtype()).cast<std::string>() + ", expected " + dtype);
  if (array.ndim() != 2) fail("has " + std::to_string(array.ndim()) + " axes, expected 2: [row, mapping]");
  if ((array.flags() & py::array::c_style) == 0) fail("is not C-contiguous; use numpy.ascontiguousarray");
  return py::array_t<T>(array);
}

ArrayBatch make_batch(const std::vector<NamedSlot>& slots, const py::array& dims, const py::array& bounds, const py::array& keep) {
  ArrayBatch out{{}, require_rows<std::uint8_t>(dims, "dims", "uint8"), require_rows<std::uint32_t>(bounds, "bounds", "uint32"),
                 require_rows<std::uint32_t>(keep, "keep", "uint32")};
  for (const auto& [level, kind] : slots) out.slots.push_back({level, parse_kind(kind)});
  const auto rows = static_cast<py::ssize_t>(slots.size());
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw Error(ErrorKind::mapping, "batch: " + what);
  };
  const auto shape = [](const py::array& array) { return std::to_string(array.shape(0)) + " x " + std::to_string(array.shape(1)); };
  require(dims.shape(0) == rows && bounds.shape(0) == rows, "dims is " + shape(dims) + " and bounds " + shape(bounds) + ", expected a row for each of " + std::to_string(rows) + " slots");
  require(dims.shape(1) == bounds.shape(1) && keep.shape(1) == bounds.shape(1),
          "dims, bounds and keep have " + std::to_string(dims.shape(1)) + ", " + std::to_string(bounds.shape(1)) + " and " + std::to_string(keep.shape(1)) + " columns, expected one for each mapping");
  return out;
}

// Hands a vector to NumPy.
template <class T>
py::array_t<T> to_array(std::vector<T> values, std::size_t rows, std::size_t columns) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  const T* data = owned->data();
  const py::capsule owner(owned.release(), [](void* pointer) { delete static_cast<std::vector<T>*>(pointer); });
  return py::array_t<T>({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(columns)}, data, owner);
}

ArrayBatch to_batch(const Mapspace& space, MappingColumns columns) {
  ArrayBatch out;
  const std::size_t count = columns.count;
  const std::size_t slots = columns.slots.size();
  out.slots = std::move(columns.slots);
  out.dims = to_array(std::move(columns.dims), slots, count);
  out.bounds = to_array(std::move(columns.bounds), slots, count);
  out.keep = to_array(std::move(columns.keep), static_cast<std::size_t>(space.arch().num_levels()), count);
  return out;
}

NamedMapping batch_mapping(const ArrayBatch& batch, const Workload& workload, py::ssize_t index) {
  const auto count = static_cast<py::ssize_t>(batch.count());
  const py::ssize_t at = index < 0 ? index + count : index;
  if (at < 0 || at >= count) throw py::index_error("batch of " + std::to_string(count) + " mappings has no mapping " + std::to_string(index));
  const Mapping mapping = mapping_at(batch.view(), static_cast<std::size_t>(at), batch.levels());
  for (const LevelMapping& level : mapping.levels) {
    for (const auto* loops : {&level.temporal, &level.spatial_x, &level.spatial_y}) {
      for (const Loop& loop : *loops) {
        if (loop.dim >= workload.num_dims()) throw Error(ErrorKind::mapping, "batch: mapping " + std::to_string(at) + " has a loop over dim " + std::to_string(loop.dim) + ", the workload has " + std::to_string(workload.num_dims()));
      }
    }
  }
  return give_names(workload, mapping);
}

struct BatchCosts {
  py::array_t<double> energy_pj;
  py::array_t<double> cycles;
  py::array_t<std::uint8_t> status;
};

// Chunks have fixed borders and write their own places, so the result does not depend on the number of threads.
void evaluate_chunks(const BatchEvaluator& evaluator, const MappingBatch& batch, const BatchResult& result, int threads, const std::stop_token& stop) {
  const std::size_t step = evaluator.is_vectorized() ? kChunk : kSingles;
  std::vector<std::unique_ptr<BatchEvaluator>> workers(static_cast<std::size_t>(threads));
  for_each_chunk(static_cast<int>((batch.count + kChunk - 1) / kChunk), threads, stop, [&](int chunk, int worker) {
    auto& mine = workers[static_cast<std::size_t>(worker)];
    if (!mine) mine = std::make_unique<BatchEvaluator>(evaluator);
    const std::size_t first = static_cast<std::size_t>(chunk) * kChunk;
    const std::size_t end = std::min(first + kChunk, batch.count);
    for (std::size_t i = first; i < end && !stop.stop_requested(); i += step) mine->evaluate(batch, i, std::min(step, end - i), result);
  });
}

BatchCosts evaluate_batch(const Arch& arch, const Workload& workload, const ArrayBatch& batch, const std::map<std::string, int>& bits,
                          const std::string& model, const std::string& packing, int psum_bits, int threads) {
  if (threads < 0) throw Error(ErrorKind::spec, "threads: " + std::to_string(threads) + ", expected 1 or more, or 0 for all the machine has");
  if (batch.levels() != arch.num_levels()) {
    throw Error(ErrorKind::mapping, "batch: keep has " + std::to_string(batch.levels()) + " rows, architecture '" + arch.name() + "' has " +
                                        std::to_string(arch.num_levels()) + " levels");
  }
  const EvaluateOptions options{parse_cost_model(model), false, parse_packing_rule(packing), psum_bits};
  const BatchEvaluator evaluator(arch, workload, resolve_bits(workload, bits), options);
  evaluator.check(batch.view());
  const auto count = static_cast<py::ssize_t>(batch.count());
  BatchCosts out{py::array_t<double>(count), py::array_t<double>(count), py::array_t<std::uint8_t>(count)};
  const BatchResult result{out.energy_pj.mutable_data(), out.cycles.mutable_data(), out.status.mutable_data()};
  const MappingBatch view = batch.view();
  run_interruptible([&](const std::stop_token& stop) {
    evaluate_chunks(evaluator, view, result, threads == 0 ? default_threads() : threads, stop);
    return true;
  });
  return out;
}

std::vector<NamedSlot> name_slots(const ArrayBatch& batch) {
  std::vector<NamedSlot> out;
  for (const LoopSlot& slot : batch.slots) out.emplace_back(slot.level, kind_name(slot.kind));
  return out;
}

constexpr const char* kBatchDoc =
    "Mappings of one layer as columns of arrays.\n\n"
    "slots: (level, kind) of every loop a mapping may have, outermost first: levels descend to 0, the innermost; in a level\n"
    "'temporal', then 'spatial_y', then 'spatial_x'. dims: uint8 [slot, mapping], numbers of the workload's dims, without\n"
    "meaning where the bound is 1. bounds: uint32 [slot, mapping]; 1 leaves the slot empty. keep: uint32 [level, mapping],\n"
    "innermost level first, bit t set if the workload's tensor t is kept. The arrays must be C-contiguous; they are not\n"
    "copied. Raises MappingError for other types or shapes.";
constexpr const char* kEvaluateDoc =
    "Energy, cycles and validity of every mapping of a batch, as evaluate() and check_fit() give them.\n\n"
    "bits, model, packing and psum_bits are those of evaluate(), and so are the errors for them. threads: 0 takes all that\n"
    "the machine has; the result does not depend on it. Raises MappingError if the slots are not in nest order or not of the\n"
    "architecture. Mappings that do not fit or are malformed are no errors, see BatchCosts.status.";

void bind_costs(py::module_& m) {
  py::class_<BatchCosts>(m, "BatchCosts", "What evaluate_batch() found: one entry per mapping.")
      .def_readonly("energy_pj", &BatchCosts::energy_pj, "float64, pJ over all instances; infinite where the mapping is not valid.")
      .def_readonly("cycles", &BatchCosts::cycles, "float64; infinite where the mapping is not valid.")
      .def_readonly("status", &BatchCosts::status,
                    "uint8. 0: valid; 1: more spatial iterations than instances; 2: malformed (the factors of a dim do not multiply to\n"
                    "its bound, a dim has two loops of one level and kind, or a dim or tensor does not exist);\n"
                    "16 + level: the tiles exceed the capacity of the level, the innermost if several.")
      .def("__len__", [](const BatchCosts& costs) { return costs.status.size(); });
  m.def("evaluate_batch", &evaluate_batch, py::arg("arch"), py::arg("workload"), py::arg("batch"), py::kw_only(),
        py::arg("bits") = std::map<std::string, int>{}, py::arg("model") = std::string(cost_model_names().front()), py::arg("packing") = "word",
        py::arg("psum_bits") = 0, py::arg("threads") = 1, kEvaluateDoc);
  m.def(
      "is_batch_vectorized",
      [](const Arch& arch, const Workload& workload, const std::map<std::string, int>& bits, const std::string& model, const std::string& packing, int psum_bits) {
        const EvaluateOptions options{parse_cost_model(model), false, parse_packing_rule(packing), psum_bits};
        return BatchEvaluator(arch, workload, resolve_bits(workload, bits), options).is_vectorized();
      },
      py::arg("arch"), py::arg("workload"), py::kw_only(), py::arg("bits") = std::map<std::string, int>{},
      py::arg("model") = std::string(cost_model_names().front()), py::arg("packing") = "word", py::arg("psum_bits") = 0,
      "Whether evaluate_batch() prices many mappings at a time here. It goes one by one for networks with energies, dims in two\n"
      "ranks and counts that may pass 2^50; in the default model for networks without reduction or with forwarding; in compat\n"
      "for outputs with ranks that are sums or multiples of dims, and for mappings whose children may take data from each other.");
}

}  // namespace

void bind_batch(py::module_& m) {
  py::class_<ArrayBatch>(m, "MappingBatch", kBatchDoc)
      .def(py::init(&make_batch), py::arg("slots"), py::kw_only(), py::arg("dims"), py::arg("bounds"), py::arg("keep"))
      .def_property_readonly("slots", &name_slots)
      .def_readonly("dims", &ArrayBatch::dims, "uint8 [slot, mapping]")
      .def_readonly("bounds", &ArrayBatch::bounds, "uint32 [slot, mapping]")
      .def_readonly("keep", &ArrayBatch::keep, "uint32 [level, mapping], innermost level first")
      .def("__len__", &ArrayBatch::count)
      .def("mapping", &batch_mapping, py::arg("workload"), py::arg("index"),
           "Mapping number `index` as evaluate() takes it, without loops of bound 1. Raises IndexError outside of the batch,\n"
           "MappingError if it names a dim that the workload does not have.");
  bind_costs(m);
}

void bind_mapspace_batches(py::class_<Mapspace>& space) {
  space
      .def(
          "batch",
          [](const Mapspace& s, const py::int_& first, std::size_t count) {
            const BigUnsigned index = BigUnsigned::from_decimal(py::str(first).cast<std::string>());
            return to_batch(s, run_interruptible([&](std::stop_token stop) { return s.columns(index, count, std::move(stop)); }));
          },
          py::arg("first"), py::arg("count"),
          "The mappings at(first) .. at(first + count - 1), fewer at the end of the space, for evaluate_batch(). Every batch of a\n"
          "space has the same slots. Raises MappingError if first is negative or above size().")
      .def(
          "sample_batch",
          [](const Mapspace& s, std::size_t count, std::uint64_t seed) {
            return to_batch(s, run_interruptible([&](std::stop_token stop) { return s.sample_columns(count, seed, std::move(stop)); }));
          },
          py::arg("count"), py::arg("seed"), "The mappings of sample(count, seed) for evaluate_batch().");
}

}  // namespace quantloom::bindings
