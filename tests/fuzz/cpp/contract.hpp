// What the core promises for any arguments: a quantloom::Error that says something, or a result that agrees with every
// other way to it.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>

namespace quantloom::fuzz {

struct ContractBroken : std::logic_error {
  using std::logic_error::logic_error;
};

// Throws ContractBroken, or lets through whatever the core should not have thrown. Returns whether the input came as
// far as an answer.
bool run_input(std::span<const std::uint8_t> data);

}  // namespace quantloom::fuzz
