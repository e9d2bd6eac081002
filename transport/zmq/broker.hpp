// SPDX-License-Identifier: MIT
#pragma once
// Internal. The owner's side of a queue over ZeroMQ: holds the items, and serves all ends.

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <troupe/transport/queue_end.hpp>
#include <troupe/zmq/keys.hpp>
#include <troupe/zmq/ledger.hpp>
#include <troupe/zmq/place.hpp>
#include <troupe/zmq/post.hpp>
#include <troupe/zmq/wire.hpp>

namespace troupe::zmq::detail {

/// Owner: QueueServer. The post's thread does what ends ask for (on_*); the owner's thread looks and closes.
/// Both under the lock.
class Broker final : public Guest {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Broker>> create(const std::string& endpoint,
                                                              const QueueOptions& options,
                                                              const Security& security);
  /// Without a socket, for a test that seats it and speaks for the ends.
  explicit Broker(const QueueOptions& options) : options_{options}, ledger_{options} {}
  ~Broker() override;  ///< never in a forked child

  [[nodiscard]] const std::string& endpoint() const noexcept { return booking_->endpoint(); }
  [[nodiscard]] Result<void> expect_sender(std::uint64_t token);
  void close();
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] Result<void> drain(TimePoint deadline);
  [[nodiscard]] std::vector<Holder> holders() const;
  [[nodiscard]] QueueCounts counts() const;
  [[nodiscard]] std::vector<QuarantinedItem> quarantine() const;
  [[nodiscard]] std::uint64_t malformed() const;

  void on_seated(Seat& seat) override { seat_ = &seat; }
  void on_message(PeerId from, std::span<const std::byte> message) override;
  void on_nonsense() override;
  void on_process_ended(int watch) override;
  void on_disconnect() override {}
  void on_not_admitted() override {}
  void on_round() override;

 private:
  struct End {
    PeerId peer = 0;
    wire::QueueRole role{};
    int watch = -1;
    Ledger::Freed told{};
    std::uint64_t done = 0;       ///< the last told that has been
    std::uint64_t told_done = 0;  ///< as the end knows
    std::uint64_t empty = 0;      ///< of an access, not answered yet; 0: none
    // Of a receiver.
    std::uint64_t want = 0;  ///< 0: it wants nothing
    std::uint64_t window = 0;
    std::uint64_t sent = 0;  ///< the last item, over this connection
    std::uint64_t told_ended = 0;
    std::uint64_t served = 0;  ///< when last
    bool dead = false;
    bool told_gone = false;
    bool unreachable = false;
    TimePoint drained_by = never;
  };
  using Ends = std::map<EndId, End>;

  void on_hello(PeerId from, const wire::QueueHeader& header, std::span<const std::byte> body);
  [[nodiscard]] Result<void> admit(PeerId from, EndId id, const wire::QueueHello& hello);
  [[nodiscard]] Result<int> watch(const wire::QueueHello& hello);
  /// False for what breaks the rules.
  [[nodiscard]] bool on_request(EndId id, End& end, const wire::QueueHeader& header,
                                std::span<const std::byte> body);
  [[nodiscard]] bool on_sender(EndId id, const wire::QueueHeader& header, std::span<const std::byte> body);
  [[nodiscard]] bool on_receiver(EndId id, End& end, const wire::QueueHeader& header);
  [[nodiscard]] bool on_told(EndId id, End& end, const wire::QueueHeader& header,
                             std::span<const std::byte> body);
  [[nodiscard]] bool on_want(EndId id, End& end, const wire::QueueHeader& header);
  [[nodiscard]] bool on_unwant(EndId id, End& end, const wire::QueueHeader& header);
  [[nodiscard]] bool on_access(EndId id, End& end, const wire::QueueHeader& header);
  void on_query(End& end, EndId id, const wire::QueueHeader& header);
  void drop(EndId id, std::optional<std::uint64_t> begun);
  void serve();
  [[nodiscard]] Ends::iterator next_served();
  void say_farewell();
  [[nodiscard]] bool send_items(EndId id, End& end);
  void tell_ended(EndId id, End& end);
  void tell_done(EndId id, End& end);
  void tell(EndId id, End& end);
  [[nodiscard]] bool has_left(End& end);
  void answer(EndId id, const End& end, std::uint64_t number, wire::QueueStatus status, std::uint64_t a = 0,
              std::uint64_t b = 0, std::span<const std::byte> body = {});
  Seat::Sent say(PeerId to, const wire::QueueHeader& header, std::span<const std::byte> body = {});

  const QueueOptions options_;
  Seat* seat_ = nullptr;
  mutable std::mutex lock_;
  std::condition_variable changed_;
  Ledger ledger_;
  Ends ends_{};
  std::map<PeerId, EndId> by_peer_{};
  std::uint64_t servings_ = 0;
  std::uint64_t malformed_ = 0;
  bool ending_ = false;
  std::optional<Place> place_{};
  Booking booking_{};  // last: goes first
};

}  // namespace troupe::zmq::detail
