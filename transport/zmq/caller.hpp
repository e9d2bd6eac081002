// SPDX-License-Identifier: MIT
#pragma once
// Internal. An end of a queue as a socket: requests, and their answers.

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/queue_end.hpp>
#include <troupe/zmq/intake.hpp>
#include <troupe/zmq/keys.hpp>
#include <troupe/zmq/ledger.hpp>
#include <troupe/zmq/post.hpp>
#include <troupe/zmq/wire.hpp>
#include <vector>

namespace troupe::zmq::detail {

/// What it takes to reach a queue's owner.
struct Reach {
  std::string endpoint{};
  Security security{};
};

/// The program's side asks and waits; the post's thread sends and listens (on_*). Both under the lock. What
/// was asked and not answered is asked again whenever the connection has been made anew.
class Caller final : public Guest {
 public:
  struct Answer {
    wire::QueueStatus status{};
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    Bytes body{};
  };

  [[nodiscard]] static Result<std::unique_ptr<Caller>> connect(const Reach& reach, wire::QueueRole role,
                                                               std::uint64_t token, TimePoint deadline);
  /// Without a socket, for a test that seats it and speaks for the owner: only what on_…() does.
  Caller(wire::QueueRole role, std::uint64_t token) : role_{role}, token_{token} {}
  ~Caller() override;  ///< never in a forked child

  [[nodiscard]] bool forked() const noexcept { return guard_.forked(); }
  [[nodiscard]] Result<void> check() const { return guard_.check("ZeroMQ queue"); }
  [[nodiscard]] const wire::QueueWelcome& bounds() const noexcept { return welcome_; }
  [[nodiscard]] const std::string& endpoint() const noexcept { return booking_->endpoint(); }
  [[nodiscard]] int descriptor() const noexcept { return sign_.descriptor(); }

  /// Asks, and returns the number of the request; its answer is kept until it is fetched.
  std::uint64_t ask(wire::QueueKind kind, std::uint64_t a = 0, std::uint64_t b = 0);
  /// As ask(), for what has no answer: it is only made sure that it arrives.
  std::uint64_t tell(wire::QueueKind kind, std::uint64_t a = 0, std::uint64_t b = 0,
                     std::span<const std::byte> body = {});
  /// `timed_out`; `down` and `closed` when the owner is no more.
  [[nodiscard]] Result<Answer> fetch(std::uint64_t number, TimePoint deadline);
  /// The highest number told of which the owner says that it is done, with all before it.
  [[nodiscard]] std::uint64_t done() const;
  [[nodiscard]] Result<void> wait_done(std::uint64_t number, TimePoint deadline);
  /// Leaves in order: waits for the owner's word, at most as long as this.
  void leave(TimePoint deadline) noexcept;

  // Of a receiver. `closed` at the end of the stream; nothing came if it timed out, nor will what comes late.
  [[nodiscard]] Result<Intake::Item> take(Deadline& deadline);
  void settle(std::uint64_t number, std::uint64_t ticket, troupe::detail::Settlement settlement);
  /// Whether take() would not wait. If it would, it is asked for an item.
  [[nodiscard]] bool arm();

  [[nodiscard]] std::optional<Error> over() const;
  /// Waits until something has come after the moment in which `when` was so.
  [[nodiscard]] Ledger::Freed freed() const;
  /// False at the deadline; true when something has left the queue since, or it is over.
  [[nodiscard]] bool wait_freed(const Ledger::Freed& since, TimePoint deadline);

  void on_seated(Seat& seat) override { seat_ = &seat; }
  void on_message(PeerId from, std::span<const std::byte> message) override;
  void on_nonsense() override {}
  void on_process_ended(int watch) override;
  void on_disconnect() override {}
  void on_not_admitted() override;
  void on_round() override;

 private:
  enum class Wants : std::uint8_t { answer, nothing };
  struct Request {
    wire::QueueHeader header{};
    Bytes body{};
    Wants wants{};
  };

  // Under the lock:
  std::uint64_t put(Wants wants, wire::QueueKind kind, std::uint64_t a, std::uint64_t b,
                    std::span<const std::byte> body = {});
  [[nodiscard]] std::optional<Error> over_now() const;
  [[nodiscard]] bool would_not_wait() const;
  void want();
  void tell_want();
  void wait_for_item(std::unique_lock<std::mutex>& lock, Deadline& deadline);
  void give_back_overdue();
  void on_welcome(const wire::QueueHeader& header, std::span<const std::byte> body);
  void on_answer(const wire::QueueHeader& header, std::span<const std::byte> body);
  void on_item(const wire::QueueHeader& header, std::span<const std::byte> body);
  void on_done(std::uint64_t number);
  void on_freed(const wire::QueueHeader& header);
  void on_refused(const wire::QueueHeader& header, std::span<const std::byte> body);
  void on_gone();
  void say_hello();
  void send_requests();
  void break_off(Error error);

  const wire::QueueRole role_;
  const std::uint64_t token_;
  troupe::detail::ForkGuard guard_{};
  Seat* seat_ = nullptr;

  mutable std::mutex lock_;
  std::condition_variable changed_;
  std::uint64_t session_ = 0;
  bool linked_ = false;
  bool welcomed_ = false;
  wire::QueueWelcome welcome_{};
  std::uint64_t numbers_ = 0;
  std::map<std::uint64_t, Request> requests_{};  ///< neither answered nor done yet
  std::uint64_t sent_ = 0;                       ///< the last one, over this connection
  std::uint64_t done_ = 0;
  std::map<std::uint64_t, Answer> answers_{};  ///< not fetched yet
  Intake intake_{};
  Ledger::Freed freed_{};
  std::optional<Error> broken_{};
  bool dead_ = false;
  bool gone_ = false;

  ReadySign sign_{};
  Booking booking_{};  // last: goes first
};

}  // namespace troupe::zmq::detail
