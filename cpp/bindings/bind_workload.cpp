#include "bindings.hpp"

#include "quantloom/error.hpp"

namespace quantloom::bindings {
namespace {

using NamedTerm = std::pair<std::string, Count>;

// Terms by name; positions are known only once the dims are.
struct NamedTensor {
  std::string name;
  std::vector<std::vector<NamedTerm>> ranks;
  bool is_output = false;
  bool operator==(const NamedTensor&) const = default;
};

NamedTensor name_tensor(const Workload& workload, const TensorSpec& tensor) {
  NamedTensor out{tensor.name, {}, tensor.is_output};
  for (const auto& rank : tensor.ranks) {
    auto& named = out.ranks.emplace_back();
    for (const Term& term : rank) {
      named.emplace_back(workload.dims()[static_cast<std::size_t>(term.dim)].name, term.coefficient);
    }
  }
  return out;
}

Workload make_workload(const std::string& name, const std::vector<NamedTerm>& dims, const std::vector<NamedTensor>& tensors) {
  std::vector<Dim> bounds;
  bounds.reserve(dims.size());
  for (const auto& [dim, bound] : dims) bounds.push_back({dim, bound});
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : tensors) {
    TensorSpec& spec = specs.emplace_back(TensorSpec{tensor.name, {}, tensor.is_output});
    for (const auto& rank : tensor.ranks) {
      auto& terms = spec.ranks.emplace_back();
      for (const auto& [dim, coefficient] : rank) {
        int position = 0;
        while (position < static_cast<int>(dims.size()) && dims[static_cast<std::size_t>(position)].first != dim) ++position;
        if (position == static_cast<int>(dims.size())) {
          throw Error(ErrorKind::workload, "workload '" + name + "': tensor '" + tensor.name + "' uses dim '" + dim +
                                               "', which the workload does not have");
        }
        terms.push_back({position, coefficient});
      }
    }
  }
  return {name, std::move(bounds), std::move(specs)};
}

std::string workload_repr(const Workload& workload) {
  std::string out = "Workload('" + workload.name() + "'";
  for (const Dim& dim : workload.dims()) out += ", " + dim.name + "=" + std::to_string(dim.bound);
  return out + ")";
}

}  // namespace

int require_dim(const Workload& workload, const std::string& name, const std::string& where) {
  const int dim = workload.find_dim(name);
  if (dim >= 0) return dim;
  std::string known;
  for (const Dim& each : workload.dims()) known += (known.empty() ? "" : ", ") + each.name;
  throw Error(ErrorKind::mapping, where + ": unknown dim '" + name + "'", "the dims of '" + workload.name() + "' are " + known);
}

int require_tensor(const Workload& workload, const std::string& name, const std::string& where) {
  const int tensor = workload.find_tensor(name);
  if (tensor >= 0) return tensor;
  std::string known;
  for (const TensorSpec& each : workload.tensors()) known += (known.empty() ? "" : ", ") + each.name;
  throw Error(ErrorKind::mapping, where + ": unknown tensor '" + name + "'",
              "the tensors of '" + workload.name() + "' are " + known);
}

std::vector<int> resolve_bits(const Workload& workload, const std::map<std::string, int>& bits) {
  std::vector<int> out(static_cast<std::size_t>(workload.num_tensors()), 0);
  for (const auto& [tensor, width] : bits) {
    if (width < 0) throw Error(ErrorKind::mapping, "bits of " + tensor + ": " + std::to_string(width) + ", expected 1 or more");
    out[static_cast<std::size_t>(require_tensor(workload, tensor, "bits"))] = width;
  }
  return out;
}

void bind_workload(py::module_& m) {
  py::class_<NamedTensor>(m, "TensorSpec", "A tensor of a workload: ranks as sums of (dim, coefficient) terms.")
      .def(py::init([](std::string name, std::vector<std::vector<NamedTerm>> ranks, bool is_output) {
             return NamedTensor{std::move(name), std::move(ranks), is_output};
           }),
           py::arg("name"), py::arg("ranks"), py::arg("is_output") = false)
      .def_readonly("name", &NamedTensor::name)
      .def_readonly("ranks", &NamedTensor::ranks)
      .def_readonly("is_output", &NamedTensor::is_output)
      .def("__eq__", [](const NamedTensor& a, const NamedTensor& b) { return a == b; }, py::is_operator())
      .def("__repr__", [](const NamedTensor& t) { return "TensorSpec('" + t.name + "', " + py::repr(py::cast(t.ranks)).cast<std::string>() + ")"; })
      .def(py::pickle([](const NamedTensor& t) { return py::make_tuple(t.name, t.ranks, t.is_output); },
                      [](const py::tuple& t) {
                        return NamedTensor{t[0].cast<std::string>(), t[1].cast<std::vector<std::vector<NamedTerm>>>(), t[2].cast<bool>()};
                      }));

  const auto dims = [](const Workload& w) {
    std::vector<NamedTerm> out;
    for (const Dim& dim : w.dims()) out.emplace_back(dim.name, dim.bound);
    return out;
  };
  const auto tensors = [](const Workload& w) {
    std::vector<NamedTensor> out;
    for (const TensorSpec& tensor : w.tensors()) out.push_back(name_tensor(w, tensor));
    return out;
  };
  py::class_<Workload>(m, "Workload",
                       "One layer as an iteration space: named dims with bounds, and tensors projected from them.\n\n"
                       "dims: (name, bound) pairs, bounds 1..2^31. tensors: exactly one is the output.\n"
                       "Raises WorkloadError if a bound, a name or a projection is impossible.")
      .def(py::init(&make_workload), py::arg("name"), py::arg("dims"), py::arg("tensors"))
      .def_property_readonly("name", &Workload::name)
      .def_property_readonly("dims", [dims](const Workload& w) {
        Named<py::int_> out;
        for (const auto& [dim, bound] : dims(w)) out[py::str(dim)] = bound;
        return out;
      }, "Bounds by dim name, in order.")
      .def_property_readonly("tensors", [tensors](const Workload& w) { return tensors(w); })
      .def_property_readonly("macs", &Workload::macs, "Multiply-accumulates: the product of all bounds.")
      .def("tensor_elements", [](const Workload& w, const std::string& tensor) { return w.tensor_elements(require_tensor(w, tensor, "tensor_elements")); },
           py::arg("tensor"), "Elements in the bounding box of a tensor.")
      .def("has_window", [](const Workload& w, const std::string& tensor) { return w.has_window(require_tensor(w, tensor, "has_window")); },
           py::arg("tensor"), "True if the tensor is read through a sliding window.")
      .def("renamed", [dims, tensors](const Workload& w, const std::string& name) { return make_workload(name, dims(w), tensors(w)); },
           py::arg("name"), "The same workload under another name.")
      .def("__eq__", [](const Workload& a, const Workload& b) { return a == b; }, py::is_operator())
      .def("__hash__", [](const Workload& w) { return py::hash(py::str(workload_repr(w))); })
      .def("__repr__", &workload_repr)
      .def(py::pickle([dims, tensors](const Workload& w) { return py::make_tuple(w.name(), dims(w), tensors(w)); },
                      [](const py::tuple& t) {
                        return make_workload(t[0].cast<std::string>(), t[1].cast<std::vector<NamedTerm>>(), t[2].cast<std::vector<NamedTensor>>());
                      }));
}

}  // namespace quantloom::bindings
