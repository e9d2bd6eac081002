// SPDX-License-Identifier: MIT
#pragma once
// Whole frames, order, full.

#include <array>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>

#include "transport/channel_cases/fixture.hpp"

namespace troupe::test {

TEST_P(ChannelConformance, DeliversFramesInOrder) {
  auto& other = far_here();
  for (std::uint64_t n = 0; n < 100; ++n) ASSERT_TRUE(near->send(numbered(n, n), {}, soon()));
  for (std::uint64_t n = 0; n < 100; ++n) {
    const auto frame = receive(other);
    ASSERT_TRUE(frame) << frame.error();
    EXPECT_TRUE(is_numbered(*frame, n, n)) << "frame " << n;
  }
}

TEST_P(ChannelConformance, DeliversWholeFramesOfManySizes) {
  auto& other = far_here();
  std::vector<std::size_t> sizes;
  for (std::size_t around = 1; around <= frame_bytes_max; around *= 2)
    for (const std::size_t bytes : {around - 1, around, around + 1})
      if (bytes <= frame_bytes_max) sizes.push_back(bytes);
  constexpr int rounds = 3;
  std::thread sender{[&] {
    for (int round = 0; round < rounds; ++round)
      for (const auto bytes : sizes) ASSERT_TRUE(near->send(numbered(bytes, bytes), {}, soon()));
  }};
  for (int round = 0; round < rounds; ++round) {
    for (const auto bytes : sizes) {
      const auto frame = receive(other);
      EXPECT_TRUE(frame && is_numbered(*frame, bytes, bytes)) << bytes << " bytes";
    }
  }
  sender.join();
}

TEST_P(ChannelConformance, DeliversEmptyFrames) {
  auto& other = far_here();
  ASSERT_TRUE(near->send({}, {}, soon()));
  ASSERT_TRUE(near->send(numbered(1, 1), {}, soon()));
  ASSERT_TRUE(near->send({}, {}, soon()));
  EXPECT_EQ(receive(other).value().size(), 0U);
  EXPECT_EQ(receive(other).value().size(), 1U);
  EXPECT_EQ(receive(other).value().size(), 0U);
  EXPECT_EQ(kind_of(receive(other, Clock::now())), "timed_out");
}

TEST_P(ChannelConformance, DeliversTheLargestFrameAndRefusesALargerOne) {
  for (const std::size_t bytes_max : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, frame_bytes_max}) {
    create(bytes_max);
    auto& other = far_here();
    ASSERT_EQ(near->frame_bytes_max(), bytes_max);
    ASSERT_EQ(other.frame_bytes_max(), bytes_max);
    EXPECT_EQ(kind_of(send(*near, numbered(1, bytes_max + 1))), "invalid");
    std::thread sender{[&] { EXPECT_TRUE(near->send(numbered(2, bytes_max), {}, soon())); }};
    const auto frame = receive(other);
    sender.join();
    EXPECT_TRUE(frame && is_numbered(*frame, 2, bytes_max)) << bytes_max;
  }
}

TEST_P(ChannelConformance, CarriesFramesBothWaysAtOnce) {
  auto& other = far_here();
  constexpr std::uint64_t frames = 2000;
  const auto send = [](Channel& end) {
    for (std::uint64_t n = 0; n < frames; ++n)
      if (!end.send(numbered(n, n % 300), {}, soon())) return;
  };
  const auto check = [](Channel& end, std::uint64_t& whole) {
    for (; whole < frames; ++whole) {
      const auto frame = receive(end);
      if (!frame || !is_numbered(*frame, whole, whole % 300)) return;
    }
  };
  std::uint64_t here = 0;
  std::uint64_t there = 0;
  std::vector<std::thread> threads;
  threads.emplace_back(send, std::ref(*near));
  threads.emplace_back(send, std::ref(other));
  threads.emplace_back([&] { check(*near, here); });
  threads.emplace_back([&] { check(other, there); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(here, frames);
  EXPECT_EQ(there, frames);
}

TEST_P(ChannelConformance, CarriesFramesBetweenProcesses) {
  constexpr std::uint64_t frames = 500;
  auto child = far_in_child([](Channel& end) {
    std::vector<std::byte> buffer;
    for (std::uint64_t n = 0; n < frames; ++n) {
      const auto frame = end.receive(buffer, soon());
      if (!frame || !end.send(frame->bytes, {}, soon())) return 1;
    }
    return 0;
  });
  for (std::uint64_t n = 0; n < frames; ++n) {
    const auto bytes = n * 7919 % (frame_bytes_max + 1);
    ASSERT_TRUE(near->send(numbered(n, bytes), {}, soon()));
    const auto back = receive(*near);
    ASSERT_TRUE(back) << back.error();
    ASSERT_TRUE(is_numbered(*back, n, bytes));
  }
  EXPECT_EQ(child.exit_code(soon()), 0);
}

TEST_P(ChannelConformance, SendsNothingWhenItTimesOutAndWorksAgainOnceThereIsRoom) {
  auto& other = far_here();
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{5000}, frame_bytes_max}) {
    for (const Duration within : {Duration{0}, Duration{5ms}}) {
      const auto sent = fill(*near, bytes, deadline_in(within));
      ASSERT_GT(sent, 0U) << bytes;
      for (std::uint64_t n = 0; n < sent; ++n) {
        const auto frame = receive(other);
        ASSERT_TRUE(frame && is_numbered(*frame, n, bytes)) << "frame " << n << " of " << bytes << " bytes";
      }
      EXPECT_EQ(kind_of(receive(other, Clock::now())), "timed_out") << "what timed out was sent";
      std::thread sender{[&] { EXPECT_TRUE(near->send(numbered(77, bytes), {}, soon())); }};
      const auto frame = receive(other);
      sender.join();
      EXPECT_TRUE(frame && is_numbered(*frame, 77, bytes)) << bytes;
    }
  }
}

TEST_P(ChannelConformance, WaitsForRoomAndIsWokenByIt) {
  auto& other = far_here();
  const auto sent = fill(*near, 1000);
  std::thread sender{[&] { EXPECT_TRUE(near->send(numbered(sent, 1000), {}, soon())); }};
  for (std::uint64_t n = 0; n <= sent; ++n) {
    const auto frame = receive(other);
    EXPECT_TRUE(frame && is_numbered(*frame, n, 1000)) << "frame " << n << " of " << sent;
  }
  sender.join();
}

TEST_P(ChannelConformance, TakesThreadsInTurnAtEitherEnd) {
  auto& other = far_here();
  constexpr std::uint64_t threads_each = 4;
  constexpr std::uint64_t frames_each = 250;
  std::mutex sending;
  std::mutex receiving;
  std::set<std::uint64_t> arrived;
  bool in_order = true;
  std::vector<std::uint64_t> last(threads_each);
  std::vector<std::thread> threads;
  for (std::uint64_t id = 0; id < threads_each; ++id) {
    threads.emplace_back([&, id] {
      for (std::uint64_t n = 1; n <= frames_each; ++n) {
        const std::array frame{id, n};
        const std::lock_guard turn{sending};
        if (!near->send(std::as_bytes(std::span{frame}), {}, soon())) return;
      }
    });
    threads.emplace_back([&] {
      for (std::uint64_t n = 0; n < frames_each; ++n) {
        const std::lock_guard turn{receiving};
        std::vector<std::byte> buffer;
        const auto frame = other.receive(buffer, soon());
        std::array<std::uint64_t, 2> words{};
        if (!frame || frame->bytes.size() != sizeof words) return;
        std::memcpy(words.data(), frame->bytes.data(), sizeof words);
        in_order = in_order && words[1] == last[words[0]] + 1;
        last[words[0]] = words[1];
        arrived.insert(words[0] * 1000 + words[1]);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(arrived.size(), threads_each * frames_each);
  EXPECT_TRUE(in_order);
}

}  // namespace troupe::test
