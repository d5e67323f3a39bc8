// Errors of the core: every mistake a caller can make is thrown as one Error with a kind, a message and a hint.
// "Does not fit" is not an error but a value (Fit in cost.hpp). Includes std only.
#pragma once

#include <stdexcept>
#include <string>

namespace quantloom {

enum class ErrorKind { spec, workload, mapping, infeasible, internal };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, std::string hint = {})
      : std::runtime_error(message), kind_(kind), hint_(std::move(hint)) {}
  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

 private:
  ErrorKind kind_;
  std::string hint_;
};

}  // namespace quantloom
