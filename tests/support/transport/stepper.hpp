// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/result.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

// Stops a process between any two of its instructions: to look at what it has written so far, or to kill it
// there.
//
// Snapshot form: the test maps the child's shared files for reading and looks at them, at every instruction
// boundary.
//
//   auto child = SteppedChild::create([&] { prepare(); mark(); send(); mark(); }, deadline_in(10s)).value();
//   do look(); while (child.step().value() == SteppedChild::Stop::instruction);
//
// Kill form: one run is recorded, then one child after the other dies at each boundary of it, and a fresh
// peer goes on with what is left.
//
//   const auto trace = record(body, deadline_in(10s)).value();
//   for (std::size_t at = 0; at < trace.size(); ++at) {
//     auto child = SteppedChild::create(body, deadline_in(10s)).value();
//     child.advance(trace, at).value();
//     child.kill();
//     recover();
//   }
//
// Call the body once in the test itself before: it resolves the functions of shared libraries, whose look-up
// would otherwise be stepped in every child. mark() does nothing outside a stepped child.
namespace troupe::test {

/// Called by the child: the first call begins what is stepped, the second ends it.
void mark() noexcept;

/// Whether this build is fit for stepping: a sanitizer's own instructions are not worth it.
[[nodiscard]] bool can_step() noexcept;

/// Where one run was, boundary by boundary.
class Trace {
 public:
  void add(std::uintptr_t counter);
  [[nodiscard]] std::size_t size() const noexcept { return points_.size(); }
  [[nodiscard]] std::uintptr_t counter(std::size_t at) const { return points_[at].counter; }

  /// How to come to a boundary: let a breakpoint at `counter(from)` be hit `hits` times, then step. 0 hits:
  /// step all the way.
  struct Way {
    std::size_t from = 0;
    std::size_t hits = 0;
  };
  [[nodiscard]] Way way_to(std::size_t at) const { return points_[at].way; }
  void forget_breakpoints();

 private:
  struct Point {
    std::uintptr_t counter;  ///< program counter
    Way way;
    std::size_t cost;  ///< of that way, in steps
  };
  std::vector<Point> points_{};
  std::unordered_map<std::uintptr_t, std::size_t> visits_{};
};

/// A forked child under ptrace, stopped whenever the test has control.
///
/// Owner: the thread that made it; the kernel accepts no other. The child carries an alarm, so every wait
/// ends at the deadline (`timed_out`); it dies with its owner, and with this object.
class SteppedChild {
 public:
  /// Forks; the child runs `body` up to its first mark, and ends when `body` returns. `malformed` if there is
  /// no mark.
  [[nodiscard]] static Result<SteppedChild> create(const std::function<void()>& body, TimePoint deadline);

  SteppedChild(SteppedChild&& other) noexcept : pid_{std::exchange(other.pid_, 0)} {}
  SteppedChild& operator=(SteppedChild&& other) noexcept {
    kill();
    pid_ = std::exchange(other.pid_, 0);
    return *this;
  }
  ~SteppedChild() { kill(); }

  enum class Stop { instruction, call, mark, ended };
  /// Executes one instruction (one round of a repeated string instruction).
  [[nodiscard]] Result<Stop> step();
  /// Runs freely to the next mark or the end.
  [[nodiscard]] Result<Stop> run();
  /// Runs to where it enters or leaves a system call (`call`), to the next mark or the end.
  [[nodiscard]] Result<Stop> run_to_call();
  /// Where `run_to_call` has stopped.
  struct Call {
    bool entered = false;  ///< else left, and `number` and `arguments` are those of no call
    long number = -1;
    std::array<std::uint64_t, 6> arguments{};
  };
  [[nodiscard]] Result<Call> call() const;
  /// On entry: the kernel does not carry it out.
  void skip_call();
  /// On leaving: what the child is told. -errno is a failure.
  void set_result(long value);
  /// On entry: another third argument, which of read and write is the number of bytes.
  void set_third_argument(std::uint64_t value);
  /// Goes to boundary `at` of a recorded run, fast where the trace allows it. `refused` if this run went
  /// another way.
  [[nodiscard]] Result<void> advance(const Trace& trace, std::size_t at);
  [[nodiscard]] std::uintptr_t program_counter() const;

  /// Lets go of it, stopped by SIGSTOP as anybody's process: SIGCONT lets it go on. Returns its pid; whoever
  /// calls this has to reap it.
  [[nodiscard]] pid_t leave_stopped() noexcept;

  /// SIGKILL, and reaps it. What it had stored by now is all that it will ever have stored.
  void kill() noexcept;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  explicit SteppedChild(pid_t pid) noexcept : pid_{pid} {}
  [[nodiscard]] Result<Stop> wait();
  [[nodiscard]] Result<Stop> resume(int request);
  [[nodiscard]] Result<void> run_to(std::uintptr_t address, std::size_t hits);
  pid_t pid_ = 0;
};

/// Steps a child from its first mark to its second and writes down where it was.
[[nodiscard]] Result<Trace> record(const std::function<void()>& body, TimePoint deadline);

/// `TROUPE_STEP_STRIDE`: every n-th boundary is killed at; 1 is all of them.
[[nodiscard]] std::size_t step_stride(std::size_t otherwise);

}  // namespace troupe::test
