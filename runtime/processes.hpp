// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <troupe/runtime/process.hpp>
#include <utility>
#include <vector>

namespace troupe {

/// Processes that are waited for and stopped together.
///
/// Each keeps what its Process promises: gone with this object, joined or stopped. Other children of the
/// program are never reaped by it. Threads: one at a time.
class Processes {
 public:
  Processes() = default;

  /// A process that was started.
  void add(Process process) { all_.push_back({std::move(process), false}); }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
  [[nodiscard]] Process& operator[](std::size_t index) { return all_.at(index).process; }
  [[nodiscard]] std::size_t alive() const;

  /// The next end that was not told yet, in the order in which they are seen; of those seen together the one
  /// that was added first. `timed_out`; `closed` when all were told.
  [[nodiscard]] Result<ExitReport> next_exit(Duration within = Duration::max());

  /// Waits for all: their reports, in the order in which they were added. `timed_out` says who lives on.
  [[nodiscard]] Result<std::vector<ExitReport>> join(Duration within = Duration::max());

  /// Asks all to stop at once (SIGTERM), then goes up each one's ladder.
  [[nodiscard]] Result<std::vector<ExitReport>> stop();

 private:
  struct Member {
    Process process;
    bool told = false;
  };
  [[nodiscard]] static Result<ExitReport> tell(Member& ended);
  std::vector<Member> all_{};
};

/// As many processes with the same function and arguments, named <name>/0, <name>/1, …, all started: or none,
/// and why one could not be.
template <class F, class... A>
[[nodiscard]] Result<Processes> start_many(std::size_t count, ProcessOptions options, const F& function,
                                           const A&... arguments) {
  const std::string name = options.name.empty() ? "process" : options.name;
  Processes started;
  for (std::size_t i = 0; i < count; ++i) {
    options.name = name + "/" + std::to_string(i);
    Process process{options, function, arguments...};
    if (auto begun = process.start(); !begun) {
      [[maybe_unused]] const auto stopped = started.stop();
      return failure(std::move(begun));
    }
    started.add(std::move(process));
  }
  return started;
}

template <class F, class... A>
requires(!std::is_same_v<F, ProcessOptions>)
    [[nodiscard]] Result<Processes> start_many(std::size_t count, const F& function, const A&... arguments) {
  return start_many(count, ProcessOptions{}, function, arguments...);
}

}  // namespace troupe
