// SPDX-License-Identifier: MIT
#include <troupe/transport/liveness.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <optional>
#include <string>
#include <thread>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Forked;

constexpr Duration patience = 20s;

/// A child and what it says of itself.
struct Marked {
  Marked() : child{start()} { read_end.reset(); }

  OwnedFd read_end;
  ProcessMark mark{};
  Forked child;

 private:
  Forked start() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) == -1) throw Failure{detail::system_error("pipe2", errno)};
    read_end.reset(ends[0]);
    const OwnedFd write_end{ends[1]};
    Forked forked{[&] {
      const ProcessMark own = own_mark().value();
      return ::write(write_end.get(), &own, sizeof own) == sizeof own ? test::wait_to_be_killed() : 1;
    }};
    if (::read(read_end.get(), &mark, sizeof mark) != sizeof mark)
      throw Failure{{ErrorKind::down, 0, "no mark"}};
    return forked;
  }
};

/// True if this process may choose the number of the next one.
bool choose_next(pid_t wanted) {
  const OwnedFd file{::open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC)};
  const auto last = std::to_string(wanted - 1);
  return file && ::write(file.get(), last.data(), last.size()) != -1;
}

/// A process with a dead one's number and another start; none if numbers cannot be chosen here.
std::optional<Marked> successor_of(const ProcessMark& dead) {
  for (const TimePoint end = deadline_in(patience); Clock::now() < end;) {
    if (!choose_next(dead.pid)) return std::nullopt;
    std::optional<Marked> found{std::in_place};
    // Somebody else may be faster, and within one tick of the clock of starts the two are not told apart.
    if (found->mark.pid == dead.pid && found->mark != dead) return found;
  }
  throw Failure{{ErrorKind::timed_out, 0, "the number was not to be had"}};
}

bool is_down(const Result<OwnedFd>& watched) { return !watched && watched.error().kind == ErrorKind::down; }

class Liveness : public test::NothingLeft {};

TEST_F(Liveness, AMarkIsTheProcessesOwn) {
  const auto mark = own_mark().value();
  EXPECT_EQ(mark.pid, ::getpid());
  EXPECT_GT(mark.started, 0U);
  EXPECT_EQ(own_mark().value(), mark);
}

TEST_F(Liveness, AThreadHasItsProcessesMark) {
  const auto mark = own_mark().value();
  ProcessMark of_thread;
  std::thread{[&] { of_thread = own_mark().value(); }}.join();
  EXPECT_EQ(of_thread, mark);
}

TEST_F(Liveness, AForkedChildHasAMarkOfItsOwn) {
  const Marked marked;
  EXPECT_EQ(marked.mark.pid, marked.child.pid());
  EXPECT_NE(marked.mark, own_mark().value());
}

TEST_F(Liveness, IsReadableOnceTheProcessHasEnded) {
  Marked marked;
  const auto watched = watch_process(marked.mark).value();
  EXPECT_FALSE(detail::wait_readable(watched.get(), Clock::now()));
  EXPECT_EQ(::fcntl(watched.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  ::kill(marked.child.pid(), SIGKILL);
  EXPECT_TRUE(detail::wait_readable(watched.get(), deadline_in(patience)));
}

TEST_F(Liveness, IsReadableAtOnceOrDownForAZombie) {
  const Marked marked;
  ::kill(marked.child.pid(), SIGKILL);
  ASSERT_TRUE(detail::wait_readable(marked.child.descriptor(), deadline_in(patience)));
  const auto watched = watch_process(marked.mark);
  EXPECT_TRUE(is_down(watched) || detail::wait_readable(watched->get(), Clock::now()));
}

TEST_F(Liveness, IsDownForAProcessThatIsGone) {
  Marked marked;
  marked.child.kill();
  EXPECT_TRUE(is_down(watch_process(marked.mark)));
}

TEST_F(Liveness, IsDownForNobody) {
  EXPECT_TRUE(is_down(watch_process({})));
  EXPECT_TRUE(is_down(watch_process({-1, 5})));
  EXPECT_TRUE(is_down(watch_process({INT32_MAX, 5})));
}

TEST_F(Liveness, IsDownForANumberThatAnotherProcessHasByNow) {
  auto mark = own_mark().value();
  --mark.started;
  EXPECT_TRUE(is_down(watch_process(mark)));
}

TEST_F(Liveness, IsDownForANumberThatWasReallyGivenAgain) {
  Marked marked;
  marked.child.kill();
  const auto stranger = successor_of(marked.mark);
  if (!stranger) GTEST_SKIP() << "this user may not choose the next process's number";
  EXPECT_TRUE(is_down(watch_process(marked.mark)));
}

TEST_F(Liveness, IsDownForANumberThatIsAThreadsByNow) {
  std::atomic<int> id{0};
  std::atomic<bool> done{false};
  std::thread thread{[&] {
    id = static_cast<int>(::syscall(SYS_gettid));
    id.notify_one();
    done.wait(false);
  }};
  id.wait(0);
  EXPECT_TRUE(is_down(watch_process({id, own_mark().value().started})));
  done = true;
  done.notify_one();
  thread.join();
}

TEST_F(Liveness, DoesNotTakeALackOfDescriptorsForADeath) {
  const Marked marked;
  Forked child{[&] {
    const int first_free = ::dup(0);
    ::close(first_free);
    for (int more = 0; more < 2; ++more) {  // room for none, then for the pidfd alone
      const rlimit limit{static_cast<rlim_t>(first_free + more), 100};
      if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
      const auto watched = watch_process(marked.mark);
      if (watched || watched.error().kind != ErrorKind::exhausted) return 2 + more;
    }
    const rlimit limit{static_cast<rlim_t>(first_free + 2), 100};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    return watch_process(marked.mark) ? 0 : 4;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

TEST_F(Liveness, HasNoMarkWithoutADescriptor) {
  Forked child{[] {
    const rlimit limit{3, 3};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    const auto mark = own_mark();
    return !mark && mark.error().kind == ErrorKind::exhausted ? 0 : 2;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

}  // namespace
}  // namespace troupe
