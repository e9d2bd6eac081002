// SPDX-License-Identifier: MIT
#pragma once
// Internal. What channels write into pipes and sockets; the page that explains it is docs/channels.md.

#include <cstddef>
#include <cstdint>
#include <troupe/transport/lane_layout.hpp>

namespace troupe::channel {

/// Upper bound of ChannelOptions::frame_bytes_max, for every carrier.
inline constexpr std::size_t frame_bytes_limit = lane::frame_bytes_max - sizeof(lane::FrameHeader);

inline constexpr std::uint16_t stream_magic = 0x5331;  // "1S"
inline constexpr std::uint16_t packet_magic = 0x5031;  // "1P"

/// In front of every frame in a stream; `length` bytes and one Ending follow.
struct StreamHeader {
  std::uint32_t length;
  std::uint32_t sequence;     ///< frames begun before it in this direction, modulo 2³²
  std::uint16_t descriptors;  ///< that came with the header's first byte
  std::uint16_t magic;
  std::uint32_t check;  ///< over the other fields
};

/// The byte behind a frame in a stream.
enum class Ending : std::uint8_t {
  given_up = 0,  ///< its send timed out on the way; what was owed has been filled up with zeros
  whole = 1,
};

/// In front of every frame in a packet: so that an empty one is not an empty packet, which means the end.
struct PacketHeader {
  std::uint32_t length;
  std::uint16_t descriptors;
  std::uint16_t magic;
};

/// What an end says of itself on the life socket, each at most once. Who is killed says nothing.
enum class LifeWord : std::uint8_t {
  sends_no_more = 1,
  gone = 2,  ///< in order: it neither sends nor receives
};

static_assert(sizeof(StreamHeader) == 16 && alignof(StreamHeader) == 4);
static_assert(sizeof(PacketHeader) == 8 && alignof(PacketHeader) == 4);
static_assert(sizeof(Ending) == 1 && sizeof(LifeWord) == 1);

}  // namespace troupe::channel
