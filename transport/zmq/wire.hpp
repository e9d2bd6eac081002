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
/// Most items that a receiver may be sent ahead, for any queue: fewer than a socket queues.
inline constexpr std::size_t ahead_items_max = 512;

enum class QueueKind : std::uint8_t {
  who = 1,      ///< owner → end: who are you? Said to each new connection
  hello = 2,    ///< end → owner; QueueHello follows
  welcome = 3,  ///< owner → end; QueueWelcome follows
  refused = 4,  ///< owner → end; a text follows
  // End → owner, numbered in the order in which they are sent. Those in the second group are answered, of the
  // others it is said that they are `done`; what was neither is sent again over the next connection, and the
  // others are done once all the same.
  put = 16,      ///< a: type; the item follows
  want = 18,     ///< a: the last item begun, b: how many beyond it may be sent; 0: one, once
  settle = 19,   ///< a: ticket, b: Settlement. That item, and each before it, has been begun
  dropped = 21,  ///< a: puts dropped, b: puts that found it full; since this end was made
  unwant = 25,   ///< no more, a: the last item begun, b = 1: what lies beyond goes back; or no more `empty`
  room = 17,     ///< a: bytes for which to drop the oldest, or all with b = 1
  leave = 20,    ///< a: the last item begun; what is in hand goes back
  expect = 22,   ///< a sender is to come, with the token that is answered in a
  query = 23,    ///< a: Query
  empty = 24,    ///< answered when nothing is in the queue
  // Owner → end.
  answer = 32,  ///< to the request of this number; a and b as it asks
  done = 33,    ///< up to this number. To a sender a: items, b: bytes that left the queue, of all it has put
  gone = 34,    ///< the owner lets go of the queue; answered by `leave`
  item = 35,    ///< its number counts this receiver's, a: ticket, b: attempt; ItemHeader and the item follow
  ended = 36,   ///< to the `want` of this number: nothing will come any more
};
enum class QueueStatus : std::uint16_t { ok = 0, nothing = 1, refused = 3 };
enum class QueueRole : std::uint8_t { access = 1, sender = 2, receiver = 3 };
enum class Query : std::uint64_t { size = 1, counts = 2, holders = 3, quarantine = 4 };

struct QueueHeader {
  std::uint32_t magic = queue_magic;
  std::uint8_t version = wire::version;
  QueueKind kind{};
  QueueStatus status = QueueStatus::ok;  ///< of an answer
  std::uint64_t session = 0;             ///< chosen by the end
  std::uint64_t number = 0;              ///< of a request, from 1, and of its answer; of a welcome: `done`
  std::uint64_t a = 0;
  std::uint64_t b = 0;
};
/// In its header a: the last item that has come over earlier connections.
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
  std::uint64_t ahead_items_max;
  std::uint64_t unconfirmed_puts_max;
};
/// In front of an item's bytes.
struct ItemHeader {
  std::uint64_t type;
  std::uint64_t want;  ///< the number of that for which it was given
};
/// The bytes of the item follow.
struct QueueItem {
  QueueHeader header;
  ItemHeader item;
};

static_assert(sizeof(QueueItem) == 56 && std::has_unique_object_representations_v<QueueItem>);
static_assert(sizeof(QueueHeader) == 40 && std::has_unique_object_representations_v<QueueHeader>);
static_assert(sizeof(QueueHello) == 32 && std::has_unique_object_representations_v<QueueHello>);
static_assert(sizeof(QueueWelcome) == 56 && std::has_unique_object_representations_v<QueueWelcome>);

/// How many items a receiver may begin of which its owner has not confirmed to know: so that a death leaves
/// no more than these in doubt.
[[nodiscard]] constexpr std::uint64_t doubtful_max(std::uint64_t window_max) noexcept {
  constexpr std::uint64_t share = 4;
  return window_max < share ? 1 : window_max / share;
}

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
