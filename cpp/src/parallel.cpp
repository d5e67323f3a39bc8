#include "quantloom/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace quantloom {

int default_threads() noexcept { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

void for_each_chunk(int chunks, int threads, std::stop_token stop, const std::function<void(int chunk, int worker)>& run) {
  std::atomic<int> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  std::mutex failure_lock;
  const auto work = [&](int worker) {
    try {
      for (int chunk = next.fetch_add(1); chunk < chunks; chunk = next.fetch_add(1)) {
        if (stop.stop_requested() || failed.load()) return;
        run(chunk, worker);
      }
    } catch (...) {
      const std::lock_guard lock(failure_lock);
      if (!failed.exchange(true)) failure = std::current_exception();
    }
  };
  const int workers = std::clamp(threads, 1, std::max(1, chunks));
  {
    std::vector<std::jthread> pool;
    for (int worker = 1; worker < workers; ++worker) pool.emplace_back(work, worker);
    work(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace quantloom
