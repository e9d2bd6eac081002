// SPDX-License-Identifier: MIT
#pragma once
// Internal. A process's mailbox and its ways to others.

#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <troupe/actors/lanes_in.hpp>
#include <troupe/actors/lanes_out.hpp>
#include <troupe/actors/payload.hpp>
#include <troupe/transport/envelope.hpp>
#include <troupe/transport/spin.hpp>

namespace troupe::detail {

class Outbox;
struct Letter;

/// A question that was posted and has no end yet.
struct OpenQuestion {
  RoleId to = 0;
  std::uint64_t token = 0;
  std::uint64_t offset = 0;  ///< of its frame
  std::uint64_t ends = 0;    ///< of its receiver's, when it was posted
};

/// One process's lanes, in and out, and its waits.
///
/// One per process. Sending and asking: any thread, they take turns. Taking: the actor loop's thread only.
class Endpoint {
 public:
  [[nodiscard]] static Result<Endpoint*> of_process();

  /// Encodes straight into the receiver's lane, or a large value into memory of its own; returns the frame's
  /// offset. `closed` for a role that has ended or never was, `full` when there was no room `within`,
  /// `exhausted` where a limit stands in the way, `invalid` for a value that is too large.
  [[nodiscard]] Result<std::uint64_t> post(const Address& to, const FrameInfo& info,
                                           std::span<const std::byte> prefix, const Payload& payload,
                                           Duration within);

  /// Posts a question, behind all that is in the outbox for its receiver, and waits for the reply, over
  /// restarts of the receiver. Errors beyond post's:
  /// `timed_out`, and `down` when the role has ended; the text says whether its handler had begun.
  [[nodiscard]] Result<ReplyBytes> ask(RoleId to, std::uint64_t type, const Payload& payload,
                                       TimePoint deadline);

  /// Posts a question now or not at all (`full`), and does not wait for its reply: reply_to() says when it is
  /// there. Not in an actor that keeps state, whose questions wait for its outbox. Errors as post's.
  [[nodiscard]] Result<OpenQuestion> open_question(RoleId to, std::uint64_t type, const Payload& payload,
                                                   TimePoint deadline);
  /// How an open question ended: its reply, or `down`; none yet. It is closed once it has ended.
  [[nodiscard]] std::optional<Result<ReplyBytes>> reply_to(const OpenQuestion& question);
  /// Its reply will meet nobody.
  void close_question(const OpenQuestion& question);
  /// For a loop that sleeps on the bell beside other things: true if an open question may have ended, and
  /// then it is not to sleep. Else end_sleep() follows the sleep.
  [[nodiscard]] bool begin_sleep();
  void end_sleep();

  /// From now on mail and replies go there instead of to the lanes: the outbox of an actor that keeps state.
  void use(Outbox& outbox) noexcept { outbox_ = &outbox; }
  /// Of a send that names no time of its own.
  [[nodiscard]] Duration default_patience() const noexcept { return patience_; }
  void set_default_patience(Duration patience) noexcept { patience_ = patience; }

  // ---- taking: the actor loop's thread

  [[nodiscard]] LanesIn& lanes_in() noexcept { return in_; }
  /// Whether the keeper has asked this process to stop.
  [[nodiscard]] bool stop_requested() const noexcept { return stop_; }
  /// Learns what the keeper has to tell, if its word has moved.
  void catch_up();
  [[nodiscard]] bool has_news() const noexcept {
    return link_->notices() != seen_notices_ || (retry_at_ != never && Clock::now() >= retry_at_);
  }
  /// Sleeps until there may be mail or news.
  void sleep(TimePoint deadline);
  /// Sleeps until there may be room for the letter that could not be delivered, or news; mail can wait.
  void sleep_for_room(TimePoint deadline = never);
  enum class Delivery {
    delivered,   ///< or its receiver has ended: as with any send
    no_room,     ///< the bell will ring, or sleep_for_room() ends, when it is worth another try
    impossible,  ///< it can never arrive: larger than the receiver's mailbox
  };
  /// Copies a message from the outbox to its lane if there is room now.
  [[nodiscard]] Delivery try_deliver(const Letter& letter);
  /// Replies that came after their ask had ended.
  void discard_late_replies();
  /// Hands a message to the keeper's quarantine.
  void set_aside(control::Quarantine what, std::span<const std::byte> payload);
  /// From now on only the calling thread sends and asks: the actor loop's. Others are `refused`.
  void claim() noexcept { owner_ = std::this_thread::get_id(); }

  [[nodiscard]] KeeperLink& link() noexcept { return *link_; }
  [[nodiscard]] ReaderFile& reader_file() noexcept { return file_; }

 private:
  Endpoint(KeeperLink& link, ReaderFile file, std::uint64_t generation) noexcept
      : link_{&link}, file_{std::move(file)}, generation_{generation} {}
  Result<void> deposit(const LaneWriter& lane, const DescriptorList& descriptors, std::size_t apart_bytes);
  [[nodiscard]] Result<std::span<std::byte>> room_after_readers(const Address& to, std::size_t bytes,
                                                                TimePoint deadline);
  Result<void> learn(control::Change change, std::vector<OwnedFd> descriptors);
  [[nodiscard]] Result<void> check_thread() const;
  [[nodiscard]] KeeperLink::Woken wait_bell(TimePoint deadline);
  Result<std::span<std::byte>> room_for(const Address& to, std::size_t bytes, TimePoint deadline);
  /// Where a frame lies, and how often its receiver had ended by then.
  struct Posted {
    std::uint64_t offset = 0;
    std::uint64_t ends = 0;
  };
  Result<Posted> post_locked(const Address& to, const FrameInfo& info, std::span<const std::byte> prefix,
                             const Payload& payload, Duration within);
  Result<Posted> post_apart(const Address& to, const FrameInfo& info, std::span<const std::byte> prefix,
                            const Payload& payload, TimePoint deadline);
  [[nodiscard]] Delivery no_delivery(ErrorKind why, bool waits);
  Result<void> encode_letter(Letter& letter, std::span<const std::byte> prefix, const Payload& payload);
  Result<std::uint64_t> write_letter(const Address& to, const FrameInfo& info,
                                     std::span<const std::byte> prefix, const Payload& payload);
  Result<void> wait_for_room(LanesOut::Lane& lane, std::size_t bytes, TimePoint deadline);
  Result<OpenQuestion> open_locked(RoleId to, std::uint64_t type, const Payload& payload, TimePoint deadline,
                                   Duration within);
  std::optional<Result<ReplyBytes>> reply_locked(const OpenQuestion& question);
  void enter_sleep() noexcept;
  void leave_sleep() noexcept;
  [[nodiscard]] static Error down(const LanesOut::Lane& lane, std::uint64_t offset);

  KeeperLink* link_;
  ReaderFile file_;
  LanesIn in_{*link_, file_};
  LanesOut out_{*link_};
  std::uint64_t generation_;  ///< of the link that this belongs to
  std::mutex using_;
  std::thread::id owner_{};  ///< none: any thread
  std::uint64_t seen_notices_ = ~std::uint64_t{0};
  TimePoint retry_at_ =
      never;  ///< something could not be taken from the keeper, or a lane not be made: try again then
  bool stop_ = false;
  Duration patience_ = std::chrono::seconds{5};
  Outbox* outbox_ = nullptr;
  std::uint64_t next_token_ = 1;
  OpenReplies open_{};
  int sleepers_ = 0;  ///< threads
  Spin spin_;
};

}  // namespace troupe::detail
