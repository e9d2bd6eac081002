// SPDX-License-Identifier: MIT
#include <troupe/transport/select.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"
#include "transport/signal_storm.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Forked;
using test::SignalStorm;
using Places = std::vector<std::size_t>;

constexpr Duration patience = 20s;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == -1)
      throw Failure{detail::system_error("pipe2", errno)};
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
  }
  void write() const { ASSERT_EQ(::write(write_end.get(), "x", 1), 1); }
  [[nodiscard]] Waitable waitable() const { return {read_end.get(), {}}; }

  OwnedFd read_end;
  OwnedFd write_end;
};

/// As something in shared memory would be: a word, and a bell that is rung for those who said they sleep.
struct Announced {
  OwnedFd bell = create_bell().value();
  bool something = false;
  int armed = 0;

  [[nodiscard]] Waitable waitable() {
    return {bell.get(), [this] {
              ++armed;
              std::uint64_t count = 0;
              [[maybe_unused]] const auto taken = ::read(bell.get(), &count, sizeof count);
              return something;
            }};
  }
};

Duration processor_time() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
}

class Select : public test::NothingLeft {};

TEST_F(Select, TellsThePlacesOfAllThatIsReadyLowestFirst) {
  const Pipe first;
  const Pipe second;
  const Pipe third;
  third.write();
  EXPECT_EQ(select({first.waitable(), second.waitable(), third.waitable()}, patience).value(), Places{2});
  first.write();
  EXPECT_EQ(select({first.waitable(), second.waitable(), third.waitable()}, patience).value(),
            (Places{0, 2}));
}

TEST_F(Select, TakesAnEndForReady) {
  Pipe pipe;
  pipe.write_end.reset();
  EXPECT_EQ(select({pipe.waitable()}, patience).value(), Places{0});
}

TEST_F(Select, WakesWhenSomethingComesMeanwhile) {
  const Pipe quiet;
  const Pipe pipe;
  const Pipe go;
  Forked writer{[&] {
    if (!detail::wait_readable(go.read_end.get(), deadline_in(patience))) return 1;
    return ::write(pipe.write_end.get(), "x", 1) == 1 ? 0 : 2;
  }};
  EXPECT_FALSE(select({pipe.waitable()}, Duration::zero()));
  go.write();
  EXPECT_EQ(select({quiet.waitable(), pipe.waitable()}, patience).value(), Places{1});
  EXPECT_EQ(writer.exit_code(deadline_in(patience)), 0);
}

TEST_F(Select, SeesAProcessEnd) {
  const Pipe quiet;
  const Pipe go;
  Forked child{[&] { return detail::wait_readable(go.read_end.get(), deadline_in(patience)) ? 0 : 1; }};
  const Waitable end{child.descriptor(), {}};
  EXPECT_EQ(select({quiet.waitable(), end}, Duration::zero()).error().kind, ErrorKind::timed_out);
  go.write();
  EXPECT_EQ(select({quiet.waitable(), end}, patience).value(), Places{1});
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

TEST_F(Select, TimesOutNeverBeforeTheDeadlineAndWithoutUsingTheProcessor) {
  const Pipe quiet;
  Announced announced;
  const auto begin = Clock::now();
  const auto used = processor_time();
  const auto result = select({quiet.waitable(), announced.waitable()}, 50'500us);
  EXPECT_GE(Clock::now() - begin, 50'500us);
  EXPECT_LT(processor_time() - used, 25ms) << "it looked again and again";
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timed_out);
}

TEST_F(Select, LooksOnceWithoutTime) {
  const Pipe pipe;
  EXPECT_EQ(select({pipe.waitable()}, Duration::zero()).error().kind, ErrorKind::timed_out);
  EXPECT_EQ(select({pipe.waitable()}, -1h).error().kind, ErrorKind::timed_out);
  pipe.write();
  EXPECT_EQ(select({pipe.waitable()}, Duration::zero()).value(), Places{0});
  EXPECT_EQ(select({pipe.waitable()}, Duration::max()).value(), Places{0});
}

TEST_F(Select, IsNeitherShortenedNorLengthenedBySignals) {
  const Pipe quiet;
  const SignalStorm storm{200us};
  const auto begin = Clock::now();
  EXPECT_EQ(select({quiet.waitable()}, 60ms).error().kind, ErrorKind::timed_out);
  EXPECT_GE(Clock::now() - begin, 60ms);
  EXPECT_LT(Clock::now() - begin, patience);
}

TEST_F(Select, ArmsBeforeItSleepsAndReportsWhatWasThereAlready) {
  const Pipe quiet;
  Announced announced;
  announced.something = true;
  EXPECT_EQ(select({quiet.waitable(), announced.waitable()}, patience).value(), Places{1});
  EXPECT_GE(announced.armed, 1);
}

TEST_F(Select, ReportsPlainOnesBesideAnArmedOneThatWasReadyAtOnce) {
  const Pipe pipe;
  Announced announced;
  announced.something = true;
  pipe.write();
  EXPECT_EQ(select({pipe.waitable(), announced.waitable(), pipe.waitable()}, patience).value(),
            (Places{0, 1, 2}));
}

TEST_F(Select, SleepsOnWhenABellRangForNothing) {
  Announced announced;
  Waitable waitable = announced.waitable();
  waitable.arm = [&announced, arm = waitable.arm] {
    const bool was_there = arm();
    if (announced.armed == 1) ring(announced.bell.get());
    return was_there;
  };
  const auto begin = Clock::now();
  EXPECT_EQ(select({waitable}, 30ms).error().kind, ErrorKind::timed_out);
  EXPECT_GE(Clock::now() - begin, 30ms);
  EXPECT_GE(announced.armed, 2) << "it has to be armed anew after each wake-up";
}

TEST_F(Select, WakesForAnArmedOneWhoseBellRings) {
  Announced announced;
  Waitable waitable = announced.waitable();
  // What comes between arming and sleeping has rung the bell: the very case that arming is for.
  waitable.arm = [&announced, arm = waitable.arm] {
    const bool was_there = arm();
    if (!std::exchange(announced.something, true)) ring(announced.bell.get());
    return was_there;
  };
  EXPECT_EQ(select({waitable}, patience).value(), Places{0});
  EXPECT_EQ(announced.armed, 2);
}

TEST_F(Select, RefusesWhatIsNoOpenDescriptor) {
  const Pipe pipe;
  const auto invalid = [](const Result<Places>& result) {
    return !result && result.error().kind == ErrorKind::invalid;
  };
  EXPECT_TRUE(invalid(select({}, patience)));
  EXPECT_TRUE(invalid(select({pipe.waitable(), Waitable{}}, patience)));
  const int closed = ::dup(pipe.read_end.get());
  ::close(closed);
  EXPECT_TRUE(invalid(select({pipe.waitable(), Waitable{closed, {}}}, patience)));
  pipe.write();
  EXPECT_TRUE(invalid(select({pipe.waitable(), Waitable{closed, {}}}, patience))) << "ready or not";
}

TEST_F(Select, NamesTheLimitWhenThereAreMorePlacesThanDescriptorsAllowed) {
  Forked child{[] {
    const Pipe pipe;
    const rlimit limit{3, 3};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    const std::vector<Waitable> four(4, pipe.waitable());
    const auto result = select(four, patience);
    return !result && result.error().kind == ErrorKind::exhausted ? 0 : 2;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

class SelectTimer : public test::NothingLeft {
 protected:
  [[nodiscard]] Result<Places> wait(Duration within) const { return select({timer.waitable()}, within); }
  Timer timer = Timer::create().value();
};

TEST_F(SelectTimer, IsNeverReadyUntilItIsSet) {
  EXPECT_EQ(wait(20ms).error().kind, ErrorKind::timed_out);
  EXPECT_EQ(timer.expirations(), 0U);
}

TEST_F(SelectTimer, IsReadyOnceAndStaysSoFromItsMomentOn) {
  const auto moment = deadline_in(20ms);
  timer.set(moment).value();
  EXPECT_EQ(wait(patience).value(), Places{0});
  EXPECT_GE(Clock::now(), moment);
  EXPECT_EQ(wait(Duration::zero()).value(), Places{0}) << "until somebody asks";
  EXPECT_EQ(timer.expirations(), 1U);
  EXPECT_EQ(timer.expirations(), 0U);
  EXPECT_EQ(wait(20ms).error().kind, ErrorKind::timed_out) << "once";
}

TEST_F(SelectTimer, IsReadyAtOnceForAMomentThatHasPassed) {
  timer.set(TimePoint{}).value();
  EXPECT_EQ(wait(patience).value(), Places{0});
  timer.set(TimePoint{-5s}).value();
  EXPECT_EQ(wait(patience).value(), Places{0});
}

TEST_F(SelectTimer, IsReadyAgainAfterEachPeriod) {
  const auto begin = Clock::now();
  timer.set(begin + 5ms, 5ms).value();
  std::uint64_t expirations = 0;
  while (expirations < 4) {
    ASSERT_EQ(wait(patience).value(), Places{0});
    const auto more = timer.expirations();
    EXPECT_GE(more, 1U);
    expirations += more;
    EXPECT_GE(Clock::now() - begin, expirations * 5ms);
  }
}

TEST_F(SelectTimer, CanBeSetForNever) {
  timer.set(never).value();
  EXPECT_EQ(wait(20ms).error().kind, ErrorKind::timed_out);
}

TEST_F(SelectTimer, IsUnreadyOnceStopped) {
  timer.set(TimePoint{}, 1ms).value();
  ASSERT_TRUE(wait(patience));
  timer.stop();
  EXPECT_EQ(wait(20ms).error().kind, ErrorKind::timed_out);
  EXPECT_EQ(timer.expirations(), 0U);
}

TEST_F(SelectTimer, ForgetsItsOldMomentWhenSetAnew) {
  timer.set(TimePoint{}).value();
  ASSERT_TRUE(wait(patience));
  timer.set(deadline_in(1h)).value();
  EXPECT_EQ(wait(20ms).error().kind, ErrorKind::timed_out);
}

TEST_F(SelectTimer, RefusesANegativePeriod) {
  const auto result = timer.set(Clock::now(), -1ns);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::invalid);
}

}  // namespace
}  // namespace troupe
