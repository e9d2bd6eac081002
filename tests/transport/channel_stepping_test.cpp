// SPDX-License-Identifier: MIT
// A process at the far end of a channel is killed between any two of its instructions.
//
// Each kill has a channel of its own, since nothing is left of one whose end has died. `TROUPE_STEP_STRIDE`:
// every n-th boundary is killed at; 1 is all of them, and takes half an hour.

#include <algorithm>
#include <functional>
#include <iostream>
#include <string>

#include "transport/carriers.hpp"
#include "transport/channel_cases/fixture.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::kind_of;
using test::mark;
using test::soon;
using test::SteppedChild;
using test::Trace;

constexpr std::size_t kills_wanted = 150;
constexpr std::size_t frame_bytes = 3000;

class ChannelStepping : public test::NothingLeft, public testing::WithParamInterface<Carrier> {
 protected:
  void SetUp() override {
    if (!test::can_step()) GTEST_SKIP() << "not in this build";
  }

  using Act = std::function<void(Channel&)>;

  /// A child that has an end, does `before`, and is stopped where it begins to do `act`.
  SteppedChild start(const Act& before, const Act& act) {
    auto ends = create_channel({.carrier = GetParam(), .frame_bytes_max = frame_bytes}).value();
    near = std::move(ends.first);
    auto parts = ends.second->take_parts().value();
    ends.second.reset();
    if (prepare) prepare();
    auto child = SteppedChild::create(
        [&] {
          auto end = channel_from(std::move(parts)).value();
          before(*end);
          mark();
          act(*end);
          mark();
        },
        soon());
    return std::move(child).value();
  }

  /// Where a child is from its first mark to its second.
  Trace record(const Act& before, const Act& act) {
    auto child = start(before, act);
    Trace trace;
    do trace.add(child.program_counter());
    while (child.step().value() == SteppedChild::Stop::instruction);
    return trace;
  }

  /// A child at the boundary `at` of `act`, or at its second mark if this run is shorter than that.
  SteppedChild start_and_advance(const Act& before, const Act& act, const Trace& trace, std::size_t at) {
    auto child = start(before, act);
    if (child.advance(trace, at)) return child;
    // A look at the clock may take another way: as many instructions then, wherever they lead.
    child = start(before, act);
    while (at-- > 0 && child.step().value() == SteppedChild::Stop::instruction) {}
    return child;
  }

  /// Kills a child at one boundary of `act` after another, and once behind it; `judge` is told whether it had
  /// come so far.
  void kill_at_each(const Act& before, const Act& act, const std::function<void(bool done)>& judge) {
    const auto trace = record(before, act);
    const auto stride = test::step_stride(std::max<std::size_t>(1, trace.size() / kills_wanted));
    std::size_t kills = 0;
    for (std::size_t at = 0; at < trace.size() && !HasFailure(); at += stride, ++kills) {
      start_and_advance(before, act, trace, at).kill();
      judge(false);
    }
    auto whole = start(before, act);
    EXPECT_EQ(whole.run().value(), SteppedChild::Stop::mark);
    whole.kill();
    judge(true);
    std::cout << trace.size() << " instructions, " << kills << " kills\n";
  }

  Result<std::vector<std::byte>> receive() {
    std::vector<std::byte> buffer;
    const auto frame = near->receive(buffer, soon());
    if (!frame) return tl::unexpected{frame.error()};
    return std::vector<std::byte>{frame->bytes.begin(), frame->bytes.end()};
  }

  std::unique_ptr<Channel> near;
  std::function<void()> prepare;  ///< what the test does before there is a child
};

INSTANTIATE_TEST_SUITE_P(Carriers, ChannelStepping, testing::ValuesIn(test::carriers),
                         testing::PrintToStringParamName());

/// Made before anything is stepped: to make it takes more instructions than to send it.
const std::vector<std::byte> frame_one = test::pattern(1, frame_bytes);

void nothing(Channel& /*end*/) {}
void send_one(Channel& end) { static_cast<void>(end.send(frame_one, {}, soon())); }
void receive_one(Channel& end) {
  std::vector<std::byte> buffer;
  static_cast<void>(end.receive(buffer, soon()));
}

TEST_P(ChannelStepping, AFrameIsWholeOrAbsentWhereverItsSenderIsKilledInItsFirstSend) {
  kill_at_each(nothing, send_one, [&](bool done) {
    const auto frame = receive();
    if (!frame) {
      EXPECT_EQ(kind_of(frame), "down");
      EXPECT_FALSE(done) << "what was sent outlives its sender";
      return;
    }
    EXPECT_TRUE(test::is_numbered(*frame, 1, frame_bytes)) << "torn";
    EXPECT_EQ(kind_of(receive()), "down");
  });
}

TEST_P(ChannelStepping, AFrameIsWholeOrAbsentWhereverItsSenderIsKilledLater) {
  kill_at_each(send_one, send_one, [&](bool done) {
    EXPECT_TRUE(receive()) << "the first one was sent";
    const auto frame = receive();
    if (frame) {
      EXPECT_TRUE(test::is_numbered(*frame, 1, frame_bytes)) << "torn";
      EXPECT_EQ(kind_of(receive()), "down");
    } else {
      EXPECT_EQ(kind_of(frame), "down");
      EXPECT_FALSE(done);
    }
  });
}

TEST_P(ChannelStepping, ASenderSeesTheDeathWhereverItsReceiverIsKilled) {
  prepare = [&] {
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(near->send(frame_one, {}, soon()));
  };
  // A stream's first receive makes room for its input, and is nothing else for most of its instructions.
  const Act before = GetParam() == Carrier::shared_memory ? nothing : receive_one;
  kill_at_each(before, receive_one, [&](bool /*done*/) {
    auto sent = Result<void>{};
    while ((sent = near->send(frame_one, {}, soon()))) {}
    EXPECT_EQ(kind_of(sent), "down");
    EXPECT_EQ(kind_of(receive()), "down");
  });
}

TEST_P(ChannelStepping, AnEndIsClosedOrDownWhereverItIsKilledInItsClose) {
  kill_at_each(
      send_one, [](Channel& end) { end.close(); },
      [&](bool done) {
        EXPECT_TRUE(receive()) << "what was sent before";
        const auto end = kind_of(receive());
        EXPECT_TRUE(end == "closed" || (end == "down" && !done)) << end;
        EXPECT_EQ(kind_of(near->send({}, {}, soon())), "down");
      });
}

}  // namespace
}  // namespace troupe
