// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <troupe/runtime/event_loop.hpp>
#include <troupe/transport/doorbell.hpp>

#include "processes.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;

class EventLoopTest : public test::NothingLeft {
 protected:
  EventLoop loop = EventLoop::create().value();
  OwnedFd first = create_bell().value();
  OwnedFd second = create_bell().value();
  int calls = 0;
};

TEST_F(EventLoopTest, CallsAgainForAsLongAsItIsReadable) {
  loop.watch(first.get(), [&] { ++calls; }).value();
  ring(first.get());
  loop.run_once(deadline_in(test::patience));
  loop.run_once(deadline_in(test::patience));
  EXPECT_EQ(calls, 2);
  loop.forget(first.get());
}

TEST_F(EventLoopTest, ReturnsAtItsDeadlineAndNotBefore) {
  loop.watch(first.get(), [&] { ++calls; }).value();
  const TimePoint deadline = deadline_in(20ms);
  loop.run_once(deadline);
  EXPECT_GE(Clock::now(), deadline);
  EXPECT_EQ(calls, 0);
  loop.forget(first.get());
}

TEST_F(EventLoopTest, ADeadlineInThePastStillServesWhatIsReady) {
  loop.watch(first.get(), [&] { ++calls; }).value();
  ring(first.get());
  loop.run_once(Clock::now() - 1s);
  EXPECT_EQ(calls, 1);
  loop.forget(first.get());
}

TEST_F(EventLoopTest, AHandlerMayForgetItself) {
  loop.watch(first.get(),
             [&, kept = std::make_shared<int>(7)] {
               loop.forget(first.get());
               calls += *kept;  // what it holds is there until it returns
             })
      .value();
  ring(first.get());
  loop.run_once(deadline_in(test::patience));
  loop.run_once(Clock::now());
  EXPECT_EQ(calls, 7);
}

TEST_F(EventLoopTest, AHandlerThatAnEarlierOneForgotIsNotCalled) {
  const auto forget_the_other = [&](const OwnedFd& other) {
    return [&] {
      ++calls;
      loop.forget(other.get());
    };
  };
  loop.watch(first.get(), forget_the_other(second)).value();
  loop.watch(second.get(), forget_the_other(first)).value();
  ring(first.get());
  ring(second.get());
  loop.run_once(deadline_in(test::patience));
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, AHandlerMayWatchAnother) {
  ring(second.get());
  loop.watch(first.get(),
             [&] {
               loop.forget(first.get());
               loop.watch(second.get(), [&] { ++calls; }).value();
             })
      .value();
  ring(first.get());
  loop.run_once(deadline_in(test::patience));
  loop.run_once(deadline_in(test::patience));
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, WatchingTheSameDescriptorTwiceIsAnError) {
  loop.watch(first.get(), [] {}).value();
  EXPECT_FALSE(loop.watch(first.get(), [] {}));
  EXPECT_FALSE(loop.watch(-1, [] {}));
}

}  // namespace
}  // namespace troupe::detail
