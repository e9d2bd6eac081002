// SPDX-License-Identifier: MIT
#pragma once
// Internal. The ends of a queue over ZeroMQ.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <troupe/transport/queue_end.hpp>
#include <troupe/zmq/caller.hpp>
#include <troupe/zmq/stream.hpp>
#include <vector>

namespace troupe::zmq::detail {

/// Knows by itself how much room it has: what it has put, less what has left the queue of it.
class ZmqSender final : public troupe::detail::QueueSender {
 public:
  explicit ZmqSender(std::unique_ptr<Caller> caller) : caller_{std::move(caller)} {}
  ~ZmqSender() override;

  [[nodiscard]] Result<std::span<std::byte>> reserve(std::size_t bytes, Deadline& deadline) override;
  [[nodiscard]] Result<void> commit(std::uint64_t type, std::size_t bytes, Deadline& deadline) override;
  [[nodiscard]] Result<void> flush(Deadline& deadline) override;

 private:
  enum class Room : std::uint8_t { there, none };
  [[nodiscard]] bool has_room(std::size_t bytes) const;
  [[nodiscard]] Result<Room> wait_for_room(std::size_t bytes, Deadline& deadline);
  [[nodiscard]] Result<Room> drop_for_room(std::size_t bytes, bool all, Deadline& deadline);
  [[nodiscard]] Result<Room> make_room(std::size_t bytes, Deadline& deadline);
  void tell_dropped();
  [[nodiscard]] Result<void> confirm_all_but(std::size_t puts, TimePoint by);

  std::unique_ptr<Caller> caller_;
  std::vector<std::byte> buffer_{};
  Ledger::Freed put_{};                      ///< all that was put
  std::deque<std::uint64_t> unconfirmed_{};  ///< puts
  std::uint64_t dropped_ = 0;
  std::uint64_t full_ = 0;
};

/// What its Caller takes, and what of it is in hand.
class ZmqReceiver final : public troupe::detail::QueueReceiver {
 public:
  explicit ZmqReceiver(std::unique_ptr<Caller> caller) : caller_{std::move(caller)} {}
  ~ZmqReceiver() override;

  [[nodiscard]] Result<troupe::detail::Taken> take(Deadline& deadline) override;
  [[nodiscard]] Result<void> settle(std::uint64_t ticket, troupe::detail::Settlement settlement) override;
  [[nodiscard]] Waitable readable() override;

 private:
  struct InHand {
    std::uint64_t number;
    Bytes bytes;
  };
  std::unique_ptr<Caller> caller_;
  std::map<std::uint64_t, InHand> in_hand_{};  ///< by ticket
};

}  // namespace troupe::zmq::detail
