// SPDX-License-Identifier: MIT
// A hostile peer at a pipe and at a stream socket: raw bytes, and headers that are sound but for what they
// say.

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/channel_layout.hpp>

#include "target.hpp"

namespace troupe::fuzz {
namespace {

constexpr std::size_t frame_bytes_max = 300;
constexpr std::size_t stream_max = 4096;  // below what the smallest pipe holds: a write never waits

/// The check of docs/channels.md.
channel::StreamHeader sound(channel::StreamHeader header) {
  std::uint64_t x = std::uint64_t{header.length} << 32U ^ header.sequence ^
                    std::uint64_t{header.descriptors} << 16U ^ std::uint64_t{header.magic} << 40U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  header.check = static_cast<std::uint32_t>(x ^ (x >> 32U));
  return header;
}

enum class Step : std::uint8_t { raw, header, life, receive };

void write(int fd, std::span<const std::byte> bytes) {
  TROUPE_ASSERT(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

void receive(Channel& near, Bytes& buffer) {
  while (const auto frame = near.receive(buffer, Clock::now()))
    TROUPE_ASSERT(frame->bytes.size() <= frame_bytes_max && frame->descriptors.empty());
}

}  // namespace

void run(std::span<const std::byte> bytes) {
  Input input{bytes.first(std::min(bytes.size(), stream_max))};
  const auto carrier = input.take<std::uint8_t>() % 2 == 0 ? Carrier::pipe : Carrier::stream;
  auto ends = create_channel({.carrier = carrier, .frame_bytes_max = frame_bytes_max}).value();
  auto far =
      ends.second->take_parts().value().descriptors;  // the life socket, then where the peer writes last
  Bytes buffer;
  while (!input.rest().empty()) {
    switch (static_cast<Step>(input.take<std::uint8_t>() % 4)) {
      case Step::raw: write(far.back().get(), input.take_bytes(input.take<std::uint8_t>())); break;
      case Step::header: {
        const auto header = sound({input.take<std::uint16_t>(), input.take<std::uint8_t>(),
                                   input.take<std::uint8_t>(), channel::stream_magic, 0});
        write(far.back().get(), bytes_of(header));
        break;
      }
      case Step::life: {
        const auto word = input.take<std::uint8_t>();
        [[maybe_unused]] const auto sent = ::send(far.front().get(), &word, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
      }
      case Step::receive: receive(*ends.first, buffer); break;
    }
  }
  far.clear();
  receive(*ends.first, buffer);
  TROUPE_ASSERT(ends.first->receive(buffer, Clock::now()).error().kind != ErrorKind::timed_out);
}

std::vector<Bytes> seeds() {
  const auto frame = [](std::uint8_t sequence) {
    return bytes_of(Step::header, std::array<std::uint8_t, 4>{5, 0, sequence, 0}, Step::raw, std::uint8_t{6},
                    std::array<char, 5>{'h', 'e', 'l', 'l', 'o'}, channel::Ending::whole, Step::receive);
  };
  std::vector<Bytes> all;
  for (const auto carrier : {std::byte{0}, std::byte{1}}) {
    Bytes two{carrier};
    for (const auto& one : {frame(0), frame(1)}) two.insert(two.end(), one.begin(), one.end());
    all.push_back(two);
    const auto gone = bytes_of(Step::life, channel::LifeWord::gone);
    two.insert(two.end(), gone.begin(), gone.end());
    all.push_back(two);
  }
  return all;
}

}  // namespace troupe::fuzz
