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

// ---- Queues ---------------------------------------------------------------------------------------------

/// Largest item, for any queue: what a connecting end accepts before it knows the queue's own bound.
inline constexpr std::size_t item_bytes_max = std::size_t{256} << 20U;

enum class QueueKind : std::uint8_t {
  who = 1,      ///< owner → end: who are you? Said to each new connection
  hello = 2,    ///< end → owner; QueueHello follows
  welcome = 3,  ///< owner → end; QueueWelcome follows
  refused = 4,  ///< owner → end; a text follows
  // End → owner. Each has a number and is answered once; what was not answered is sent again over the next
  // connection, and done once all the same.
  put = 16,      ///< a: type; the item follows
  room = 17,     ///< a: bytes for which to drop the oldest, or all with b = 1
  want = 18,     ///< the next item, as soon as there is one
  settle = 19,   ///< a: ticket, b: Settlement
  leave = 20,    ///< a: the last `want` whose item the program has seen; what is in hand goes back
  dropped = 21,  ///< a: puts dropped, b: puts that found it full; since this end was made
  expect = 22,   ///< a sender is to come, with the token that is answered in a
  query = 23,    ///< a: Query
  empty = 24,    ///< answered when nothing is in the queue
  unwant = 25,   ///< a: a `want`, or an `empty`, to be answered at once. Has no answer itself
  // Owner → end.
  answer = 32,  ///< to the request of this number; a and b as it asks
  freed = 33,   ///< to a sender: a: items, b: bytes that left the queue, of all that it has put
  gone = 34,    ///< the owner has let go of the queue
};
enum class QueueStatus : std::uint16_t { ok = 0, nothing = 1, ended = 2, refused = 3 };
enum class QueueRole : std::uint8_t { access = 1, sender = 2, receiver = 3 };
enum class Query : std::uint64_t { size = 1, counts = 2, holders = 3, quarantine = 4 };

struct QueueHeader {
  std::uint32_t magic = queue_magic;
  std::uint8_t version = wire::version;
  QueueKind kind{};
  QueueStatus status = QueueStatus::ok;  ///< of an answer
  std::uint64_t session = 0;             ///< chosen by the end
  std::uint64_t number = 0;              ///< of a request, from 1, and of its answer
  std::uint64_t a = 0;
  std::uint64_t b = 0;
};
struct QueueHello {
  std::uint64_t machine;
  std::uint64_t started;
  std::int32_t pid;
  QueueRole role;
  std::uint8_t known;  ///< 1: it has been welcomed before, over a connection that broke
  std::uint16_t zero;
  std::uint64_t token;  ///< of an end that was passed; 0: none
};
struct QueueWelcome {
  std::uint64_t machine;
  std::uint64_t started;
  std::int32_t pid;
  std::uint8_t overflow;
  std::uint8_t zero[3];
  std::uint64_t items_max;
  std::uint64_t bytes_max;
};
/// In front of an item's bytes in the answer to a `want`: a is its ticket, b its attempt.
struct ItemHeader {
  std::uint64_t type;
};

static_assert(sizeof(QueueHeader) == 40 && std::has_unique_object_representations_v<QueueHeader>);
static_assert(sizeof(QueueHello) == 32 && std::has_unique_object_representations_v<QueueHello>);
static_assert(sizeof(QueueWelcome) == 40 && std::has_unique_object_representations_v<QueueWelcome>);

/// What an item counts for in bytes_max.
[[nodiscard]] constexpr std::uint64_t counted(std::uint64_t bytes) noexcept { return (bytes + 7) / 8 * 8; }

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
