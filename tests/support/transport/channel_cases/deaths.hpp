// SPDX-License-Identifier: MIT
#pragma once
// Peers that are killed.

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <thread>

#include "transport/channel_cases/fixture.hpp"

namespace troupe::test {

/// What a child does that waits to be killed.
inline int wait_to_be_killed() {
  for (;;) ::pause();
}

TEST_P(ChannelConformance, SaysDownWhenThePeerIsKilledBeforeItsFirstUse) {
  const Gate made;
  auto child = far_in_child([&](Channel&) {
    made.open();
    return wait_to_be_killed();
  });
  ASSERT_TRUE(made.wait());
  ASSERT_TRUE(near->send(numbered(1, 10), {}, soon()));
  child.kill();
  EXPECT_EQ(kind_of(receive(*near)), "down");
}

TEST_P(ChannelConformance, SaysDownWhenNobodyEverMakesTheFarEnd) {
  make_far = nullptr;
  EXPECT_EQ(kind_of(send(*near, {})), "down");
  EXPECT_EQ(kind_of(receive(*near)), "down");
}

TEST_P(ChannelConformance, DeliversAllThatTheDeadHadSentAndThenSaysDown) {
  const Gate sent;
  auto child = far_in_child([&](Channel& end) {
    for (std::uint64_t n = 0; n < 20; ++n)
      if (!end.send(numbered(n, 1000), {}, soon())) return 1;
    sent.open();
    return wait_to_be_killed();
  });
  ASSERT_TRUE(sent.wait());
  child.kill();
  EXPECT_EQ(kind_of(send(*near, {})), "down") << "a dead end is seen at once";
  for (std::uint64_t n = 0; n < 20; ++n) {
    const auto frame = receive(*near);
    ASSERT_TRUE(frame) << frame.error();
    EXPECT_TRUE(is_numbered(*frame, n, 1000));
  }
  EXPECT_EQ(kind_of(receive(*near)), "down");
  EXPECT_EQ(kind_of(receive(*near, Clock::now())), "down") << "and goes on saying so";
}

TEST_P(ChannelConformance, DeliversOnlyWholeFramesOfASenderThatIsKilledWheneverItIs) {
  constexpr int kills = 40;
  std::uint64_t frames = 0;
  for (int i = 0; i < kills; ++i) {
    if (i > 0) create();
    const auto bytes_of = [](std::uint64_t n) { return n * 7919 % (frame_bytes_max + 1); };
    auto child = far_in_child([&](Channel& end) {
      for (std::uint64_t n = 0;; ++n)
        if (!end.send(numbered(n, bytes_of(n)), {}, soon())) return 1;
    });
    std::uint64_t n = 0;
    for (; n < static_cast<std::uint64_t>(i % 10); ++n) {
      const auto frame = receive(*near);
      ASSERT_TRUE(frame && is_numbered(*frame, n, bytes_of(n)));
    }
    child.kill();
    for (;; ++n) {
      const auto frame = receive(*near);
      if (!frame) {
        ASSERT_EQ(kind_of(frame), "down");
        break;
      }
      ASSERT_TRUE(is_numbered(*frame, n, bytes_of(n))) << "torn, or out of order";
      ++frames;
    }
  }
  std::printf("%s: %d kills, %llu frames behind them, 0 torn\n", GetParam().name.c_str(), kills,
              static_cast<unsigned long long>(frames));
}

TEST_P(ChannelConformance, SaysDownToASenderWhoseReceiverIsKilledWheneverItIs) {
  constexpr int kills = 20;
  for (int i = 0; i < kills; ++i) {
    if (i > 0) create();
    const Gate enough;
    auto child = far_in_child([&](Channel& end) {
      std::vector<std::byte> buffer;
      for (int n = 0;; ++n) {
        if (n == i) enough.open();
        if (!end.receive(buffer, soon())) return 1;
      }
    });
    std::thread killer{[&] {
      EXPECT_TRUE(enough.wait());
      ::kill(child.pid(), SIGKILL);
    }};
    auto sent = Result<void>{};
    for (std::uint64_t n = 0; (sent = near->send(numbered(n, n * 977 % 20'000), {}, soon()));) ++n;
    EXPECT_EQ(kind_of(sent), "down");
    killer.join();
  }
}

TEST_P(ChannelConformance, SaysDownToASenderThatWaitsForRoom) {
  const Gate made;
  auto child = far_in_child([&](Channel&) {
    made.open();
    return wait_to_be_killed();
  });
  ASSERT_TRUE(made.wait());
  static_cast<void>(fill(*near, 1000));
  std::thread killer{[&, sender = ::gettid()] {
    EXPECT_TRUE(falls_asleep(sender, soon()));
    ::kill(child.pid(), SIGKILL);
  }};
  EXPECT_EQ(kind_of(send(*near, numbered(1, 1000))), "down");
  killer.join();
}

TEST_P(ChannelConformance, SaysDownToAReceiverThatWaits) {
  auto child = far_in_child([](Channel&) { return wait_to_be_killed(); });
  std::thread killer{[&, receiver = ::gettid()] {
    EXPECT_TRUE(falls_asleep(receiver, soon()));
    ::kill(child.pid(), SIGKILL);
  }};
  EXPECT_EQ(kind_of(receive(*near)), "down");
  killer.join();
}

TEST_P(ChannelConformance, KeepsADirectionClosedThatWasClosedBeforeTheDeath) {
  const Gate closed;
  auto child = far_in_child([&](Channel& end) {
    end.close();
    closed.open();
    return wait_to_be_killed();
  });
  ASSERT_TRUE(closed.wait());
  ASSERT_TRUE(near->send(numbered(1, 10), {}, soon()));
  child.kill();
  EXPECT_EQ(kind_of(receive(*near)), "closed");
  const auto tried_until = soon();
  auto sent = Result<void>{};
  while ((sent = near->send({}, {}, Clock::now())) && Clock::now() < tried_until) {}
  EXPECT_EQ(kind_of(sent), "down");
}

TEST_P(ChannelConformance, SeesADeathThatAForkedChildSurvives) {
  // The grandchild ends when the test closes its end of the pipe.
  std::array<int, 2> stay{-1, -1};
  ASSERT_EQ(::pipe(stay.data()), 0);
  const OwnedFd stay_read{stay[0]};
  OwnedFd stay_write{stay[1]};
  std::array<int, 2> alive{-1, -1};
  ASSERT_EQ(::pipe(alive.data()), 0);
  const OwnedFd alive_read{alive[0]};
  OwnedFd alive_write{alive[1]};
  const Gate forked;
  auto child = far_in_child([&](Channel& end) {
    if (!end.send(numbered(1, 10), {}, soon())) return 1;
    stay_write.reset();
    if (::fork() == 0) {
      char nothing = 0;
      forked.open();
      ::_exit(static_cast<int>(::read(stay_read.get(), &nothing, 1)));
    }
    return wait_to_be_killed();
  });
  alive_write.reset();
  ASSERT_TRUE(forked.wait());
  child.kill();
  EXPECT_TRUE(is_numbered(receive(*near).value(), 1, 10));
  EXPECT_EQ(kind_of(receive(*near)), "down");
  EXPECT_EQ(kind_of(send(*near, {})), "down");
  EXPECT_FALSE(detail::wait_readable(alive_read.get(), Clock::now())) << "the grandchild lives";
  stay_write.reset();
  EXPECT_TRUE(detail::wait_readable(alive_read.get(), soon())) << "and ends with the test";
}

}  // namespace troupe::test
