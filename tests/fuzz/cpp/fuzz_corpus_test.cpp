// The inputs of tests/fuzz/corpus, which the fuzzer found or which reach far, and a few thousand of random bytes.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "contract.hpp"
#include "some_of.hpp"

namespace quantloom::fuzz {
namespace {

constexpr int kRandomInputs = test::some_of(20000);

TEST(FuzzCorpus, EveryInputKeepsTheContract) {
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(QUANTLOOM_FUZZ_CORPUS)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
    const std::vector<std::uint8_t> data(text.begin(), text.end());
    SCOPED_TRACE(entry.path().filename().string());
    EXPECT_NO_THROW((void)run_input(data));
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
}

TEST(FuzzCorpus, RandomInputsKeepTheContract) {
  std::mt19937 random(1);
  int answered = 0;
  for (int n = 0; n < kRandomInputs && !HasFailure(); ++n) {
    std::vector<std::uint8_t> data(64 + random() % 512);
    for (std::uint8_t& byte : data) byte = static_cast<std::uint8_t>(random());
    SCOPED_TRACE("input " + std::to_string(n));
    bool has_answer = false;
    EXPECT_NO_THROW(has_answer = run_input(data));
    answered += has_answer ? 1 : 0;
  }
  EXPECT_GT(answered, kRandomInputs / 20);
}

}  // namespace
}  // namespace quantloom::fuzz
