// SPDX-License-Identifier: MIT
#pragma once
// Descriptors: those that are carried, and those that an end holds.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <troupe/transport/memory_map.hpp>

#include "transport/channel_cases/fixture.hpp"

namespace troupe::test {

inline std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"},
                       std::filesystem::directory_iterator{});
}

TEST_P(ChannelConformance, CarriesDescriptorsOrRefusesThem) {
  auto& other = far_here();
  const auto memory = create_memory("travels", 4096).value();
  ASSERT_EQ(::pwrite(memory.get(), "hello", 5, 0), 5);
  const auto bell = create_bell().value();
  const int both[] = {memory.get(), bell.get()};
  if (near->descriptors_max() == 0) {
    EXPECT_EQ(kind_of(near->send(numbered(1, 10), both, soon())), "refused");
    EXPECT_EQ(kind_of(receive(other, Clock::now())), "timed_out") << "nothing was sent";
    return;
  }
  ASSERT_TRUE(near->send({}, {}, soon()));
  ASSERT_TRUE(near->send(numbered(1, 10), both, soon()));
  ASSERT_TRUE(near->send({}, both, soon())) << "without a byte";
  std::vector<std::byte> buffer;
  EXPECT_TRUE(other.receive(buffer, soon()).value().descriptors.empty());
  for (const std::size_t bytes : {10U, 0U}) {
    const auto frame = other.receive(buffer, soon()).value();
    EXPECT_TRUE(is_numbered(frame.bytes, 1, bytes));
    ASSERT_EQ(frame.descriptors.size(), 2U);
    for (const auto& fd : frame.descriptors) EXPECT_EQ(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    std::array<char, 6> read{};
    ASSERT_EQ(::pread(frame.descriptors[0].get(), read.data(), 5, 0), 5);
    EXPECT_STREQ(read.data(), "hello");
    ring(frame.descriptors[1].get());
    EXPECT_TRUE(was_rung(bell.get()));
  }
}

TEST_P(ChannelConformance, CarriesAsManyDescriptorsAsItSays) {
  auto& other = far_here();
  const auto bell = create_bell().value();
  const std::vector<int> all(near->descriptors_max(), bell.get());
  const std::vector<int> more(near->descriptors_max() + 1, bell.get());
  std::vector<std::byte> buffer;
  EXPECT_EQ(kind_of(near->send({}, more, soon())), all.empty() ? "refused" : "invalid");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(near->send(numbered(1, 100), all, soon()));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(other.receive(buffer, soon()).value().descriptors.size(), all.size());
}

TEST_P(ChannelConformance, KeepsDescriptorsBackFromASendThatTimesOut) {
  if (near->descriptors_max() == 0) GTEST_SKIP() << "carries none";
  auto& other = far_here();
  const auto bell = create_bell().value();
  const int one[] = {bell.get()};
  const auto sent = fill(*near, 30'000);
  EXPECT_EQ(kind_of(near->send(numbered(1, frame_bytes_max), one, deadline_in(1ms))), "timed_out");
  std::vector<std::byte> buffer;
  for (std::uint64_t n = 0; n < sent; ++n) ASSERT_TRUE(other.receive(buffer, soon()));
  ASSERT_TRUE(near->send(numbered(2, 10), {}, soon()));
  const auto frame = other.receive(buffer, soon()).value();
  EXPECT_TRUE(is_numbered(frame.bytes, 2, 10));
  EXPECT_TRUE(frame.descriptors.empty());
}

TEST_P(ChannelConformance, SaysThatDescriptorsWereLostAndGoesOn) {
  if (near->descriptors_max() == 0) GTEST_SKIP() << "carries none";
  auto child = far_in_child([](Channel& end) {
    std::vector<std::byte> buffer;
    if (!end.receive(buffer, soon())) return 1;
    const OwnedFd first_free{::dup(0)};
    const rlimit limit{static_cast<rlim_t>(first_free.get()) + 2, static_cast<rlim_t>(first_free.get()) + 2};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 2;
    if (::close(first_free.get()) != 0) return 3;
    if (!end.send({}, {}, soon())) return 4;
    const auto lost = end.receive(buffer, soon());
    if (lost || lost.error().kind != ErrorKind::exhausted) return 5;
    const auto next = end.receive(buffer, soon());
    return next && is_numbered(next->bytes, 2, 10) ? 0 : 6;
  });
  const auto bell = create_bell().value();
  const std::vector<int> four(4, bell.get());
  ASSERT_TRUE(near->send({}, {}, soon()));
  ASSERT_TRUE(receive(*near)) << "the child's limit is set";
  ASSERT_TRUE(near->send(numbered(1, 10), four, soon()));
  ASSERT_TRUE(near->send(numbered(2, 10), {}, soon()));
  EXPECT_EQ(child.exit_code(soon()), 0);
}

TEST_P(ChannelConformance, HoldsNoMoreDescriptorsWhateverPassesThroughIt) {
  auto& other = far_here();
  const auto bell = create_bell().value();
  const std::vector<int> some(std::min<std::size_t>(near->descriptors_max(), 2), bell.get());
  const auto pass = [&] {
    ASSERT_TRUE(near->send(numbered(1, 1000), some, soon()));
    ASSERT_TRUE(other.send(numbered(1, 1000), some, soon()));
    ASSERT_TRUE(select({near->readable(), other.readable()}, 20s));
    ASSERT_TRUE(receive(other));
    ASSERT_TRUE(receive(*near));
    ASSERT_EQ(kind_of(receive(*near, deadline_in(10us))), "timed_out");
  };
  pass();
  const auto before = open_descriptors();
  for (int i = 0; i < 500; ++i) pass();
  static_cast<void>(fill(*near, 1000, deadline_in(1ms)));
  EXPECT_LE(open_descriptors(), before);
}

TEST_P(ChannelConformance, LeavesClosedStandardDescriptorsFree) {
  Forked child{[&] {
    for (int fd = 0; fd <= 2; ++fd) ::close(fd);
    const auto taken = [] {
      return ::fcntl(0, F_GETFD) != -1 || ::fcntl(1, F_GETFD) != -1 || ::fcntl(2, F_GETFD) != -1;
    };
    create();
    auto& other = far_here();
    const auto bell = create_bell().value();
    const std::vector<int> some(std::min<std::size_t>(near->descriptors_max(), 2), bell.get());
    for (std::uint64_t n = 0; n < 100; ++n) {
      if (!near->send(numbered(n, 1000), some, soon())) return 1;
      if (!select({other.readable()}, 20s)) return 2;
      std::vector<std::byte> buffer;
      const auto frame = other.receive(buffer, soon());
      if (!frame || !is_numbered(frame->bytes, n, 1000)) return 3;
      if (taken()) return 4;
    }
    return kind_of(receive(other, deadline_in(1ms))) == "timed_out" && !taken() ? 0 : 5;
  }};
  EXPECT_EQ(child.exit_code(soon()), 0);
}

}  // namespace troupe::test
