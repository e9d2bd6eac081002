// SPDX-License-Identifier: MIT
#pragma once
// Internal. What goes over ZeroMQ sockets; the page that explains it is docs/zmq.md.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace troupe::zmq::wire {

static_assert(std::endian::native == std::endian::little, "the formats below are little-endian");

inline constexpr std::uint32_t channel_magic = 0x314C'5A54;  // "TZL1"
inline constexpr std::uint32_t queue_magic = 0x3151'5A54;    // "TZQ1"
inline constexpr std::uint8_t version = 1;

/// Longest text that a `refused` may carry.
inline constexpr std::size_t text_bytes_max = 512;

// ---- Channels -------------------------------------------------------------------------------------------

enum class ChannelKind : std::uint8_t {
  who = 1,       ///< listening → connecting: who are you? Said to each new connection
  hello = 2,     ///< connecting → listening; Hello follows
  welcome = 3,   ///< listening → connecting; Hello follows
  refused = 4,   ///< listening → connecting; a text follows
  data = 5,      ///< a frame follows
  end = 6,       ///< nothing more will be sent; numbered like a frame
  skip = 7,      ///< what you do not have up to `sequence` is lost
  progress = 8,  ///< only the numbers in the header
  blocked = 9,   ///< the sender waits for room: tell each step of progress
  gone = 10,     ///< this end neither sends nor receives any more
  gone_seen = 11,
  probe = 12,  ///< means nothing: whether it can be sent tells whether the connection is there
};

struct ChannelHeader {
  std::uint32_t magic;
  std::uint8_t version;
  ChannelKind kind;
  std::uint16_t zero;
  std::uint64_t session;   ///< chosen by the connecting end, in all but `who` and `refused`
  std::uint64_t sequence;  ///< of data, end and skip, from 1
  std::uint64_t received;  ///< the highest sequence that has come in
  std::uint64_t consumed;  ///< the highest that has been taken by the receiver's program
};

/// What two ends tell each other of themselves.
struct Hello {
  std::uint64_t machine;
  std::uint64_t started;
  std::int32_t pid;
  std::uint32_t delivery;  ///< 1: at most once, 2: at least once
  std::uint64_t frame_bytes_max;
  std::uint64_t window_bytes_max;
  std::uint32_t window_frames_max;
  std::uint32_t zero;
};

static_assert(sizeof(ChannelHeader) == 40 && std::has_unique_object_representations_v<ChannelHeader>);
static_assert(sizeof(Hello) == 48 && std::has_unique_object_representations_v<Hello>);

// ---- Both -----------------------------------------------------------------------------------------------

template <class T>
[[nodiscard]] std::span<const std::byte> bytes_of(const T& value) noexcept {
  static_assert(std::has_unique_object_representations_v<T>);
  return std::as_bytes(std::span{&value, 1});
}

/// The first bytes as a T, none if there are not enough.
template <class T>
[[nodiscard]] std::optional<T> read(std::span<const std::byte> bytes) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace troupe::zmq::wire
