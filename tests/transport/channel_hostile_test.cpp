// SPDX-License-Identifier: MIT
// Peers that break a channel's format, byte by byte, and streams that end in the middle of a frame.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <thread>
#include <troupe/transport/channel_layout.hpp>
#include <troupe/transport/descriptor_passing.hpp>

#include "transport/carriers.hpp"
#include "transport/channel_cases/fixture.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::kind_of;
using test::pattern;
using test::soon;

constexpr std::size_t frame_bytes_max = 1000;

std::vector<std::byte> joined(std::initializer_list<std::span<const std::byte>> pieces) {
  std::vector<std::byte> all;
  for (const auto piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
  return all;
}

long resident_kib_max() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

template <class T>
std::span<const std::byte> raw(const T& value) {
  return std::as_bytes(std::span{&value, 1});
}

// ---- streams ---------------------------------------------------------------------------------------

/// The check of docs/channels.md, written down a second time.
channel::StreamHeader header_of(std::uint32_t length, std::uint32_t sequence, std::uint16_t descriptors = 0) {
  channel::StreamHeader header{length, sequence, descriptors, channel::stream_magic, 0};
  std::uint64_t x = std::uint64_t{length} << 32U ^ sequence ^ std::uint64_t{descriptors} << 16U ^
                    std::uint64_t{header.magic} << 40U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  header.check = static_cast<std::uint32_t>(x ^ (x >> 32U));
  return header;
}

constexpr auto whole = channel::Ending::whole;
constexpr auto given_up = channel::Ending::given_up;

std::vector<std::byte> frame(std::uint32_t sequence, std::size_t bytes) {
  const auto payload = pattern(sequence, bytes);
  return joined({raw(header_of(static_cast<std::uint32_t>(bytes), sequence)), payload, raw(whole)});
}

class HostileStream : public test::NothingLeft, public testing::WithParamInterface<Carrier> {
 protected:
  HostileStream() { create(); }
  void create() {
    auto ends = create_channel({.carrier = GetParam(), .frame_bytes_max = frame_bytes_max}).value();
    near = std::move(ends.first);
    far = ends.second->take_parts().value().descriptors;
  }

  void write(std::span<const std::byte> bytes) {
    ASSERT_EQ(::write(far.back().get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  void say(channel::LifeWord word) { ASSERT_EQ(::send(far[0].get(), &word, 1, 0), 1); }
  Result<Channel::Frame> receive(TimePoint deadline = soon()) { return near->receive(buffer, deadline); }
  void expect_malformed() {
    EXPECT_EQ(kind_of(receive()), "malformed");
    EXPECT_EQ(kind_of(receive()), "malformed") << "and of no further use";
  }

  std::unique_ptr<Channel> near;
  std::vector<OwnedFd> far;  // life, then where the peer writes last
  std::vector<std::byte> buffer;
};

INSTANTIATE_TEST_SUITE_P(Carriers, HostileStream, testing::Values(Carrier::pipe, Carrier::stream),
                         [](const auto& one) { return one.param == Carrier::pipe ? "pipe" : "stream"; });

TEST_P(HostileStream, IsReadAsTheFormatSays) {
  write(frame(0, 10));
  write(frame(1, 0));
  EXPECT_TRUE(test::is_numbered(receive().value().bytes, 0, 10));
  EXPECT_TRUE(receive().value().bytes.empty());
}

TEST_P(HostileStream, IsReadHoweverItsBytesAreCut) {
  const auto bytes = joined({frame(0, 10), frame(1, 0), frame(2, 1000)});
  std::uint32_t arrived = 0;
  for (const std::byte byte : bytes) {
    write(raw(byte));
    if (const auto got = receive(Clock::now())) {
      constexpr std::array<std::size_t, 3> sizes{10, 0, 1000};
      EXPECT_TRUE(test::is_numbered(got->bytes, arrived, sizes[arrived]));
      ++arrived;
    }
  }
  EXPECT_EQ(arrived, 3U);
}

TEST_P(HostileStream, IsNotReadableForAFrameThatHasComeInPart) {
  const auto bytes = frame(0, 500);
  for (const std::byte byte : std::span{bytes}.first(bytes.size() - 1)) {
    write(raw(byte));
    ASSERT_EQ(kind_of(select({near->readable()}, 0ns)), "timed_out");
  }
  write(raw(bytes.back()));
  EXPECT_EQ(kind_of(select({near->readable()}, 0ns)), "done");
}

TEST_P(HostileStream, DropsAFrameThatWasGivenUp) {
  const std::vector<std::byte> zeros(500);
  write(joined({raw(header_of(500, 0)), zeros, raw(given_up)}));
  EXPECT_EQ(kind_of(receive(Clock::now())), "timed_out");
  write(frame(1, 10));
  EXPECT_TRUE(test::is_numbered(receive().value().bytes, 1, 10));
}

TEST_P(HostileStream, DropsAFrameThatIsTornByADeathAtEveryByte) {
  const auto bytes = frame(1, 40);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    create();
    write(frame(0, 10));
    write(std::span{bytes}.first(cut));
    if (cut % 2 == 1) {
      EXPECT_TRUE(receive());
      EXPECT_EQ(kind_of(receive(Clock::now())), "timed_out");
      far.clear();
    } else {
      far.clear();
      EXPECT_TRUE(receive());
    }
    EXPECT_EQ(kind_of(receive()), "down") << "torn at byte " << cut;
    EXPECT_EQ(kind_of(receive()), "down");
  }
}

TEST_P(HostileStream, DropsATornFrameOfAnEndThatClosedInOrder) {
  const auto bytes = frame(0, 100);
  write(std::span{bytes}.first(50));
  say(channel::LifeWord::gone);
  far.clear();
  EXPECT_EQ(kind_of(receive()), "closed");
}

TEST_P(HostileStream, RefusesEveryHeaderWithOneBitWrong) {
  const auto good = frame(0, 10);
  for (std::size_t bit = 0; bit < 8 * sizeof(channel::StreamHeader); ++bit) {
    create();
    auto bad = good;
    bad[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    write(bad);
    ASSERT_EQ(kind_of(receive()), "malformed") << "bit " << bit;
  }
}

TEST_P(HostileStream, RefusesATooLongFrameBeforeAnythingIsAllocatedForIt) {
  write(frame(0, 10));
  ASSERT_TRUE(receive());
  for (const std::uint32_t length : {std::uint32_t{frame_bytes_max + 1}, 0xFFFF'FFFFU}) {
    create();
    write(raw(header_of(length, 0)));
    const auto before = resident_kib_max();
    expect_malformed();
    EXPECT_LT(resident_kib_max() - before, 256 * 1024) << "of 4 GiB that were announced";
    EXPECT_LE(buffer.capacity(), frame_bytes_max);
  }
}

TEST_P(HostileStream, RefusesAFrameOutOfItsTurn) {
  write(frame(0, 10));
  ASSERT_TRUE(receive());
  write(frame(0, 10));
  expect_malformed();
}

TEST_P(HostileStream, RefusesAFrameThatEndsInNeitherWay) {
  const auto payload = pattern(0, 10);
  write(joined({raw(header_of(10, 0)), payload, raw(std::byte{2})}));
  expect_malformed();
}

TEST_P(HostileStream, RefusesAFrameWithoutTheDescriptorsThatItAnnounces) {
  const auto payload = pattern(0, 10);
  write(joined({raw(header_of(10, 0, 1)), payload, raw(whole)}));
  expect_malformed();
}

TEST_P(HostileStream, RefusesALifeSocketThatBabbles) {
  say(static_cast<channel::LifeWord>(77));
  far.erase(far.begin() + 1, far.end());
  EXPECT_EQ(kind_of(receive()), "malformed");
  EXPECT_EQ(kind_of(near->send({}, {}, soon())), "malformed");
}

TEST_P(HostileStream, TakesAStreamThatEndsWithoutAWordForADeath) {
  far.erase(far.begin() + 1, far.end());  // the life socket stays
  EXPECT_EQ(kind_of(receive()), "down");
  EXPECT_EQ(kind_of(near->send({}, {}, soon())), "down");
}

TEST_P(HostileStream, KeepsSigpipeAsItWas) {
  if (GetParam() != Carrier::pipe) GTEST_SKIP() << "a socket has MSG_NOSIGNAL";
  test::Forked child{[&] {
    auto ends = create_channel({.carrier = Carrier::pipe}).value();
    ends.second.reset();
    ::signal(SIGPIPE, SIG_DFL);
    if (kind_of(ends.first->send({}, {}, soon())) != "closed") return 1;
    sigset_t set{};
    ::sigpending(&set);
    if (::sigismember(&set, SIGPIPE) == 1) return 2;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &set);
    return ::sigismember(&set, SIGPIPE) == 1 ? 3 : 0;
  }};
  EXPECT_EQ(child.exit_code(soon()), 0);
}

/// Sends bytes with descriptors on the peer's socket.
void send_with(int socket, std::span<const std::byte> bytes, std::size_t descriptors) {
  const std::vector<int> copies(descriptors, socket);
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  detail::PassingSpace space;
  detail::attach_descriptors(message, space, copies);
  ASSERT_EQ(::sendmsg(socket, &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

class HostileSocket : public HostileStream {};
INSTANTIATE_TEST_SUITE_P(Carriers, HostileSocket, testing::Values(Carrier::stream),
                         [](const auto&) { return "stream"; });

TEST_P(HostileSocket, RefusesDescriptorsThatNoFrameAnnounces) {
  send_with(far[1].get(), frame(0, 10), 2);
  ASSERT_TRUE(receive());
  expect_malformed();
}

TEST_P(HostileSocket, RefusesOtherDescriptorsThanAnnounced) {
  const auto payload = pattern(0, 10);
  send_with(far[1].get(), joined({raw(header_of(10, 0, 3)), payload, raw(whole)}), 2);
  expect_malformed();
}

TEST_P(HostileSocket, DoesNotCollectDescriptors) {
  const auto bytes = frame(0, 500);
  for (const std::byte byte : std::span{bytes}.first(100)) send_with(far[1].get(), raw(byte), 4);
  expect_malformed();
}

// ---- packets ---------------------------------------------------------------------------------------

class HostilePackets : public test::NothingLeft {
 protected:
  HostilePackets() { create(); }
  void create() {
    auto ends = create_channel({.carrier = Carrier::packet, .frame_bytes_max = frame_bytes_max}).value();
    near = std::move(ends.first);
    far = ends.second->take_parts().value().descriptors;
  }
  Result<Channel::Frame> receive() { return near->receive(buffer, soon()); }

  std::unique_ptr<Channel> near;
  std::vector<OwnedFd> far;
  std::vector<std::byte> buffer;
};

TEST_F(HostilePackets, AreRefusedWhateverRuleTheyBreak) {
  const auto payload = pattern(0, 10);
  const auto packet = [&](std::uint32_t length, std::uint16_t descriptors, std::uint16_t magic) {
    return joined({raw(channel::PacketHeader{length, descriptors, magic}), payload});
  };
  const auto magic = channel::packet_magic;
  const auto too_long = pattern(1, frame_bytes_max + 1);
  const std::vector<std::vector<std::byte>> broken{
      packet(9, 0, magic),
      packet(11, 0, magic),
      packet(0xFFFF'FFFFU, 0, magic),
      packet(10, 1, magic),
      packet(10, 0, 7),
      std::vector<std::byte>(7),
      joined({raw(channel::PacketHeader{frame_bytes_max + 1, 0, magic}), too_long}),
  };
  for (const auto& bytes : broken) {
    create();
    ASSERT_EQ(::send(far[1].get(), packet(10, 0, magic).data(), 18, 0), 18);
    ASSERT_EQ(::send(far[1].get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    ASSERT_EQ(::send(far[1].get(), packet(10, 0, magic).data(), 18, 0), 18);
    EXPECT_TRUE(receive());
    EXPECT_EQ(kind_of(receive()), "malformed");
    EXPECT_EQ(kind_of(receive()), "malformed") << "and of no further use";
  }
}

TEST_F(HostilePackets, WithDescriptorsThatNoFrameAnnouncesAreRefused) {
  const auto payload = pattern(0, 10);
  send_with(far[1].get(), joined({raw(channel::PacketHeader{10, 0, channel::packet_magic}), payload}), 1);
  EXPECT_EQ(kind_of(receive()), "malformed");
}

TEST(ChannelOptions, ThatCannotBeAreRefused) {
  EXPECT_EQ(kind_of(create_channel({.frame_bytes_max = channel::frame_bytes_limit + 1})), "invalid");
  EXPECT_EQ(kind_of(create_channel({.carrier = Carrier::packet, .frame_bytes_max = 100'000})), "invalid");
  EXPECT_EQ(kind_of(create_channel({.carrier = static_cast<Carrier>(9)})), "invalid");
  for (const auto carrier : test::carriers) {
    EXPECT_EQ(kind_of(channel_from({.carrier = carrier, .frame_bytes_max = 10})), "invalid");
    std::vector<OwnedFd> none(7);
    EXPECT_EQ(kind_of(channel_from({carrier, 10, std::move(none)})), "invalid");
  }
}

TEST(ChannelOptions, ReachUpToAMebibyte) {
  for (const auto carrier : {Carrier::shared_memory, Carrier::pipe, Carrier::stream}) {
    auto ends = create_channel({.carrier = carrier, .frame_bytes_max = channel::frame_bytes_limit}).value();
    std::thread sender{
        [&] { EXPECT_TRUE(ends.first->send(pattern(3, channel::frame_bytes_limit), {}, soon())); }};
    std::vector<std::byte> buffer;
    const auto got = ends.second->receive(buffer, soon());
    sender.join();
    EXPECT_TRUE(got && test::is_numbered(got->bytes, 3, channel::frame_bytes_limit));
  }
}

}  // namespace
}  // namespace troupe
