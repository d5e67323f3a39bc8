// Counting what fits in the default model, where a level that holds partial sums has room for them. Private to the mapspace.
#pragma once

#include <atomic>
#include <memory>
#include <stop_token>

#include "mapspace_count_walk.hpp"

namespace quantloom::detail {

[[nodiscard]] std::unique_ptr<CountWalk> make_default_counter(const CountPlan& plan, const std::stop_token& stop, std::atomic<bool>& stopped);

}  // namespace quantloom::detail
