// SPDX-License-Identifier: MIT
// The limits of a process sink to nothing while the transport works; see tests/support/transport/limits.hpp.
#include "transport/limits.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/socket_channel.hpp>
#include <vector>

#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Limit;
using test::NamedCase;

class Limits : public test::NothingLeft, public ::testing::WithParamInterface<NamedCase> {};

TEST_P(Limits, OfDescriptorsAreReported) {
  // It looks through a pipe of its own at what a pointer points to, and takes a missing one for a fault of
  // ours.
  if (!test::can_step()) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  test::expect_sound(GetParam(), Limit::descriptors);
}

TEST_P(Limits, OfAFilesSizeAreReportedAndKillNobody) { test::expect_sound(GetParam(), Limit::file_size); }

TEST_P(Limits, OfTheAddressSpaceAreReported) {
  if (!test::can_step()) GTEST_SKIP() << "a sanitizer reserves all addresses for itself";
  test::expect_sound(GetParam(), Limit::address_space);
}

INSTANTIATE_TEST_SUITE_P(Transport, Limits, ::testing::ValuesIn(test::transport_cases()),
                         [](const auto& one) { return std::string{one.param.name}; });

// --- the tool itself: it would notice

class LimitsTool : public test::NothingLeft {
 protected:
  static bool has(const test::LimitTally& tally, const std::string& what) {
    return std::any_of(tally.wrong.begin(), tally.wrong.end(),
                       [&](const auto& line) { return line.find(what) != std::string::npos; });
  }
};

TEST_F(LimitsTool, NoticesWhatSaysSomethingElse) {
  const auto tally =
      test::sweep(test::simple_case("Open",
                                    []() -> Result<void> {
                                      const OwnedFd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
                                      return null ? Result<void>{} : failure(ErrorKind::down, "alas");
                                    }),
                  Limit::descriptors);
  EXPECT_GT(tally.fine, 0U);
  EXPECT_GT(tally.reported, 0U);
  EXPECT_EQ(tally.wrong.size(), tally.reported);
  EXPECT_TRUE(has(tally, "alas"));
}

TEST_F(LimitsTool, NoticesALeakAndADeath) {
  const auto leaks = test::simple_case("Leak", []() -> Result<void> {
    const int first = ::dup(0);
    const OwnedFd second{::dup(0)};
    if (!second) return failure(ErrorKind::exhausted, "no descriptor");
    ::close(first);
    return {};
  });
  EXPECT_TRUE(has(test::sweep(leaks, Limit::descriptors), "left descriptor"));
  const auto dies = test::simple_case("Die", []() -> Result<void> {
    const auto file = create_memory("test", 10).value();
    return ::ftruncate(file.get(), 40'000) == 0 ? Result<void>{} : failure(ErrorKind::exhausted, "too long");
  });
  EXPECT_TRUE(has(test::sweep(dies, Limit::file_size), "killed by File size limit exceeded"));
}

// --- limits of a user, which bind only those without privileges

constexpr int skipped = 77;

bool becomes_a_nobody() {
  constexpr uid_t somebody_without_processes = 54'321;
  return ::getuid() != 0 ||
         ::setresuid(somebody_without_processes, somebody_without_processes, somebody_without_processes) == 0;
}

TEST_F(LimitsTool, DescriptorsOnTheirWayAreLimitedToo) {
  test::Forked child{[] {
    if (!becomes_a_nobody()) return 1;
    const rlimit limit{64, 64};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 2;
    const auto [left, right] = SocketChannel::create_pair().value();
    const std::vector<int> many(16, 0);
    const std::byte one{1};
    std::size_t sent = 0;
    Result<void> result;
    while ((result = left.send(std::span{&one, 1}, many, TimePoint{}))) ++sent;
    if (sent == 0) return 3;
    if (result.error().kind != ErrorKind::exhausted) return 4;
    std::byte room{};
    while (right.receive(std::span{&room, 1}, TimePoint{})) --sent;
    return sent == 0 && left.send(std::span{&one, 1}, many, TimePoint{}) ? 0 : 5;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(20s)), 0);
}

/// A user's pipes may have so many pages together; beyond them new ones get one or two, or none.
TEST_F(LimitsTool, PipesThatHaveBecomeSmallCarryAllThatTheyShould) {
  test::Forked child{[] {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4096);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0 || !becomes_a_nobody()) return 1;
    const int page = static_cast<int>(::sysconf(_SC_PAGESIZE));
    std::array<int, 2> ends{};
    do {
      if (::pipe2(ends.data(), O_CLOEXEC) != 0) return skipped;
    } while (::fcntl(ends[1], F_GETPIPE_SZ) > 2 * page);
    for (const auto& one : test::channel_fault_cases()) {
      const auto outcome = outcome_of(*one.make());
      if (outcome.kind == test::Outcome::Kind::ok) continue;
      std::fprintf(stderr, "%s: %s\n", one.name, outcome.to_string().c_str());
      return 2;
    }
    return 0;
  }};
  const int code = child.exit_code(deadline_in(60s));
  if (code == skipped) GTEST_SKIP() << "there are not descriptors enough to use up a user's pipes";
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace troupe
