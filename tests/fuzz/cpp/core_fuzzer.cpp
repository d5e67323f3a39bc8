// libFuzzer's entry: an exception that comes out is a finding, as a sanitizer's report is.
#include <cstddef>
#include <cstdint>

#include "contract.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  quantloom::fuzz::run_input({data, size});
  return 0;
}
