// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <vector>

#include "transport/forked.hpp"
#include "transport/shared_value.hpp"

// Lets one system call of a child fail, whichever of its threads makes it: also those that a library has
// made, which block all signals and come and go (failing_calls.hpp has one thread, and steps it). The kernel
// asks the test about each call of each thread (seccomp user notification).
namespace troupe::test {

/// Said by the child through shared memory, so that saying it is no system call.
class CountedCalls {
 public:
  void begin() noexcept { counts_ = true; }
  void end() noexcept { counts_ = false; }

  /// While this lives the calling thread's calls are the test's, and neither counted nor failed.
  class Excuse {
   public:
    explicit Excuse(CountedCalls& calls) noexcept;
    Excuse(const Excuse&) = delete;
    ~Excuse() { calls_.excused_ = 0; }

   private:
    CountedCalls& calls_;
  };

  [[nodiscard]] bool count(pid_t thread) const noexcept { return counts_ && thread != excused_; }

 private:
  std::atomic<bool> counts_{false};
  std::atomic<pid_t> excused_{0};
};

/// Whether that call is one that fails like this: EMFILE where a descriptor is made, EINTR where a signal
/// interrupts, ENOMEM anywhere. Never one that cannot fail, nor futex (where the C library aborts, rightly),
/// nor those that free what they are given whatever they return.
[[nodiscard]] bool can_fail_with(long number, int errnum) noexcept;

/// A forked child whose calls the test answers. Owner: the thread that made it, with which it dies.
class AnsweredChild {
 public:
  /// `body` runs in the child as Forked's does. `refused` where the kernel does not let itself be asked.
  [[nodiscard]] static Result<AnsweredChild> create(const std::function<int(CountedCalls&)>& body,
                                                    TimePoint deadline);

  struct Fault {
    int errnum = 0;
    std::size_t at = 0;  ///< of the counted calls that can fail like this, from 1; 0: none fails
  };
  struct End {
    std::optional<int> status{};  ///< as of waitpid; none: it ran on at the deadline, and was killed
    std::vector<long> calls{};    ///< counted, by number; at most calls_max
    std::optional<long> failed{};
    std::string last_words{};  ///< what it wrote to its standard error, which goes nowhere else
  };
  static constexpr std::size_t calls_max = 1'000'000;
  /// Answers until the child has ended.
  [[nodiscard]] End run(const Fault& fault, TimePoint deadline);

 private:
  struct Told {
    CountedCalls calls;
    std::atomic<int> listener{-1};  ///< a number of the child's; or -errno
  };
  AnsweredChild(std::unique_ptr<SharedValue<Told>> told, Forked child)
      : told_{std::move(told)}, child_{std::move(child)} {}
  static int begin(Told& told, OwnedFd& gate, const std::function<int(CountedCalls&)>& body);
  void answer_one(const Fault& fault, End& end);

  std::unique_ptr<SharedValue<Told>> told_;
  Forked child_;
  OwnedFd listener_{};
  std::size_t applicable_ = 0;
};

}  // namespace troupe::test
