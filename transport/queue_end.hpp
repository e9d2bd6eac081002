// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/descriptor_store.hpp>
#include <troupe/transport/liveness.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/transport/select.hpp>
#include <vector>

namespace troupe {

/// Bytes that are a message by themselves.
using Bytes = std::vector<std::byte>;

/// What a put does that finds no room. Whatever is dropped is counted (QueueCounts).
enum class Overflow : std::uint8_t {
  block,     ///< waits for room until its deadline, then `timed_out`
  fail,      ///< `full` at once
  drop_new,  ///< drops what was to be put
  drop_old,  ///< drops the oldest of this sender's that nobody has in hand
  latest,    ///< room or not: drops all of this sender's earlier ones that nobody has in hand
};

/// What became of a put that did not fail.
enum class Placed : std::uint8_t {
  queued,   ///< it outlives its sender. Over ZeroMQ not its owner; and its sender, if unconfirmed_puts_max is
            ///< more than 0, only once flush() has returned
  dropped,  ///< Overflow::drop_new, or nothing older could be dropped
};

/// Bounds and habits of a queue; the same for all its ends.
struct QueueOptions {
  std::string name = "queue";         ///< for messages to people
  std::size_t items_max = 1024;       ///< of one sender, put and not yet acknowledged
  std::size_t bytes_max = 2U << 20U;  ///< of one sender, each item rounded up to 8; also the largest item
  std::size_t senders_max = 16;       ///< at a time, those on their way to a process included
  std::size_t ends_max = 64;          ///< senders, receivers and the owner; at most 128
  std::uint32_t attempts_max = 3;     ///< one more than these, and an item goes to the quarantine
  Overflow overflow = Overflow::block;
  // Where the queue is in another process's hands (over ZeroMQ):
  std::size_t ahead_items_max = 64;         ///< sent to a receiver before it asks; 0: none; at most 512
  std::size_t ahead_bytes_max = 1U << 20U;  ///< of these; one fits always
  std::size_t unconfirmed_puts_max = 0;     ///< of a sender, returned before the item is safe from its death
};

/// Of a queue since it was made. Exact when nobody works on it.
struct QueueCounts {
  std::uint64_t put = 0;  ///< queued
  std::uint64_t acknowledged = 0;
  std::uint64_t given_back = 0;  ///< by a receiver, or since it died
  std::uint64_t quarantined = 0;
  std::uint64_t refused_full = 0;  ///< puts that ended `full` or `timed_out`
  std::uint64_t dropped_new = 0;
  std::uint64_t dropped_old = 0;
  std::uint64_t replaced = 0;  ///< dropped by Overflow::latest

  friend bool operator==(const QueueCounts&, const QueueCounts&) = default;
};

/// An item that nobody is offered any more, and why.
struct QuarantinedItem {
  enum class Cause : std::uint8_t { attempts, given_up, malformed };
  Cause cause = Cause::attempts;
  std::uint32_t attempts = 0;
  std::uint64_t type = 0;  ///< type_id of the message
  std::vector<std::byte> bytes{};
};

/// Who holds what of a queue: for an error that says why it is not empty.
struct Holder {
  ProcessMark process{};
  std::size_t items = 0;  ///< taken and not acknowledged
};

namespace detail {

inline constexpr std::size_t size_tag_bytes = sizeof(std::uint64_t);  ///< in front of encoded Bytes

enum class Settlement : std::uint8_t {
  acknowledge,  ///< done
  give_back,    ///< to somebody else, with attempt + 1
  give_up,      ///< to the quarantine
  malformed,    ///< to the quarantine: its bytes do not decode
};

/// An item in the hand of one receiver.
struct Taken {
  std::uint64_t ticket = 0;  ///< settles it
  std::uint64_t type = 0;
  std::uint32_t attempt = 1;           ///< 1 is the first
  std::span<const std::byte> bytes{};  ///< valid until it is settled; may be memory that others can write
  bool with_descriptors = false;       ///< QueueReceiver::descriptors() has what belongs to it
};

/// How an end comes to another process: bytes and the descriptors that they speak of.
struct QueuePass {
  std::vector<std::byte> bytes{};
  std::vector<OwnedFd> descriptors{};
  /// To be called with the process that gets it, once that is known: from then on that answers for it. Until
  /// then a sender on its way lives as long as this function.
  std::function<void(const ProcessMark& process)> once_known{};
};

/// What pass() gave, at its destination, whatever carries the queue.
[[nodiscard]] Result<std::unique_ptr<class QueueSender>> arrived_sender(QueuePass pass);
[[nodiscard]] Result<std::unique_ptr<class QueueReceiver>> arrived_receiver(QueuePass pass);

/// The sending end of a queue, below types. One thread at a time (SharedEnd has the lock).
class QueueSender {
 public:
  QueueSender() = default;
  QueueSender(const QueueSender&) = delete;
  QueueSender& operator=(const QueueSender&) = delete;
  virtual ~QueueSender() = default;  ///< an end that is gone holds the stream open no longer

  /// Room for at least `bytes`; empty if overflow drops this put. `timed_out`, `full`; `closed` when the
  /// queue has ended; `invalid` for what can never fit.
  [[nodiscard]] virtual Result<std::span<std::byte>> reserve(std::size_t bytes, Deadline& deadline) = 0;
  /// Where the descriptors of the item that is encoded next are put, behind reserve(): they go with the next
  /// commit(). Null where the carrier cannot carry any.
  [[nodiscard]] virtual DescriptorStore* descriptors() { return nullptr; }
  /// Puts the first `bytes` bytes of what the last reserve() gave. When it returns the item outlives this
  /// process.
  [[nodiscard]] virtual Result<void> commit(std::uint64_t type, std::size_t bytes, Deadline& deadline) = 0;
  /// Waits until all that was put outlives this process, where commit() did not (unconfirmed_puts_max).
  [[nodiscard]] virtual Result<void> flush(Deadline& deadline) = 0;
};

/// The receiving end. One thread at a time.
class QueueReceiver {
 public:
  QueueReceiver() = default;
  QueueReceiver(const QueueReceiver&) = delete;
  QueueReceiver& operator=(const QueueReceiver&) = delete;
  virtual ~QueueReceiver() = default;  ///< gives back what is in hand

  /// `timed_out`; `closed` when the queue has ended: closed by its owner (or the owner died), no sender left,
  /// and nothing in it but what this end itself has in hand. `exhausted` without memory for what has to go to
  /// the quarantine: it stays where it is.
  [[nodiscard]] virtual Result<Taken> take(Deadline& deadline) = 0;
  /// Of an item in hand, each time anew.
  [[nodiscard]] virtual Result<std::vector<OwnedFd>> descriptors(std::uint64_t /*ticket*/) {
    return std::vector<OwnedFd>{};
  }
  /// `refused` for a ticket that is not in hand.
  [[nodiscard]] virtual Result<void> settle(std::uint64_t ticket, Settlement settlement) = 0;
  /// Ready when take() would not wait.
  [[nodiscard]] virtual Waitable readable() = 0;
};

/// What a drain says at its deadline.
[[nodiscard]] Error not_drained(std::string_view name, std::size_t size, const std::vector<Holder>& holders);

/// A queue as its ends' processes see it, below types.
class QueueAccess {
 public:
  QueueAccess() = default;
  QueueAccess(const QueueAccess&) = delete;
  QueueAccess& operator=(const QueueAccess&) = delete;
  virtual ~QueueAccess() = default;

  [[nodiscard]] virtual Result<std::unique_ptr<QueueSender>> sender() = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<QueueReceiver>> receiver() = 0;
  enum class End : std::uint8_t { sender, receiver };
  /// An end for another process. A sender on its way counts as one: it holds the stream open until it has
  /// arrived and ended there, or is given up (QueuePass::once_known).
  [[nodiscard]] virtual Result<QueuePass> pass(End end) = 0;

  /// Copies of the descriptors by which another process attaches to it; `refused` where the carrier has none.
  [[nodiscard]] virtual Result<std::vector<OwnedFd>> descriptors() const = 0;

  /// By the owner: no new senders; when those that there are have ended, and all is acknowledged, the stream
  /// ends.
  virtual void close() noexcept = 0;
  [[nodiscard]] virtual std::size_t size() = 0;  ///< put and not yet acknowledged
  /// Waits until all that was put is acknowledged (or in the quarantine). `timed_out` names the holders.
  [[nodiscard]] virtual Result<void> drain(TimePoint deadline) = 0;
  [[nodiscard]] virtual std::vector<Holder> holders() = 0;
  [[nodiscard]] virtual QueueCounts counts() = 0;
  [[nodiscard]] virtual std::vector<QuarantinedItem> quarantine() = 0;
};

}  // namespace detail
}  // namespace troupe
