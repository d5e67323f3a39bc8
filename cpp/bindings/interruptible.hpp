// Runs a long call of the core so that Ctrl-C and a progress callback work: the work runs in a thread without the GIL,
// the calling thread wakes every 50 ms, takes the GIL and lets Python handle signals.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <stop_token>

namespace quantloom::bindings {

// work(stop_token) must return soon after a stop is requested; what it then returns is thrown away.
// `poll` (may be empty) is called with the GIL at every wake-up; an exception from it stops the work and is rethrown.
template <class Work>
auto run_interruptible(Work&& work, const std::function<void()>& poll = {}) {
  std::stop_source stop;
  std::future<decltype(work(stop.get_token()))> future;
  std::exception_ptr interruption;
  {
    pybind11::gil_scoped_release release;
    future = std::async(std::launch::async, [&work, token = stop.get_token()] { return work(token); });
    while (future.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
      pybind11::gil_scoped_acquire acquire;
      try {
        if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
        if (poll) poll();
      } catch (...) {
        interruption = std::current_exception();
        stop.request_stop();
        break;
      }
    }
    future.wait();
  }
  if (interruption) std::rethrow_exception(interruption);
  return future.get();
}

}  // namespace quantloom::bindings
