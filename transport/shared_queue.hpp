// SPDX-License-Identifier: MIT
#pragma once
// Internal. A queue in shared memory.

#include <optional>
#include <troupe/transport/queue_end.hpp>
#include <troupe/transport/queue_ends.hpp>
#include <troupe/transport/queue_items.hpp>
#include <troupe/transport/queue_writer.hpp>
#include <troupe/transport/spin.hpp>
#include <vector>

namespace troupe::detail {

/// A queue in shared memory, as one process holds it: its owner, or one that was handed its descriptors.
///
/// docs/queue.md explains it. No lock, and no process that has to be there: what a dead end had in hand is
/// put back by whichever other end sees the death. Ends are of one trust.
class SharedQueue final : public QueueAccess {
 public:
  [[nodiscard]] static Result<std::unique_ptr<SharedQueue>> create(const QueueOptions& options);
  /// From the descriptors of a process that has it, for one that is not its owner.
  [[nodiscard]] static Result<std::unique_ptr<SharedQueue>> attach(std::vector<OwnedFd> descriptors,
                                                                   std::string name = "queue");
  /// What pass() gave, at its destination.
  [[nodiscard]] static Result<std::unique_ptr<QueueSender>> arrive_sender(QueuePass pass);
  [[nodiscard]] static Result<std::unique_ptr<QueueReceiver>> arrive_receiver(QueuePass pass);

  ~SharedQueue() override;

  [[nodiscard]] Result<std::unique_ptr<QueueSender>> sender() override;
  [[nodiscard]] Result<std::unique_ptr<QueueReceiver>> receiver() override;
  [[nodiscard]] Result<QueuePass> pass(End end) override;
  void close() noexcept override;
  [[nodiscard]] std::size_t size() override;
  [[nodiscard]] Result<void> drain(TimePoint deadline) override;
  [[nodiscard]] std::vector<Holder> holders() override;
  [[nodiscard]] QueueCounts counts() override;
  [[nodiscard]] std::vector<QuarantinedItem> quarantine() override;

  [[nodiscard]] Result<std::vector<OwnedFd>> descriptors() const override;

 private:
  SharedQueue(std::shared_ptr<QueueFile> file, std::optional<QueuePlace> place)
      : file_{std::move(file)}, place_{std::move(place)} {}
  [[nodiscard]] Result<void> check() const { return guard_.check("queue"); }

  std::shared_ptr<QueueFile> file_;
  std::optional<QueuePlace> place_;  ///< the owner's, which holds the stream open
  ForkGuard guard_{};
};

/// A sending end in shared memory.
class SharedSender final : public QueueSender {
 public:
  [[nodiscard]] static Result<std::unique_ptr<QueueSender>> create(std::shared_ptr<QueueFile> file,
                                                                   QueuePlace place,
                                                                   Result<QueueWriter> writer);
  [[nodiscard]] Result<std::span<std::byte>> reserve(std::size_t bytes, Deadline& deadline) override;
  [[nodiscard]] DescriptorStore* descriptors() override;
  [[nodiscard]] Result<void> commit(std::uint64_t type, std::size_t bytes, Deadline& deadline) override;
  [[nodiscard]] Result<void> flush(Deadline& /*deadline*/) override { return {}; }

 private:
  SharedSender(std::shared_ptr<QueueFile> file, QueuePlace place, QueueWriter writer, QueuePeers peers)
      : file_{std::move(file)},
        place_{std::move(place)},
        writer_{std::move(writer)},
        peers_{std::move(peers)} {}
  [[nodiscard]] Result<std::span<std::byte>> wait_for_room(std::size_t bytes, Deadline& deadline);
  [[nodiscard]] std::span<std::byte> drop_for_room(std::size_t bytes);
  [[nodiscard]] Result<void> deposit(Deadline& deadline);
  void dropped();

  std::shared_ptr<QueueFile> file_;
  QueuePlace place_;
  QueueWriter writer_;
  std::optional<DescriptorList> of_item_{};  ///< that is being put
  QueuePeers peers_;
  ReceiversBell bell_{};
  Spin spin_{};
  ForkGuard guard_{};
};

/// A receiving end in shared memory.
class SharedReceiver final : public QueueReceiver {
 public:
  [[nodiscard]] static Result<std::unique_ptr<QueueReceiver>> create(std::shared_ptr<QueueFile> file,
                                                                     QueuePlace place);
  ~SharedReceiver() override;

  [[nodiscard]] Result<Taken> take(Deadline& deadline) override;
  [[nodiscard]] Result<std::vector<OwnedFd>> descriptors(std::uint64_t ticket) override;
  [[nodiscard]] Result<void> settle(std::uint64_t ticket, Settlement settlement) override;
  [[nodiscard]] Waitable readable() override;

 private:
  struct LaneView {
    std::uint64_t tail = 0;      ///< as last looked at
    std::uint64_t cursor = 0;    ///< everything before it was seen taken
    std::uint64_t returned = 0;  ///< the lane's word when that was seen
  };
  struct InHand {
    std::uint64_t ticket = 0;
    std::uint64_t lease = 0;
    bool with_descriptors = false;
  };

  SharedReceiver(std::shared_ptr<QueueFile> file, QueuePlace place, QueuePeers peers);
  enum class Look { by_hints, everywhere };
  [[nodiscard]] std::optional<Taken> try_take(Look look);
  [[nodiscard]] std::optional<Taken> try_lane(std::size_t lane, Look look);
  [[nodiscard]] std::optional<Taken> claim(std::size_t lane, std::uint64_t number, queue::Lease lease);
  [[nodiscard]] std::uint64_t first_to_look_at(std::size_t lane);
  [[nodiscard]] bool something_there();
  [[nodiscard]] bool over() { return has_ended_for(*file_, place_.owner()); }
  [[nodiscard]] bool is_exhausted(const queue::Lease& lease) const noexcept {
    return lease.attempts >= file_->bounds().attempts_max;
  }
  [[nodiscard]] bool quarantine_is_free() const noexcept;
  void quarantine(std::size_t lane, std::uint64_t number, queue::Lease lease);
  [[nodiscard]] bool copy_to_quarantine(std::size_t lane, const queue::Record& record,
                                        const queue::Lease& lease);
  [[nodiscard]] Result<void> settle_lease(const InHand& item, Settlement settlement);
  void made_done(std::size_t lane, std::uint64_t number, bool with_descriptors);

  std::shared_ptr<QueueFile> file_;
  QueuePlace place_;
  QueuePeers peers_;
  std::vector<LaneView> views_;
  std::vector<InHand> in_hand_{};
  std::size_t lane_ = 0;  ///< where to look first
  std::size_t taken_in_turn_ = 0;
  std::uint64_t drained_for_ = 0;
  std::optional<Error> quarantine_fault_{};  ///< why the last look could not move something there
  ReceiversBell bell_{};
  Spin spin_{};
  ForkGuard guard_{};
};

}  // namespace troupe::detail
