#include "quantloom/heuristics.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "heuristic_stream.hpp"
#include "quantloom/error.hpp"
#include "quantloom/parallel.hpp"

namespace quantloom {
namespace {

constexpr std::array<std::string_view, 3> kHeuristicNames{"random", "random-pruned", "annealing"};  // in the order of Heuristic
constexpr std::array<std::string_view, 5> kStopNames{"budget", "victory", "timeout", "search-size", "interrupted"};
constexpr int kMostStreams = 1 << 16;

void check_options(const HeuristicOptions& options) {
  if (options.objective == Objective::pareto) {
    throw Error(ErrorKind::spec, "objective 'pareto': heuristics look for one best mapping", "use energy, cycles, edp or ed2p");
  }
  if (options.streams < 1 || options.streams > kMostStreams) {
    throw Error(ErrorKind::spec, "streams: expected 1 to " + std::to_string(kMostStreams) + ", got " + std::to_string(options.streams));
  }
  if (options.budget < 0 || options.victory < 0 || options.search_size < 0 || options.timeout.value_or(0) < 0) {
    throw Error(ErrorKind::spec, "budget, victory, timeout and search_size must not be negative");
  }
  if (options.budget > 0) return;
  if (options.heuristic == Heuristic::annealing) {
    throw Error(ErrorKind::spec, "annealing cools down over its budget and needs one", "give a budget");
  }
  if (!options.timeout || (options.victory == 0 && options.search_size == 0)) {
    throw Error(ErrorKind::spec, "the search may never end", "give a budget, or a timeout with a victory or a search_size");
  }
}

// Spreads seeds and stream numbers over all 64 bits (the finalizer of splitmix64).
std::uint64_t mix(std::uint64_t value) noexcept {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

detail::StreamBook run_stream(const detail::HeuristicSetup& setup, int stream, const std::stop_token& stop) {
  const HeuristicOptions& options = setup.options;
  const Count budget = options.budget / options.streams + (stream < options.budget % options.streams ? 1 : 0);
  detail::StreamBook book(setup, options.budget > 0, budget, ceil_div(options.search_size, options.streams), stop);
  detail::RandomDigits digits(mix(options.seed ^ mix(static_cast<std::uint64_t>(stream))));
  switch (options.heuristic) {
    case Heuristic::random: walk_randomly(setup, digits, book); break;
    case Heuristic::random_pruned: walk_random_pruned(setup, digits, book); break;
    case Heuristic::annealing: walk_annealing(setup, digits, book); break;
  }
  return book;
}

// As if the streams had taken turns: look k of stream s comes after k looks of the streams before s and k - 1 of the others,
// or all looks of those that were over by then.
HeuristicResult merge(const std::vector<detail::StreamBook>& books) {
  struct Improvement {
    TracePoint point;
    std::size_t stream = 0;
  };
  HeuristicResult out;
  std::vector<Improvement> improvements;
  for (std::size_t s = 0; s < books.size(); ++s) {
    out.streams.push_back(books[s].end());
    out.looked_at += books[s].end().looked_at;
    out.fitting += books[s].end().fitting;
    for (const TracePoint& point : books[s].trace()) {
      Count place = 0;
      for (std::size_t other = 0; other < books.size(); ++other) {
        place += std::min(books[other].end().looked_at, point.looked_at - (other > s ? 1 : 0));
      }
      improvements.push_back({{place, point.objective}, s});
    }
  }
  std::sort(improvements.begin(), improvements.end(), [](const Improvement& a, const Improvement& b) { return a.point.looked_at < b.point.looked_at; });
  out.energy_pj = out.cycles = out.objective = std::numeric_limits<double>::infinity();
  for (const Improvement& improvement : improvements) {
    if (!(improvement.point.objective < out.objective)) continue;
    out.objective = improvement.point.objective;
    out.trace.push_back(improvement.point);
    const Tradeoff& best = books[improvement.stream].best();
    out.mapping = best.mapping;
    out.energy_pj = best.energy_pj;
    out.cycles = best.cycles;
  }
  out.found = !out.trace.empty();
  return out;
}

}  // namespace

std::span<const std::string_view> heuristic_names() noexcept { return kHeuristicNames; }

Heuristic parse_heuristic(std::string_view text) {
  const auto found = std::find(kHeuristicNames.begin(), kHeuristicNames.end(), text);
  if (found != kHeuristicNames.end()) return static_cast<Heuristic>(found - kHeuristicNames.begin());
  throw Error(ErrorKind::spec, "unknown heuristic '" + std::string(text) + "'", "the heuristics are: random, random-pruned, annealing");
}

std::string_view stop_name(HeuristicStop stop) noexcept { return kStopNames[static_cast<std::size_t>(stop)]; }

HeuristicResult search_heuristically(const Arch& arch, const Workload& workload, std::span<const int> bits,
                                     const HeuristicOptions& options, std::stop_token stop) {
  check_options(options);
  const Mapspace space(arch, workload, options.selection);
  const detail::MapspaceParts parts(arch, workload, options.selection);
  EvaluateOptions priced_with;
  priced_with.model = options.model;
  priced_with.packing = options.packing;
  priced_with.psum_bits = options.psum_bits;
  priced_with.hops = false;
  const detail::HeuristicSetup setup{space, parts, bits, priced_with, options};
  // Errors of bits and options must not wait for a mapping that is within the fanout.
  (void)check_fit(arch, workload, space.at(0), bits, priced_with);
  std::vector<std::optional<detail::StreamBook>> done(static_cast<std::size_t>(options.streams));
  for_each_chunk(options.streams, options.threads > 0 ? options.threads : default_threads(), stop, [&](int stream, int) {
    done[static_cast<std::size_t>(stream)].emplace(run_stream(setup, stream, stop));
  });
  std::vector<detail::StreamBook> books;
  for (auto& book : done) {
    if (book) books.push_back(std::move(*book));
  }
  return merge(books);
}

}  // namespace quantloom
