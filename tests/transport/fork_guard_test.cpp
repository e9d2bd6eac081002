// SPDX-License-Identifier: MIT
#include <troupe/transport/fork_guard.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;
using test::Forked;

constexpr Duration patience = 20s;

/// Two ends, one of them held by this process: its death, or its closing, is what the peer is to see.
struct Ends {
  Ends() {
    std::array<int, 2> both{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, both.data()) == -1)
      throw Failure{system_error("socketpair", errno)};
    own.reset(both[0]);
    peer.reset(both[1]);
    held = HeldByThisProcess{own.get()};
  }
  void close() {
    held = HeldByThisProcess{};
    own.reset();
  }
  [[nodiscard]] bool peer_sees_end(TimePoint deadline) const {
    pollfd one{peer.get(), 0, 0};
    return ::poll(&one, 1, poll_timeout(deadline)) == 1 && (one.revents & POLLHUP) != 0;
  }

  OwnedFd own;
  OwnedFd peer;
  HeldByThisProcess held;
};

/// A child that says when it runs, and then lives on with all the descriptors that it was left.
struct Lingering {
  explicit Lingering(const std::function<void()>& first = [] {}) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) == -1) throw Failure{system_error("pipe2", errno)};
    const OwnedFd read_end{pipe[0]};
    const OwnedFd write_end{pipe[1]};
    child.emplace([&] {
      first();
      return ::write(write_end.get(), "x", 1) == 1 ? test::wait_to_be_killed() : 1;
    });
    if (!wait_readable(read_end.get(), deadline_in(patience)))
      throw Failure{{ErrorKind::timed_out, 0, "child"}};
  }
  std::optional<Forked> child;
};

bool is_same_file(int left, int right) {
  std::array<char, 64> first{};
  std::array<char, 64> second{};
  const auto read = [](int fd, std::array<char, 64>& into) {
    return ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), into.data(), into.size());
  };
  return read(left, first) > 0 && read(right, second) > 0 && first == second;
}

class ForkGuardTest : public test::NothingLeft {};

TEST_F(ForkGuardTest, LetsTheProcessThatMadeItPass) {
  const ForkGuard guard;
  EXPECT_FALSE(guard.forked());
  EXPECT_TRUE(guard.check("lane"));
}

TEST_F(ForkGuardTest, RefusesAForkedChildAndItsChildren) {
  const ForkGuard guard;
  const auto refused = [&guard] {
    const auto result = guard.check("lane");
    return guard.forked() && !result && result.error().kind == ErrorKind::refused &&
           result.error().text.starts_with("lane: ");
  };
  Forked child{[&] {
    Forked grandchild{[&] { return refused() ? 0 : 1; }};
    return refused() && grandchild.exit_code(deadline_in(patience)) == 0 ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  EXPECT_FALSE(guard.forked()) << "the parent is still who it was";
}

TEST_F(ForkGuardTest, LetsAChildHaveOwnOnes) {
  Forked child{[] { return ForkGuard{}.check("lane") ? 0 : 1; }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

TEST_F(ForkGuardTest, ACopyIsBornWhereTheOriginalWas) {
  const ForkGuard guard;
  Forked child{[&] {
    const ForkGuard copy{guard};
    return copy.forked() ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

using HeldByThisProcessTest = ForkGuardTest;

TEST_F(HeldByThisProcessTest, APeerSeesTheEndAlthoughAForkedChildLivesOn) {
  Ends ends;
  const Lingering child;
  EXPECT_FALSE(ends.peer_sees_end(Clock::now()));
  ends.close();
  EXPECT_TRUE(ends.peer_sees_end(deadline_in(patience)));
}

TEST_F(HeldByThisProcessTest, WithoutItAForkedChildHidesTheEnd) {
  Ends ends;
  ends.held = HeldByThisProcess{};
  const Lingering child;
  ends.close();
  EXPECT_FALSE(ends.peer_sees_end(deadline_in(20ms))) << "the test above would show nothing";
}

TEST_F(HeldByThisProcessTest, HoldsOnWhereItWasMovedTo) {
  Ends ends;
  std::optional<HeldByThisProcess> from{std::move(ends.held)};
  HeldByThisProcess constructed{std::move(*from)};
  from.reset();
  HeldByThisProcess assigned;
  assigned = std::move(constructed);
  const Lingering child;
  ends.own.reset();
  EXPECT_TRUE(ends.peer_sees_end(deadline_in(patience)));
}

TEST_F(HeldByThisProcessTest, ForgetsAtOnceWhatIsAssignedOver) {
  Ends first;
  Ends second;
  HeldByThisProcess source{std::move(second.held)};
  first.held = std::move(source);
  const Lingering child;
  first.own.reset();
  EXPECT_FALSE(first.peer_sees_end(deadline_in(20ms))) << "no longer held, so the child's copy counts";
  second.own.reset();
  EXPECT_TRUE(second.peer_sees_end(deadline_in(patience)));
}

TEST_F(HeldByThisProcessTest, HoldsManyAtATime) {
  std::vector<Ends> all(20);
  const Lingering child;
  for (auto& ends : all) ends.close();
  for (const auto& ends : all) EXPECT_TRUE(ends.peer_sees_end(deadline_in(patience)));
}

TEST_F(HeldByThisProcessTest, LeavesTheNumberTakenInTheChildSoThatNothingIsClosedTwice) {
  std::optional<Ends> ends{std::in_place};
  const int number = ends->own.get();
  Forked child{[&] {
    if (::fcntl(number, F_GETFD) != FD_CLOEXEC) return 1;  // taken, and by nothing that an exec would inherit
    if (::write(number, "x", 1) != -1) return 2;           // not by the socket
    const OwnedFd other{::dup(STDERR_FILENO)};
    if (other.get() == number) return 3;
    ends.reset();  // closes its copies, and nothing else
    return is_same_file(other.get(), STDERR_FILENO) ? 0 : 4;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

TEST_F(HeldByThisProcessTest, DoesSoToTheLastDescriptor) {
  std::optional<Ends> ends{std::in_place};
  const int number = ends->own.get();
  Forked child{[&] {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    limit.rlim_cur = 64;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 2;
    while (::dup(STDERR_FILENO) != -1) {}
    Forked grandchild{[&] {
      if (::fcntl(number, F_GETFD) != FD_CLOEXEC) return 1;
      return ::write(number, "x", 1) == -1 ? 0 : 2;
    }};
    int status = 0;  // there is no room for a pidfd
    return ::waitpid(grandchild.pid(), &status, 0) == grandchild.pid() ? WEXITSTATUS(status) : 3;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

TEST_F(HeldByThisProcessTest, AChildHoldsItsOwn) {
  Forked child{[] {
    Ends ends;
    const Lingering grandchild;
    ends.close();
    return ends.peer_sees_end(deadline_in(patience)) ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

}  // namespace
}  // namespace troupe::detail
