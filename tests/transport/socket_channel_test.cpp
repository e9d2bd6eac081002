// SPDX-License-Identifier: MIT
#include <troupe/transport/socket_channel.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/memory_map.hpp>

#include "transport/forked.hpp"
#include "transport/kind_of.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::kind_of;
using test::pattern;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

/// Needs no descriptor itself, unlike a look into /proc.
int open_below(int bound) {
  int open = 0;
  for (int fd = 0; fd < bound; ++fd) open += ::fcntl(fd, F_GETFD) == -1 ? 0 : 1;
  return open;
}

class Channel : public test::NothingLeft {
 protected:
  static constexpr std::size_t size = SocketChannel::packet_bytes_max;

  Result<SocketChannel::Packet> receive(Duration within = 10s) {
    return theirs.receive(buffer, deadline_in(within));
  }
  std::string text(const SocketChannel::Packet& packet) const {
    return {reinterpret_cast<const char*>(buffer.data()), packet.bytes};
  }

  std::vector<std::byte> buffer = std::vector<std::byte>(size);
  SocketChannel ours;
  SocketChannel theirs;

  Channel() { std::tie(ours, theirs) = SocketChannel::create_pair().value(); }
};

TEST_F(Channel, DeliversPacketsWholeAndInOrder) {
  ASSERT_TRUE(ours.send(bytes_of("one"), {}, deadline_in(10s)));
  ASSERT_TRUE(ours.send(bytes_of("and two"), {}, deadline_in(10s)));
  EXPECT_EQ(text(receive().value()), "one");
  EXPECT_EQ(text(receive().value()), "and two");
}

TEST_F(Channel, WorksInBothDirections) {
  ASSERT_TRUE(theirs.send(bytes_of("back"), {}, deadline_in(10s)));
  const auto packet = ours.receive(buffer, deadline_in(10s)).value();
  EXPECT_EQ(text(packet), "back");
  EXPECT_TRUE(packet.descriptors.empty());
}

TEST_F(Channel, DeliversTheLargestPacketAndRefusesALargerOne) {
  const auto largest = pattern(1, size);
  std::thread sender{[&] { EXPECT_TRUE(ours.send(largest, {}, deadline_in(10s))); }};
  const auto packet = receive();
  sender.join();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->bytes, size);
  EXPECT_EQ(buffer, largest);
  EXPECT_EQ(kind_of(ours.send(std::vector<std::byte>(size + 1), {}, deadline_in(1s))), "invalid");
}

TEST_F(Channel, RefusesAPacketWithNothingInItSinceThatReadsAsTheEnd) {
  EXPECT_EQ(kind_of(ours.send({}, {}, deadline_in(1s))), "invalid");
}

TEST_F(Channel, CarriesDescriptorsThatAreCloseOnExec) {
  const auto memory = create_memory("travels", 4096).value();
  ASSERT_EQ(::pwrite(memory.get(), "hello", 5, 0), 5);
  const auto bell = create_bell().value();
  const int both[] = {memory.get(), bell.get()};
  ASSERT_TRUE(ours.send(bytes_of("two of them"), both, deadline_in(10s)));

  const auto packet = receive().value();
  ASSERT_EQ(packet.descriptors.size(), 2U);
  for (const auto& fd : packet.descriptors) EXPECT_EQ(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  char read[6] = {};
  ASSERT_EQ(::pread(packet.descriptors[0].get(), read, 5, 0), 5);
  EXPECT_STREQ(read, "hello");
  ring(packet.descriptors[1].get());
  EXPECT_TRUE(test::was_rung(bell.get()));
}

TEST_F(Channel, CarriesDescriptorsWithoutBytes) {
  const auto bell = create_bell().value();
  const int one[] = {bell.get()};
  ASSERT_TRUE(ours.send({}, one, deadline_in(10s)));
  const auto packet = receive().value();
  EXPECT_EQ(packet.bytes, 0U);
  EXPECT_EQ(packet.descriptors.size(), 1U);
}

TEST_F(Channel, CarriesAsManyDescriptorsAsItSaysAndRefusesOneMore) {
  const auto bell = create_bell().value();
  const std::vector<int> all(SocketChannel::descriptors_max, bell.get());
  ASSERT_TRUE(ours.send(bytes_of("x"), all, deadline_in(10s)));
  EXPECT_EQ(receive().value().descriptors.size(), SocketChannel::descriptors_max);

  const std::vector<int> more(SocketChannel::descriptors_max + 1, bell.get());
  EXPECT_EQ(kind_of(ours.send(bytes_of("x"), more, deadline_in(1s))), "invalid");
}

TEST_F(Channel, ClosesDescriptorsThatNobodyTakes) {
  const auto bell = create_bell().value();
  const int one[] = {bell.get()};
  ASSERT_TRUE(ours.send(bytes_of("x"), one, deadline_in(10s)));
  ASSERT_TRUE(receive());
}

TEST_F(Channel, SaysThatDescriptorsWereLostWhenThereIsNoRoomForThem) {
  const auto bell = create_bell().value();
  const std::vector<int> four(4, bell.get());
  // Whether room is left for some of them or for none, and whether there are bytes beside them.
  for (const unsigned room : {0U, 2U}) {
    for (const std::string_view bytes : {"x", ""}) {
      ASSERT_TRUE(ours.send(bytes_of(bytes), four, deadline_in(10s)));
      ASSERT_TRUE(ours.send(bytes_of("next"), {}, deadline_in(10s)));
      test::Forked child{[&] {
        const OwnedFd first_free{::dup(0)};
        const auto top = static_cast<rlim_t>(first_free.get());
        const rlimit limit{top + room, top + room};
        if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
        if (::close(first_free.get()) != 0) return 2;
        const auto before = open_below(32);
        const auto lost = receive();
        if (lost || lost.error().kind != ErrorKind::exhausted) return 3;
        if (lost.error().text.find("ulimit") == std::string::npos) return 4;
        if (open_below(32) != before) return 5;
        const auto next = receive();
        return next && text(*next) == "next" ? 0 : 6;
      }};
      EXPECT_EQ(child.exit_code(deadline_in(20s)), 0) << "room for " << room << ", bytes: '" << bytes << "'";
      while (theirs.receive(buffer, Clock::now())) {}
    }
  }
}

TEST_F(Channel, SaysThatAPacketWasLargerThanItsBuffer) {
  const auto bell = create_bell().value();
  const int one[] = {bell.get()};
  ASSERT_TRUE(ours.send(bytes_of("too long"), one, deadline_in(10s)));
  ASSERT_TRUE(ours.send(bytes_of("ok"), {}, deadline_in(10s)));
  std::array<std::byte, 4> small{};
  EXPECT_EQ(kind_of(theirs.receive(small, deadline_in(10s))), "malformed");
  EXPECT_EQ(theirs.receive(small, deadline_in(10s)).value().bytes, 2U)
      << "the packet is gone, the next one is not";
}

TEST_F(Channel, TimesOutNotBeforeTheDeadline) {
  const auto deadline = deadline_in(3ms);
  EXPECT_EQ(kind_of(theirs.receive(buffer, deadline)), "timed_out");
  EXPECT_GE(Clock::now(), deadline);
  EXPECT_EQ(kind_of(theirs.receive(buffer, Clock::now() - 1s)), "timed_out");
}

TEST_F(Channel, TimesOutWhenThePeerDoesNotRead) {
  const auto packet = pattern(1, 32 * 1024);
  const auto deadline = deadline_in(20ms);
  std::size_t sent = 0;
  auto result = Result<void>{};
  while ((result = ours.send(packet, {}, deadline))) ++sent;
  EXPECT_EQ(kind_of(result), "timed_out");
  EXPECT_GE(Clock::now(), deadline);
  for (std::size_t i = 0; i < sent; ++i) EXPECT_EQ(receive().value().bytes, packet.size());
  EXPECT_EQ(kind_of(receive(0ns)), "timed_out") << "what timed out was not sent";
}

TEST_F(Channel, IsClosedOnceEverythingSentBeforeHasBeenReceived) {
  ASSERT_TRUE(ours.send(bytes_of("last words"), {}, deadline_in(10s)));
  ours = SocketChannel{};
  EXPECT_EQ(text(receive().value()), "last words");
  EXPECT_EQ(kind_of(receive()), "closed");
  EXPECT_EQ(kind_of(theirs.send(bytes_of("x"), {}, deadline_in(1s))), "closed");
}

TEST_F(Channel, IsClosedOnlyThenAlsoIfThePeerLeftSomethingUnread) {
  ASSERT_TRUE(theirs.send(bytes_of("never read"), {}, deadline_in(10s)));
  ASSERT_TRUE(ours.send(bytes_of("last words"), {}, deadline_in(10s)));
  ours = SocketChannel{};
  EXPECT_EQ(text(receive().value()), "last words");
  EXPECT_EQ(kind_of(receive()), "closed");
  EXPECT_EQ(kind_of(receive()), "closed");
}

TEST_F(Channel, WakesItsReaderWhenThePeerCloses) {
  std::thread closer{[&] { ours = SocketChannel{}; }};
  EXPECT_EQ(kind_of(receive()), "closed");
  closer.join();
}

TEST_F(Channel, WithoutADescriptorIsAnError) {
  const SocketChannel none;
  EXPECT_FALSE(none);
  EXPECT_FALSE(none.send(bytes_of("x"), {}, deadline_in(1s)));
  EXPECT_FALSE(none.receive(buffer, deadline_in(1s)));
  EXPECT_FALSE(ours.send(bytes_of("x"), std::array{-1}, deadline_in(1s))) << "a descriptor that is none";
}

TEST_F(Channel, DeliversOnlyWholePacketsOfASenderThatIsKilled) {
  constexpr int kills = 100;
  std::size_t packets = 0;
  for (int i = 0; i < kills; ++i) {
    SocketChannel sending;
    SocketChannel receiving;
    std::tie(sending, receiving) = SocketChannel::create_pair().value();
    test::Forked child{[&] {
      receiving = SocketChannel{};
      for (std::uint64_t n = 0;; ++n) {
        auto bytes = pattern(n, 1 + n * 977 % 20'000);
        if (!sending.send(bytes, {}, deadline_in(10s))) return 1;
      }
    }};
    sending = SocketChannel{};
    std::uint64_t n = 0;
    for (; n < static_cast<std::uint64_t>(i % 10); ++n)
      ASSERT_TRUE(receiving.receive(buffer, deadline_in(10s)));
    child.kill();
    for (;; ++n) {
      const auto packet = receiving.receive(buffer, deadline_in(10s));
      if (!packet) {
        ASSERT_EQ(kind_of(packet), "closed");
        break;
      }
      const auto expected = pattern(n, 1 + n * 977 % 20'000);
      ASSERT_EQ(packet->bytes, expected.size()) << "torn";
      ASSERT_EQ(std::memcmp(buffer.data(), expected.data(), expected.size()), 0) << "torn";
      ++packets;
    }
  }
  std::printf("socket channel: %d kills, %zu packets after them, 0 torn\n", kills, packets);
}

}  // namespace
}  // namespace troupe
