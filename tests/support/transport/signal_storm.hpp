// SPDX-License-Identifier: MIT
#pragma once

#include <sys/time.h>

#include <chrono>
#include <csignal>

namespace troupe::test {

/// While it lives, SIGALRM comes every so often, to a handler that does nothing but interrupt what is under
/// way. One at a time in a process, which has no other use for that signal.
class SignalStorm {
 public:
  explicit SignalStorm(std::chrono::microseconds every) {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // without SA_RESTART
    ::sigaction(SIGALRM, &action, &old_);
    const itimerval timer{{0, every.count()}, {0, every.count()}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
  }
  SignalStorm(const SignalStorm&) = delete;
  ~SignalStorm() {
    const itimerval none{};
    ::setitimer(ITIMER_REAL, &none, nullptr);
    ::sigaction(SIGALRM, &old_, nullptr);
  }

 private:
  struct sigaction old_ {};
};

}  // namespace troupe::test
