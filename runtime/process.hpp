// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <troupe/runtime/child_spec.hpp>
#include <troupe/runtime/entry.hpp>
#include <troupe/runtime/exit_report.hpp>
#include <troupe/transport/result.hpp>

namespace troupe {

struct ProcessOptions {
  std::string name{};   ///< at most 63 bytes; empty: "process"
  bool daemon = false;  ///< stopped, not joined, by ~Process
  std::optional<StartMethod>
      method{};  ///< none: forkserver, or spawn where static constructors start threads
  Duration ready_within = std::chrono::seconds{30};  ///< to reach the function's first line
  Duration stop_within = std::chrono::seconds{5};    ///< from stop() to SIGKILL
};

/// A function that runs in a process of its own, like Python's multiprocessing.Process.
///
/// The function and its arguments are copied to the other process: it shares nothing with
/// this one, and its globals are as static initialisation left them. It ends with exit code 0
/// when the function returns, and 1 when it throws (the report carries the exception's text).
///
/// Invariant: a process that was started is joined or stopped before its Process is gone.
/// Threads: one at a time per Process. A process that dies takes with it those it had started.
class Process {
 public:
  /// Does not start it. Throws Failure when the arguments cannot be encoded.
  template <class F, class... A>
  requires(!std::is_same_v<std::decay_t<F>, Process> &&
           !std::is_same_v<std::decay_t<F>, ProcessOptions>) explicit Process(F&& function, A&&... arguments)
      : Process{ProcessOptions{}, std::forward<F>(function), std::forward<A>(arguments)...} {}

  template <class F, class... A>
  Process(ProcessOptions options, F&& function, A&&... arguments)
      : Process{std::move(options), pack(function, std::forward<A>(arguments)...).value()} {}

  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();  ///< joins a process, stops a daemon

  /// Starts it once; returns when it has reached its function. `refused` if main did not call troupe::init,
  /// if threads make forking unsound, or if it is started already; otherwise the child's own reason.
  [[nodiscard]] Result<void> start();

  /// Waits for its end. `timed_out` if it lives on, `invalid` if it was never started. May be repeated.
  [[nodiscard]] Result<ExitReport> join(Duration within = Duration::max());

  /// The ladder: SIGTERM, once more at half of stop_within, SIGKILL at its end; then waited for, with all it
  /// started.
  [[nodiscard]] Result<ExitReport> stop();

  // `down` if it has ended. By its pidfd, so that no other process is ever meant.
  Result<void> interrupt();  ///< SIGINT
  Result<void> terminate();  ///< SIGTERM
  Result<void> kill();       ///< SIGKILL
  Result<void> suspend();    ///< SIGSTOP
  Result<void> resume();     ///< SIGCONT
  Result<void> signal(int number);

  [[nodiscard]] bool alive() const;
  [[nodiscard]] int pid() const noexcept;  ///< 0 before start; for people
  [[nodiscard]] const std::string& name() const noexcept;
  [[nodiscard]] std::optional<ExitReport> exit_report() const;  ///< none while it lives
  /// A descriptor that is readable once the process has ended; owned by this object. -1 before start, and
  /// where there was none left for a process that ended at once.
  [[nodiscard]] int sentinel() const noexcept;

 protected:
  Process(ProcessOptions options, detail::PackedCall call);

 private:
  struct State;

  template <class F, class... A>
  static Result<detail::PackedCall> pack(const F& function, A&&... arguments) {
    if constexpr (detail::can_be_packed<F, A...>())
      return detail::pack_call(detail::callable(function), std::forward<A>(arguments)...);
    else
      return detail::PackedCall{};
  }

  std::unique_ptr<State> state_;
};

/// Number of processors that this process may use: its affinity mask.
[[nodiscard]] unsigned process_cpu_count();

}  // namespace troupe
