#include "bindings.hpp"
#include "quantloom/error.hpp"

namespace quantloom::bindings {
namespace {

const char* class_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::spec: return "SpecError";
    case ErrorKind::workload: return "WorkloadError";
    case ErrorKind::mapping: return "MappingError";
    case ErrorKind::infeasible: return "InfeasibleError";
    case ErrorKind::internal: break;
  }
  return "InternalError";
}

void raise_python(const Error& error) {
  const py::object type = py::module_::import("quantloom.errors").attr(class_name(error.kind()));
  const py::object hint = error.hint().empty() ? py::object(py::none()) : py::object(py::str(error.hint()));
  const py::object value = type(py::str(error.what()), py::arg("hint") = hint);
  PyErr_SetObject(type.ptr(), value.ptr());
}

}  // namespace

void bind_errors(py::module_&) {
  // NOLINTNEXTLINE(performance-unnecessary-value-param): the signature is pybind11's
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      raise_python(error);
    }
  });
}

}  // namespace quantloom::bindings
