// A workload: one layer as an iteration space over named dims, with tensors projected from it by affine ranks.
// One tensor is the output (read and written); all others are inputs. A value type: build, check, pass by const&.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quantloom/units.hpp"

namespace quantloom {

struct Dim {
  std::string name;
  Count bound = 1;
  bool operator==(const Dim&) const = default;
};

// coefficient * dim, one summand of a rank's coordinate.
struct Term {
  int dim = 0;
  Count coefficient = 1;
  bool operator==(const Term&) const = default;
};

// A rank is an axis of a tensor; its coordinate is the sum of the terms (a convolution's H = 2*P + R).
struct TensorSpec {
  std::string name;
  std::vector<std::vector<Term>> ranks;
  bool is_output = false;
  bool operator==(const TensorSpec&) const = default;
};

// Where a dim moves a tensor: one step of the dim is `coefficient` steps along `rank`.
struct RankMove {
  int rank = 0;
  Count coefficient = 1;
  bool operator==(const RankMove&) const = default;
};

class Workload {
 public:
  Workload() = default;
  // Throws Error(workload) unless: 1..kMaxDims dims with distinct names and bounds in 1..2^31, 2..kMaxTensors tensors
  // with distinct names, exactly one output, every term a known dim with a coefficient in 1..2^31.
  Workload(std::string name, std::vector<Dim> dims, std::vector<TensorSpec> tensors);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::vector<Dim>& dims() const noexcept { return dims_; }
  [[nodiscard]] const std::vector<TensorSpec>& tensors() const noexcept { return tensors_; }
  [[nodiscard]] int num_dims() const noexcept { return static_cast<int>(dims_.size()); }
  [[nodiscard]] int num_tensors() const noexcept { return static_cast<int>(tensors_.size()); }
  [[nodiscard]] Count bound(int dim) const noexcept { return dims_[static_cast<std::size_t>(dim)].bound; }
  // Position of the dim or tensor with this name, -1 if there is none.
  [[nodiscard]] int find_dim(std::string_view name) const noexcept;
  [[nodiscard]] int find_tensor(std::string_view name) const noexcept;
  // Multiply-accumulates: the product of all bounds (saturating).
  [[nodiscard]] Count macs() const noexcept;
  // Elements in the bounding box of a tensor (saturating).
  [[nodiscard]] Count tensor_elements(int tensor) const noexcept;
  // True if some coordinate of the tensor moves with this dim.
  [[nodiscard]] bool is_relevant(int tensor, int dim) const noexcept { return (relevant_dims(tensor) >> dim & 1U) != 0; }
  // Bit d set: is_relevant(tensor, d).
  [[nodiscard]] std::uint32_t relevant_dims(int tensor) const noexcept { return projections_[static_cast<std::size_t>(tensor)].relevant; }
  // The ranks that this dim moves, in order.
  [[nodiscard]] std::span<const RankMove> moves(int tensor, int dim) const noexcept {
    const Projection& projection = projections_[static_cast<std::size_t>(tensor)];
    const std::size_t first = projection.first[static_cast<std::size_t>(dim)];
    return {projection.moves.data() + first, projection.first[static_cast<std::size_t>(dim) + 1] - first};
  }
  // True if some rank is the sum of two or more dims with bounds above 1 (a sliding window).
  [[nodiscard]] bool has_window(int tensor) const noexcept { return projections_[static_cast<std::size_t>(tensor)].has_window; }

  bool operator==(const Workload&) const = default;

 private:
  // A tensor's ranks, turned around: by dim. Derived from them.
  struct Projection {
    std::uint32_t relevant = 0;
    bool has_window = false;
    std::array<std::uint8_t, kMaxDims + 1> first{};  // [dim]: the dim's moves are moves[first[dim]] .. moves[first[dim + 1]]
    std::vector<RankMove> moves;
    bool operator==(const Projection&) const = default;
  };
  void add_projection(const TensorSpec& tensor);

  std::string name_;
  std::vector<Dim> dims_;
  std::vector<TensorSpec> tensors_;
  std::vector<Projection> projections_;  // [tensor]
};

}  // namespace quantloom
