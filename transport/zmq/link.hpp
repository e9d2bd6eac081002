// SPDX-License-Identifier: MIT
#pragma once
// Internal. One end of a channel: its socket, its peer, and the two halves of its stream.

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/liveness.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/zmq/channel.hpp>
#include <troupe/zmq/place.hpp>
#include <troupe/zmq/post.hpp>
#include <troupe/zmq/stream.hpp>
#include <troupe/zmq/wire.hpp>
#include <vector>

namespace troupe::zmq::detail {

/// Between the two ends of a pair.
struct Line {
  std::uint64_t session = 0;  ///< known to no other; 0: whoever comes first is the peer
  int life = -1;  ///< a life socket, by which an end sees, until it is greeted, that nobody will come
};

/// The program's threads put frames in and take them out under the lock; the post's thread does all the rest
/// (on_*), under the same lock.
class Link final : public Guest {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Link>> listen(const std::string& endpoint,
                                                            const ChannelOptions& options, Delivery delivery,
                                                            const Line& line = {});
  /// connect() without the wait: what is sent waits for the welcome.
  [[nodiscard]] static Result<std::unique_ptr<Link>> join(const std::string& endpoint,
                                                          const ChannelOptions& options, Delivery delivery,
                                                          const Line& line);
  [[nodiscard]] static Result<std::unique_ptr<Link>> connect(const std::string& endpoint,
                                                             const ChannelOptions& options, Delivery delivery,
                                                             TimePoint deadline);
  /// The bounds, before anything is allocated for them.
  [[nodiscard]] static Result<void> check(const ChannelOptions& options);
  enum class Role : std::uint8_t { listening, connecting };
  /// Without a socket, for a test that seats it and speaks for the peer: only what on_…() does.
  Link(Role role, const ChannelOptions& options, Delivery delivery, const Line& line = {});
  ~Link() override;  ///< never in a forked child

  [[nodiscard]] bool forked() const noexcept { return guard_.forked(); }
  [[nodiscard]] const std::string& endpoint() const noexcept { return booking_->endpoint(); }
  [[nodiscard]] std::size_t frame_bytes_max() const noexcept { return options_.frame_bytes_max; }
  [[nodiscard]] ChannelCounts counts() const;
  [[nodiscard]] int descriptor() const noexcept { return sign_.descriptor(); }

  [[nodiscard]] Result<void> send(std::span<const std::byte> frame, TimePoint deadline);
  [[nodiscard]] Result<void> receive(std::vector<std::byte>& buffer, TimePoint deadline);
  void close() noexcept;

  void on_seated(Seat& seat) override;
  void on_message(PeerId from, std::span<const std::byte> message) override;
  void on_nonsense() override;
  void on_process_ended(int watch) override;
  void on_disconnect() override {}
  void on_not_admitted() override;
  void on_round() override;

 private:
  [[nodiscard]] static Result<std::unique_ptr<Link>> create(Role role, const std::string& endpoint,
                                                            const ChannelOptions& options, Delivery delivery,
                                                            const Line& line);

  // By both, which hold the lock.
  void look_at_line(int life);

  // By the program's threads, which hold the lock.
  [[nodiscard]] std::optional<Error> receiving_over() const;
  [[nodiscard]] std::optional<Error> sending_over() const;
  void look_for_death();
  [[nodiscard]] bool peer_left() const { return gone_ || dead_ || broken_.has_value(); }
  void close(std::unique_lock<std::mutex>& lock, TimePoint deadline);

  // By the post's thread, which holds the lock.
  void on_stranger(PeerId from, const wire::ChannelHeader& header, std::span<const std::byte> body);
  void on_peer(const wire::ChannelHeader& header, std::span<const std::byte> body);
  void on_hello(PeerId from, const wire::ChannelHeader& header, std::span<const std::byte> body);
  void on_refusal(std::span<const std::byte> body);
  void on_greeting(PeerId from, const wire::ChannelHeader& header, const wire::Hello& hello);
  [[nodiscard]] std::optional<std::string> objection(const wire::Hello& hello) const;
  [[nodiscard]] bool watch_peer(const wire::Hello& hello);
  void settle(Inbox::Verdict verdict);
  /// False if it is not on its way: on_round() comes when it is worth another try.
  bool say(PeerId to, wire::ChannelKind kind, std::span<const std::byte> body = {},
           std::uint64_t sequence = 0);
  void say_hello(PeerId to, wire::ChannelKind kind);
  void transmit();
  void look_for_the_rest();
  void break_off(Error error);
  void tell_program();

  const Role role_;
  const ChannelOptions options_;
  const Delivery delivery_;
  const Line line_;
  troupe::detail::ForkGuard guard_{};

  Seat* seat_ = nullptr;

  mutable std::mutex lock_;
  std::condition_variable changed_;
  Outbox outbox_;
  Inbox inbox_;
  std::uint64_t session_ = 0;  ///< 0: nobody has come yet
  PeerId peer_ = 0;
  bool linked_ = false;         ///< greeted over the connection that there is
  bool greeted_ = false;        ///< ever
  int watch_ = -1;              ///< the post's
  int line_watch_ = -1;         ///< likewise
  ProcessMark peer_process_{};  ///< of this machine; nobody otherwise
  OwnedFd pidfd_{};             ///< the program's own, so that it need not wait for the post to see it
  bool watches_ = false;  ///< or pidfd_ only keeps its place: an end takes no descriptor after its birth
  TimePoint look_for_death_at_{};
  bool dead_ = false;         ///< its process has ended
  bool unreachable_ = false;  ///< and its connection is gone
  bool drained_ = false;      ///< and everything that it had sent has come in
  TimePoint drained_by_ = never;
  bool gone_ = false;  ///< it said that it goes
  std::optional<Error> broken_{};
  std::uint64_t told_received_ = 0;
  std::uint64_t told_consumed_ = 0;
  bool tell_each_ = false;     ///< the peer waits for room
  std::uint64_t skip_to_ = 0;  ///< what the peer is yet to be told that it has lost; 0: nothing
  bool blocked_ = false;       ///< the program waits for room
  bool said_blocked_ = false;
  bool leaving_ = false;
  bool said_gone_ = false;
  bool gone_seen_ = false;
  ChannelCounts counts_{};

  ReadySign sign_{};
  std::optional<Place> place_{};
  Booking booking_{};  // last: goes first
};

}  // namespace troupe::zmq::detail
