// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <troupe/runtime/exit_report.hpp>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/result.hpp>
#include <type_traits>

namespace troupe {

namespace detail {
class RunningProgram;
}

struct ForkOptions {
  std::string name{};                              ///< in reports; empty: "fork"
  bool daemon = false;                             ///< stopped, not joined, by ~ForkedProcess
  Duration stop_within = std::chrono::seconds{5};  ///< from SIGTERM to SIGKILL
};

/// A child that fork() made: a copy of this process, which it ends with.
///
/// Threads: any may ask, signal and join. In the child, and in any other fork's, it is a copy without a
/// meaning: `refused`. Invariant: reaped once, here.
class ForkedProcess {
 public:
  explicit ForkedProcess(std::unique_ptr<detail::RunningProgram> child, const ForkOptions& options) noexcept;
  ForkedProcess(ForkedProcess&&) noexcept;
  ForkedProcess& operator=(ForkedProcess&&) noexcept;
  ~ForkedProcess();  ///< joins it, stops a daemon

  /// `timed_out` if it lives on. May be repeated.
  [[nodiscard]] Result<ExitReport> join(Duration within = Duration::max());
  /// SIGTERM, SIGKILL at the end of stop_within.
  [[nodiscard]] Result<ExitReport> stop();
  Result<void> signal(int number);  ///< `down` if it has ended

  [[nodiscard]] bool alive() const;
  [[nodiscard]] std::optional<ExitReport> exit_report() const;  ///< none while it lives
  [[nodiscard]] int sentinel() const noexcept;  ///< its pidfd, readable once it has ended; owned by this
  [[nodiscard]] int pid() const noexcept;       ///< for people

 private:
  std::unique_ptr<detail::RunningProgram> child_;
  bool daemon_ = false;
  Duration stop_within_{};
};

namespace detail {
[[nodiscard]] Result<ForkedProcess> fork_and_run(const std::function<int()>& body,
                                                 const ForkOptions& options);
}

/// The plain thing: a child that is a copy of this process runs `body`, captures and all, and ends: with the
/// code that it returns, with 0 if it returns nothing, with 1 and a line on standard error if it throws. It
/// never goes on into what comes behind this call, runs no destructor of the parent's and writes nothing of
/// what the parent has buffered twice.
///
/// `refused` while other threads run, and names them: the child would hold their locks for ever. What of
/// Troupe the parent has open (Process, Ref, ends of queues and pipes) is `refused` in the child, which may
/// open its own. The child is killed when this thread, the only one, ends. It costs what the parent's page
/// tables cost: for many children, or a large parent, try Process.
template <std::invocable F>
[[nodiscard]] Result<ForkedProcess> fork(F body, const ForkOptions& options = {}) {
  using R = std::invoke_result_t<F&>;
  static_assert(std::is_void_v<R> || std::is_convertible_v<R, int>,
                "troupe: the body of a fork returns its exit code, or nothing");
  return detail::fork_and_run(
      [&]() -> int {
        if constexpr (std::is_void_v<R>)
          return body(), 0;
        else
          return body();
      },
      options);
}

}  // namespace troupe
