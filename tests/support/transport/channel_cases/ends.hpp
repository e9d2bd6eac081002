// SPDX-License-Identifier: MIT
#pragma once
// Orderly ends, and whose an end is.

#include <atomic>
#include <thread>

#include "transport/channel_cases/fixture.hpp"

namespace troupe::test {

TEST_P(ChannelConformance, SaysClosedOnceAllHasArrived) {
  auto& other = far_here();
  for (std::uint64_t n = 0; n < 10; ++n) ASSERT_TRUE(near->send(numbered(n, 100), {}, soon()));
  near->close();
  for (std::uint64_t n = 0; n < 10; ++n) EXPECT_TRUE(is_numbered(receive(other).value(), n, 100));
  EXPECT_EQ(kind_of(receive(other)), "closed");
  EXPECT_EQ(kind_of(receive(other)), "closed") << "and goes on saying so";
  EXPECT_EQ(kind_of(send(*near, {})), "closed") << "at this end too";
}

TEST_P(ChannelConformance, GoesOnInTheOtherDirectionAfterAClose) {
  auto& other = far_here();
  near->close();
  EXPECT_EQ(kind_of(receive(other)), "closed");
  for (std::uint64_t n = 0; n < 100; ++n) {
    ASSERT_TRUE(other.send(numbered(n, 1000), {}, soon()));
    ASSERT_TRUE(is_numbered(receive(*near).value(), n, 1000));
  }
  other.close();
  EXPECT_EQ(kind_of(receive(*near)), "closed");
}

TEST_P(ChannelConformance, SaysClosedInBothDirectionsOnceThePeerIsDestroyed) {
  auto& other = far_here();
  ASSERT_TRUE(near->send(numbered(1, 10), {}, soon()));
  ASSERT_TRUE(other.send(numbered(2, 10), {}, soon()));
  far.reset();
  EXPECT_EQ(kind_of(send(*near, {})), "closed");
  EXPECT_TRUE(is_numbered(receive(*near).value(), 2, 10)) << "what was sent before still comes";
  EXPECT_EQ(kind_of(receive(*near)), "closed");
}

TEST_P(ChannelConformance, ClosesWhileItIsFullWithoutLosingAnything) {
  auto& other = far_here();
  const auto sent = fill(*near, 3000);
  near->close();
  near.reset();
  for (std::uint64_t n = 0; n < sent; ++n) {
    const auto frame = receive(other);
    ASSERT_TRUE(frame && is_numbered(*frame, n, 3000)) << "frame " << n << " of " << sent;
  }
  EXPECT_EQ(kind_of(receive(other)), "closed");
  EXPECT_EQ(kind_of(send(other, {})), "closed");
}

TEST_P(ChannelConformance, WakesAReceiverWhenThePeerCloses) {
  auto& other = far_here();
  std::thread closer{[&, receiver = ::gettid()] {
    EXPECT_TRUE(falls_asleep(receiver, soon()));
    near->close();
  }};
  EXPECT_EQ(kind_of(receive(other)), "closed");
  closer.join();
}

TEST_P(ChannelConformance, WakesAReceiverWhenThePeerClosesWhileAnotherThreadSends) {
  for (int round = 0; round < 20; ++round) {
    if (round > 0) create();
    far_here();
    std::atomic<bool> done{false};
    std::thread sender{[&] {
      while (!done) static_cast<void>(far->send(numbered(1, 100), {}, deadline_in(1ms)));
    }};
    std::thread closer{[&] { near->close(); }};
    EXPECT_EQ(kind_of(receive(*far)), "closed");
    done = true;
    closer.join();
    sender.join();
  }
}

TEST_P(ChannelConformance, WakesASenderWhenThePeerIsDestroyed) {
  far_here();
  static_cast<void>(fill(*near, 1000));
  std::thread closer{[&, sender = ::gettid()] {
    EXPECT_TRUE(falls_asleep(sender, soon()));
    far.reset();
  }};
  EXPECT_EQ(kind_of(send(*near, numbered(0, 1000))), "closed");
  closer.join();
}

TEST_P(ChannelConformance, SaysClosedWhenAnotherProcessClosesInOrder) {
  auto child = far_in_child([](Channel& end) {
    for (std::uint64_t n = 0; n < 10; ++n)
      if (!end.send(numbered(n, 100), {}, soon())) return 1;
    return 0;
  });
  EXPECT_EQ(child.exit_code(soon()), 0);
  for (std::uint64_t n = 0; n < 10; ++n) EXPECT_TRUE(is_numbered(receive(*near).value(), n, 100));
  EXPECT_EQ(kind_of(receive(*near)), "closed");
  EXPECT_EQ(kind_of(send(*near, {})), "closed");
}

TEST_P(ChannelConformance, RefusesTheCopyInAForkedChild) {
  auto& other = far_here();
  ASSERT_TRUE(near->send(numbered(1, 10), {}, soon()));
  Forked child{[&] {
    std::vector<std::byte> buffer;
    const auto refused = [](const auto& result) {
      return !result && result.error().kind == ErrorKind::refused;
    };
    if (!refused(near->send({}, {}, soon()))) return 1;
    if (!refused(other.receive(buffer, soon()))) return 2;
    if (!refused(other.take_parts())) return 3;
    if (!select({other.readable()}, 20s)) return 4;
    near->close();
    near.reset();
    far.reset();
    return 0;
  }};
  EXPECT_EQ(child.exit_code(soon()), 0);
  EXPECT_TRUE(is_numbered(receive(other).value(), 1, 10)) << "the child took nothing";
  ASSERT_TRUE(other.send(numbered(2, 10), {}, soon()));
  EXPECT_TRUE(is_numbered(receive(*near).value(), 2, 10)) << "and closed nothing";
}

TEST_P(ChannelConformance, MovesBeforeItsFirstUseAndNotAfter) {
  // The far end has moved already; here the near one does.
  auto parts = near->take_parts();
  ASSERT_TRUE(parts) << parts.error();
  EXPECT_EQ(kind_of(send(*near, {})), "refused");
  EXPECT_EQ(kind_of(near->take_parts()), "refused");
  near = channel_from(std::move(*parts)).value();

  auto& other = far_here();
  ASSERT_TRUE(near->send(numbered(1, 10), {}, soon()));
  EXPECT_EQ(kind_of(near->take_parts()), "refused") << "it has sent";
  EXPECT_TRUE(is_numbered(receive(other).value(), 1, 10));
  EXPECT_EQ(kind_of(other.take_parts()), "refused") << "it has received";
}

}  // namespace troupe::test
