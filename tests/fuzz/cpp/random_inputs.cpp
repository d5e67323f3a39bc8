// Inputs by the million without Clang: random bytes, and changes of the files of a folder (a corpus of the fuzzer).
// `random_inputs [--inputs N] [--seed N] [--first N] [FOLDER]`: every input follows from the seed and its number.
// What breaks the contract, ends the program or takes more than a minute of CPU is kept in the current folder as
// found-NUMBER.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "contract.hpp"

namespace {

using Input = std::vector<std::uint8_t>;

constexpr int kSecondsEach = 60;
constexpr std::size_t kLongest = 1400;
constexpr double kMostGrowthMiB = 64;
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ULL;

struct Arguments {
  std::uint64_t inputs = 20000;
  std::uint64_t seed = 1;
  std::uint64_t first = 0;
  std::string folder;
};

std::uint64_t current = 0;
Input input;

std::string name_of_current() { return "found-" + std::to_string(current); }

bool keep(const char* name) {
  const int file = ::open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  return file >= 0 && ::write(file, input.data(), input.size()) == static_cast<ssize_t>(input.size());
}

// What a sanitizer, an assertion, a fault or an endless loop ends with: the input is kept and its number told first.
void keep_input(int signal) {
  std::array<char, 64> text{};
  constexpr std::string_view kBefore = "found-";
  std::copy(kBefore.begin(), kBefore.end(), text.begin());
  char* end = std::to_chars(text.data() + kBefore.size(), text.data() + text.size() - 1, current).ptr;
  const bool kept = keep(text.data());
  *end++ = '\n';
  const bool told = ::write(STDERR_FILENO, text.data(), static_cast<std::size_t>(end - text.data())) > 0;
  std::signal(signal, SIG_DFL);
  std::raise(kept && told ? signal : SIGKILL);
}

bool read_number(const char* text, std::uint64_t& out) {
  const char* end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, out);
  return error == std::errc{} && at == end && at != text;
}

bool read_arguments(int count, char** values, Arguments& out) {
  for (int i = 1; i < count; ++i) {
    const std::string_view name = values[i];
    std::uint64_t* number = name == "--inputs"  ? &out.inputs
                            : name == "--seed"  ? &out.seed
                            : name == "--first" ? &out.first
                                                : nullptr;
    if (number != nullptr) {
      if (++i == count || !read_number(values[i], *number)) return false;
    } else if (out.folder.empty() && std::filesystem::is_directory(name)) {
      out.folder = name;
    } else {
      return false;
    }
  }
  return true;
}

// In the order of their names, as inputs follow from it.
std::vector<Input> read_folder(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Input> out;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
    if (!text.empty()) out.emplace_back(text.begin(), text.end());
  }
  return out;
}

class Maker {
 public:
  Maker(std::uint64_t seed, const std::vector<Input>& known) : random_(seed), known_(known) {}

  Input make() {
    if (known_.empty() || below(2) == 0) {
      Input out(1 + below(576));
      for (std::uint8_t& byte : out) byte = any_byte();
      return out;
    }
    Input out = known_[below(known_.size())];
    for (std::size_t n = 1 + below(6); n > 0; --n) change(out);
    if (out.size() > kLongest) out.resize(kLongest);
    return out;
  }

 private:
  std::size_t below(std::size_t n) { return random_() % n; }
  std::uint8_t any_byte() { return static_cast<std::uint8_t>(random_()); }

  void change(Input& out) {
    if (out.empty()) out.push_back(any_byte());
    const auto at = out.begin() + static_cast<std::ptrdiff_t>(below(out.size()));
    switch (below(6)) {
      case 0:
        *at = any_byte();
        break;
      case 1:
        *at = static_cast<std::uint8_t>(*at ^ 1U << below(8));
        break;
      case 2:
        *at = static_cast<std::uint8_t>(*at + (below(2) == 0 ? 1 : 255));
        break;
      case 3:
        out.insert(at, any_byte());
        break;
      case 4:
        out.erase(at);
        break;
      default:
        splice(out);
        break;
    }
  }

  // The rest becomes that of another file.
  void splice(Input& out) {
    const Input& other = known_[below(known_.size())];
    out.resize(below(out.size()) + 1);
    out.insert(out.end(), other.begin() + static_cast<std::ptrdiff_t>(below(other.size())), other.end());
  }

  std::mt19937_64 random_;
  const std::vector<Input>& known_;
};

// Of CPU.
void limit_time(int seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = seconds;
  setitimer(ITIMER_VIRTUAL, &timer, nullptr);
}

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// The number of inputs that broke the contract.
std::uint64_t run(const Arguments& arguments, const std::vector<Input>& known) {
  std::uint64_t answered = 0;
  std::uint64_t broken = 0;
  const std::uint64_t tenth = std::max<std::uint64_t>(arguments.inputs / 10, 1);
  double warm_mib = 0;  // after a tenth
  for (std::uint64_t n = 0; n < arguments.inputs; ++n) {
    current = arguments.first + n;
    input = Maker(arguments.seed * kStep + current, known).make();
    limit_time(kSecondsEach);
    try {
      answered += quantloom::fuzz::run_input(input) ? 1 : 0;
    } catch (const std::exception& error) {
      ++broken;
      const std::string name = name_of_current();
      std::printf("%s: %s%s\n", name.c_str(), error.what(), keep(name.c_str()) ? "" : "; it could not be kept");
    }
    if ((n + 1) % tenth == 0) {
      if (warm_mib == 0) warm_mib = peak_mib();
      std::printf("%llu inputs, %llu came as far as an answer, %llu broke the contract, %.0f MiB at most\n",
                  static_cast<unsigned long long>(n + 1), static_cast<unsigned long long>(answered),
                  static_cast<unsigned long long>(broken), peak_mib());
      std::fflush(stdout);
    }
  }
  limit_time(0);
  const double growth = peak_mib() - warm_mib;
  if (growth > kMostGrowthMiB) std::printf("memory grew by %.0f MiB after the first tenth\n", growth);
  return broken + (growth > kMostGrowthMiB ? 1 : 0);
}

}  // namespace

int main(int count, char** values) {
  Arguments arguments;
  if (!read_arguments(count, values, arguments)) {
    std::fprintf(stderr, "usage: %s [--inputs N] [--seed N] [--first N] [FOLDER]\n", values[0]);
    return 2;
  }
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL, SIGVTALRM}) std::signal(signal, keep_input);
  const std::vector<Input> known = arguments.folder.empty() ? std::vector<Input>{} : read_folder(arguments.folder);
  return run(arguments, known) == 0 ? 0 : 1;
}
