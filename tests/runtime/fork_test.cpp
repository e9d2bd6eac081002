// SPDX-License-Identifier: MIT
// The plain fork: a body with captures runs in a copy of this process, and never beyond.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <troupe/runtime/fork.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/gate.hpp"
#include "transport/nothing_left.hpp"
#include "transport/shared_value.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 20s;

class ForkTest : public test::NothingLeft {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "the sanitizer runs a thread of its own, so every fork is refused";
#endif
  }
};

TEST_F(ForkTest, RunsABodyWithItsCapturesAndEndsWithItsCode) {
  const std::string word = "captured";
  auto child = troupe::fork([&] { return static_cast<int>(word.size()); }).value();
  EXPECT_GT(child.pid(), 0);
  EXPECT_EQ(child.join(patience).value().status(), ExitStatus{Exited{8}});
  EXPECT_EQ(child.join(0s).value().status(), ExitStatus{Exited{8}}) << "may be repeated";
  EXPECT_FALSE(child.alive());
}

TEST_F(ForkTest, OfABodyThatReturnsNothingEndsWithZero) {
  auto child = troupe::fork([] {}, {.name = "nothing"}).value();
  const auto report = child.join(patience).value();
  EXPECT_EQ(report.status(), ExitStatus{Exited{0}});
  EXPECT_EQ(report.name, "nothing");
}

TEST_F(ForkTest, NeverGoesOnIntoTheParentsCode) {
  test::SharedValue<int> came_here;
  const pid_t parent = ::getpid();
  auto child = troupe::fork([] { return 0; }).value();
  if (::getpid() != parent) *came_here = 1;
  EXPECT_TRUE(child.join(patience));
  auto throwing = troupe::fork([]() -> int { throw std::runtime_error{"on purpose"}; }).value();
  if (::getpid() != parent) *came_here = 1;
  EXPECT_EQ(throwing.join(patience).value().status(), ExitStatus{Exited{1}});
  EXPECT_EQ(*came_here, 0);
}

TEST_F(ForkTest, IsRefusedWhileOtherThreadsRunAndNamesThem) {
  test::Gate runs;
  test::Gate may_end;
  std::thread other{[&] {
    ::pthread_setname_np(::pthread_self(), "noisy");
    runs.open();
    EXPECT_TRUE(may_end.wait());
  }};
  EXPECT_TRUE(runs.wait());
  const auto refused = troupe::fork([] { return 0; });
  may_end.open();
  other.join();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_NE(refused.error().text.find("noisy"), std::string::npos) << refused.error();
}

TEST_F(ForkTest, IsNotRefusedForAThreadThatWasJoined) {
  for (int i = 0; i < 200; ++i) {
    std::thread{[] {}}.join();
    auto child = troupe::fork([] { return 0; });
    ASSERT_TRUE(child) << child.error();
  }
}

TEST_F(ForkTest, IsJoinedOrTimesOutAndIsStoppedUpTheLadder) {
  auto child = troupe::fork(
                   [] {
                     std::signal(SIGTERM, SIG_IGN);
                     for (;;) ::pause();
                   },
                   {.stop_within = 50ms})
                   .value();
  EXPECT_EQ(child.join(10ms).error().kind, ErrorKind::timed_out);
  EXPECT_TRUE(child.alive());
  const auto report = child.stop().value();
  EXPECT_EQ(report.reason.cause, ExitCause::shutdown);
  EXPECT_TRUE(std::holds_alternative<Signaled>(report.status()));
}

TEST_F(ForkTest, ADaemonIsStoppedByItsDestructorAndAnotherIsJoined) {
  {
    auto daemon = troupe::fork(
                      [] {
                        for (;;) ::pause();
                      },
                      {.daemon = true})
                      .value();
  }
  test::SharedValue<int> done;
  {
    auto child = troupe::fork([&] { *done = 1; }).value();
  }
  EXPECT_EQ(*done, 1);
}

TEST_F(ForkTest, ItsSentinelIsReadableOnceItHasEndedAndASignalIsDownThen) {
  auto child = troupe::fork([] {
                 for (;;) ::pause();
               }).value();
  EXPECT_FALSE(detail::wait_readable(child.sentinel(), Clock::now()));
  child.signal(SIGKILL).value();
  EXPECT_TRUE(detail::wait_readable(child.sentinel(), deadline_in(patience)));
  EXPECT_EQ(child.signal(SIGTERM).error().kind, ErrorKind::down);
  EXPECT_EQ(child.join(patience).value().status(), ExitStatus{Signaled{SIGKILL}});
}

TEST_F(ForkTest, WorksInAProgramThatIgnoresTheEndsOfItsChildren) {
  std::signal(SIGCHLD, SIG_IGN);
  auto child = troupe::fork([] { return 3; }).value();
  EXPECT_EQ(child.join(patience).value().status(), ExitStatus{Lost{}})
      << "the kernel has thrown its code away";
  std::signal(SIGCHLD, SIG_DFL);
}

TEST_F(ForkTest, WritesWhatWasBufferedOnce) {
  std::array<int, 2> ends{-1, -1};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const OwnedFd out{ends[0]};
  FILE* const file = ::fdopen(ends[1], "w");
  std::fputs("parent ", file);
  auto child = troupe::fork([&] { std::fputs("child", file); }).value();
  EXPECT_TRUE(child.join(patience));
  std::fclose(file);
  std::string all(100, '\0');
  all.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(out.get(), all.data(), all.size()))));
  EXPECT_EQ(all, "parent child");
}

TEST_F(ForkTest, ItsChildMayForkInTurn) {
  auto child = troupe::fork([] {
                 auto grandchild = troupe::fork([] { return 5; }).value();
                 const auto report = grandchild.join(patience).value();
                 return std::get<Exited>(report.status()).code + 1;
               }).value();
  EXPECT_EQ(child.join(patience).value().status(), ExitStatus{Exited{6}});
}

TEST_F(ForkTest, ItsParentsOtherForksAreRefusedInIt) {
  auto first = troupe::fork(
                   [] {
                     for (;;) ::pause();
                   },
                   {.daemon = true})
                   .value();
  auto second =
      troupe::fork([&] { return first.join(0s).error().kind == ErrorKind::refused ? 0 : 1; }).value();
  EXPECT_EQ(second.join(patience).value().status(), ExitStatus{Exited{0}});
  EXPECT_TRUE(first.alive());
}

}  // namespace
}  // namespace troupe
