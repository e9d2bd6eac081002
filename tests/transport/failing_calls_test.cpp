// SPDX-License-Identifier: MIT
// Every system call that the transport makes fails once, in each way; see
// tests/support/transport/failing_calls.hpp.
#include "transport/failing_calls.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <troupe/transport/owned_fd.hpp>

#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using test::CallTally;
using test::NamedCase;
using test::require;

class FailingCalls : public test::NothingLeft, public ::testing::WithParamInterface<NamedCase> {
 protected:
  void SetUp() override {
    if (!test::can_step()) GTEST_SKIP() << "a sanitizer's own calls would fail too";
  }
};

TEST_P(FailingCalls, AreEachAbsorbedOrReportedAndLeaveNothing) {
  const auto tally = test::fail_each_call(GetParam());
  tally.print(GetParam().name);
  EXPECT_GT(tally.runs, 0U);
  for (const auto& line : tally.wrong) ADD_FAILURE() << line;
}

INSTANTIATE_TEST_SUITE_P(Transport, FailingCalls, ::testing::ValuesIn(test::transport_cases()),
                         [](const auto& one) { return std::string{one.param.name}; });

// --- the tool itself: it would notice

class FailingCallsTool : public test::NothingLeft {
 protected:
  void SetUp() override {
    if (!test::can_step()) GTEST_SKIP() << "a sanitizer's own calls would fail too";
  }
  static bool has(const CallTally& tally, const std::string& what) {
    return std::any_of(tally.wrong.begin(), tally.wrong.end(),
                       [&](const auto& line) { return line.find(what) != std::string::npos; });
  }
  static Result<void> said(const char* what) { return failure(ErrorKind::exhausted, what); }
};

TEST_F(FailingCallsTool, FailsEachCallOnceInEachWay) {
  const auto tally = test::fail_each_call(test::simple_case("Two", []() -> Result<void> {
    const OwnedFd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    return null ? Result<void>{} : said("no descriptor");
  }));
  EXPECT_EQ(tally.calls, 2U) << "open and close";
  EXPECT_EQ(tally.runs, tally.calls * 9);
  EXPECT_EQ(tally.killed, 2U);
  EXPECT_EQ(tally.reported, 8U) << "open, with each error";
  EXPECT_EQ(tally.wrong.size(), 1U) << "it does not repeat what a signal interrupted";
  EXPECT_TRUE(has(tally, "EINTR"));
}

TEST_F(FailingCallsTool, NoticesALeakOnTheWayOut) {
  const auto tally = test::fail_each_call(test::simple_case("Leak", []() -> Result<void> {
    const int first = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (first == -1) return said("no descriptor");
    const int second = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (second == -1) return said("no second descriptor");
    ::close(first);
    ::close(second);
    return {};
  }));
  EXPECT_TRUE(has(tally, "left descriptor"));
}

TEST_F(FailingCallsTool, NoticesACrashAHangAndAWrongAnswer) {
  const auto opens = [](auto otherwise) {
    return test::fail_each_call(test::simple_case("Open", [otherwise]() -> Result<void> {
      const OwnedFd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
      return null ? Result<void>{} : otherwise();
    }));
  };
  EXPECT_TRUE(has(opens([]() -> Result<void> { std::abort(); }), "signal"));
  EXPECT_TRUE(has(opens([]() -> Result<void> { ::_exit(0); }), "ended"));
  EXPECT_TRUE(has(opens([]() -> Result<void> { return failure(ErrorKind::timed_out, "no"); }), "timed_out"));
  EXPECT_TRUE(has(opens([]() -> Result<void> { return failure(ErrorKind::system, "no"); }), "system"));
  EXPECT_TRUE(has(opens([]() -> Result<void> { throw std::logic_error{"other bytes"}; }), "other bytes"));
}

TEST_F(FailingCallsTool, ShortensWhatAStreamTakes) {
  const auto tally = test::fail_each_call(test::simple_case("Pipe", []() -> Result<void> {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) == -1) return said("no pipe");
    const OwnedFd read_end{ends[0]};
    const OwnedFd write_end{ends[1]};
    const auto written = ::write(write_end.get(), "four", 4);
    if (written == -1) return said("not written");
    require(written == 4, "not all of it");
    return {};
  }));
  EXPECT_TRUE(has(tally, "a short count: wrong: not all of it"));
}

TEST_F(FailingCallsTool, NoticesWhatAPeerSaysAfterADeath) {
  class Fussy : public test::FaultCase {
   public:
    [[nodiscard]] Result<void> run() override {
      const OwnedFd copy{::dup(0)};
      return copy ? Result<void>{} : said("no copy");
    }
    [[nodiscard]] std::string after_death() override { return "how sad"; }
  };
  EXPECT_TRUE(
      has(test::fail_each_call({"Fussy", [] { return std::make_unique<Fussy>(); }}), "SIGKILL: how sad"));
}

}  // namespace
}  // namespace troupe
