#include "quantloom/workload.hpp"

#include <algorithm>

#include "quantloom/error.hpp"

namespace quantloom {
namespace {

constexpr Count kLargestBound = Count{1} << 31;

[[noreturn]] void fail(const std::string& workload, const std::string& what, const std::string& hint = {}) {
  throw Error(ErrorKind::workload, "workload '" + workload + "': " + what, hint);
}

void check_dims(const std::string& name, const std::vector<Dim>& dims) {
  if (dims.empty() || dims.size() > kMaxDims) {
    fail(name, "has " + std::to_string(dims.size()) + " dims, expected 1 to " + std::to_string(kMaxDims));
  }
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i].name.empty()) fail(name, "dim " + std::to_string(i) + " has no name");
    if (dims[i].bound < 1 || dims[i].bound > kLargestBound) {
      fail(name, "dim '" + dims[i].name + "' has bound " + std::to_string(dims[i].bound) + ", expected 1 to 2^31");
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (dims[j].name == dims[i].name) fail(name, "dim '" + dims[i].name + "' is given twice");
    }
  }
}

void check_tensor(const std::string& name, const std::vector<Dim>& dims, const TensorSpec& tensor) {
  if (tensor.name.empty()) fail(name, "a tensor has no name");
  if (tensor.ranks.size() > kMaxRanks) {
    fail(name, "tensor '" + tensor.name + "' has " + std::to_string(tensor.ranks.size()) + " ranks, expected at most " +
                   std::to_string(kMaxRanks));
  }
  for (const auto& rank : tensor.ranks) {
    if (rank.empty()) fail(name, "tensor '" + tensor.name + "' has a rank without terms");
    for (std::size_t i = 0; i < rank.size(); ++i) {
      const Term& term = rank[i];
      if (term.dim < 0 || term.dim >= static_cast<int>(dims.size())) {
        fail(name, "tensor '" + tensor.name + "' uses dim number " + std::to_string(term.dim) + ", which does not exist");
      }
      if (term.coefficient < 1 || term.coefficient > kLargestBound) {
        fail(name, "tensor '" + tensor.name + "': coefficient " + std::to_string(term.coefficient) + " of dim '" +
                       dims[static_cast<std::size_t>(term.dim)].name + "', expected 1 to 2^31");
      }
      for (std::size_t j = 0; j < i; ++j) {
        if (rank[j].dim == term.dim) fail(name, "tensor '" + tensor.name + "' uses one dim twice in a rank");
      }
    }
  }
}

}  // namespace

Workload::Workload(std::string name, std::vector<Dim> dims, std::vector<TensorSpec> tensors)
    : name_(std::move(name)), dims_(std::move(dims)), tensors_(std::move(tensors)) {
  check_dims(name_, dims_);
  if (tensors_.size() < 2 || tensors_.size() > kMaxTensors) {
    fail(name_, "has " + std::to_string(tensors_.size()) + " tensors, expected 2 to " + std::to_string(kMaxTensors));
  }
  int outputs = 0;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    check_tensor(name_, dims_, tensors_[i]);
    outputs += tensors_[i].is_output ? 1 : 0;
    for (std::size_t j = 0; j < i; ++j) {
      if (tensors_[j].name == tensors_[i].name) fail(name_, "tensor '" + tensors_[i].name + "' is given twice");
    }
  }
  if (outputs != 1) fail(name_, "has " + std::to_string(outputs) + " output tensors, expected exactly one");
  for (const TensorSpec& tensor : tensors_) add_projection(tensor);
}

int Workload::find_dim(std::string_view name) const noexcept {
  const auto it = std::find_if(dims_.begin(), dims_.end(), [&](const Dim& d) { return d.name == name; });
  return it == dims_.end() ? -1 : static_cast<int>(it - dims_.begin());
}

int Workload::find_tensor(std::string_view name) const noexcept {
  const auto it = std::find_if(tensors_.begin(), tensors_.end(), [&](const TensorSpec& t) { return t.name == name; });
  return it == tensors_.end() ? -1 : static_cast<int>(it - tensors_.begin());
}

Count Workload::macs() const noexcept {
  Count out = 1;
  for (const Dim& dim : dims_) out = saturating_mul(out, dim.bound);
  return out;
}

Count Workload::tensor_elements(int tensor) const noexcept {
  Count out = 1;
  for (const auto& rank : tensors_[static_cast<std::size_t>(tensor)].ranks) {
    Count extent = 1;
    for (const Term& term : rank) {
      extent = saturating_add(extent, saturating_mul(bound(term.dim) - 1, term.coefficient));
    }
    out = saturating_mul(out, extent);
  }
  return out;
}

void Workload::add_projection(const TensorSpec& tensor) {
  Projection& projection = projections_.emplace_back();
  for (int d = 0; d < num_dims(); ++d) {
    projection.first[static_cast<std::size_t>(d)] = static_cast<std::uint8_t>(projection.moves.size());
    for (std::size_t r = 0; r < tensor.ranks.size(); ++r) {
      for (const Term& term : tensor.ranks[r]) {
        if (term.dim == d) projection.moves.push_back({static_cast<int>(r), term.coefficient});
      }
    }
    projection.first[static_cast<std::size_t>(d) + 1] = static_cast<std::uint8_t>(projection.moves.size());
  }
  for (const auto& rank : tensor.ranks) {
    int moving = 0;
    for (const Term& term : rank) {
      projection.relevant |= 1U << term.dim;
      moving += bound(term.dim) > 1 ? 1 : 0;
    }
    projection.has_window = projection.has_window || moving > 1;
  }
}

}  // namespace quantloom
