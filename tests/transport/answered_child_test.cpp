// SPDX-License-Identifier: MIT
// The tool itself: see tests/support/transport/answered_child.hpp.
#include "transport/answered_child.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

constexpr Duration hang = 30s;

/// 0, or the errno with which it fails.
int open_something() {
  const OwnedFd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  return null ? 0 : errno;
}

class AnsweredChildTest : public NothingLeft {
 protected:
  void SetUp() override {
    if (!can_step()) GTEST_SKIP() << "a sanitizer's own calls would fail too";
    const auto child = AnsweredChild::create([](CountedCalls&) { return 0; }, deadline_in(hang));
    if (!child) GTEST_SKIP() << "the kernel does not let a test answer system calls: " << child.error().text;
  }
  static AnsweredChild::End end_of(const std::function<int(CountedCalls&)>& body,
                                   const AnsweredChild::Fault& fault, Duration within = hang) {
    return AnsweredChild::create(body, deadline_in(hang)).value().run(fault, deadline_in(within));
  }
};

TEST_F(AnsweredChildTest, LetsTheCallOfAThreadFailThatBlocksAllSignals) {
  const auto body = [](CountedCalls& calls) {
    calls.begin();
    int seen = -1;
    std::thread{[&] {
      sigset_t all;
      ::sigfillset(&all);
      ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
      seen = open_something();
    }}.join();
    calls.end();
    return seen;
  };
  EXPECT_EQ(WEXITSTATUS(end_of(body, {}).status.value()), 0);
  const auto end = end_of(body, {.errnum = EMFILE, .at = 1});
  EXPECT_EQ(WEXITSTATUS(end.status.value()), EMFILE);
  EXPECT_EQ(end.failed, SYS_openat);
}

TEST_F(AnsweredChildTest, LeavesAloneWhatIsNotCountedAndWhatIsExcused) {
  const auto body = [](CountedCalls& calls) {
    if (open_something() != 0) return 1;
    calls.begin();
    {
      const CountedCalls::Excuse excuse{calls};
      if (open_something() != 0) return 2;
    }
    const int seen = open_something();
    calls.end();
    return open_something() != 0 ? 3 : seen;
  };
  const auto end = end_of(body, {.errnum = ENFILE, .at = 1});
  EXPECT_EQ(WEXITSTATUS(end.status.value()), ENFILE);
  EXPECT_EQ(end.calls.size(), 1U);
}

TEST_F(AnsweredChildTest, HearsTheLastWords) {
  const auto end = end_of(
      [](CountedCalls&) -> int {
        std::fputs("alas", stderr);
        std::abort();
      },
      {});
  EXPECT_EQ(WTERMSIG(end.status.value()), SIGABRT);
  EXPECT_EQ(end.last_words, "alas");
}

TEST_F(AnsweredChildTest, EndsWhatRunsOnAtTheDeadline) {
  const auto end = end_of([](CountedCalls&) { return ::poll(nullptr, 0, -1); }, {}, 50ms);
  EXPECT_FALSE(end.status);
}

}  // namespace
}  // namespace troupe::test
