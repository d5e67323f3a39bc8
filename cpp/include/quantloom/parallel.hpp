// A parallel loop over numbered chunks. Results must be kept per chunk and merged in chunk order: then they are the same
// for any number of threads. Includes std only.
#pragma once

#include <functional>
#include <stop_token>

namespace quantloom {

// Threads to use when the caller says 0: what the machine offers, at least 1.
[[nodiscard]] int default_threads() noexcept;

// Calls run(chunk, worker) once for every chunk in 0..chunks-1; chunks are handed out in order, worker < threads. Chunks
// not yet begun are left out once a stop is requested. The first exception stops the loop and is rethrown.
void for_each_chunk(int chunks, int threads, std::stop_token stop, const std::function<void(int chunk, int worker)>& run);

}  // namespace quantloom
