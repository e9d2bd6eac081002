// SPDX-License-Identifier: MIT
#pragma once
// Internal. Who is at a queue, who has died, and sleeping until something changes.

#include <memory>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/queue_file.hpp>
#include <vector>

namespace troupe::detail {

/// A place among the ends of a queue: whatever is leased or owned there is so in its name.
///
/// Given up by leave(), by the destructor, or by whoever has confirmed the death of its process. Owner: one
/// end.
class QueuePlace {
 public:
  /// Takes a free place for this process, first from the dead if there is none. `exhausted` when all are
  /// taken, for a sender `closed` when the queue was closed. Rings everybody, so that
  /// sleepers learn to watch this process before it does anything.
  [[nodiscard]] static Result<QueuePlace> take(std::shared_ptr<QueueFile> file, queue::SlotState::Kind kind);
  /// Takes over a place that another process holds for this one, in its own name or already in ours. `closed`
  /// if it is no longer held.
  [[nodiscard]] static Result<QueuePlace> take_over(std::shared_ptr<QueueFile> file, std::size_t slot,
                                                    std::uint64_t held, queue::SlotState::Kind kind);

  QueuePlace(QueuePlace&& other) noexcept;
  QueuePlace& operator=(QueuePlace&& other) noexcept;
  ~QueuePlace() { leave(); }

  /// Makes another process answer for it, unless that has taken it over by now.
  void assign(const ProcessMark& process) noexcept;

  /// Frees it, unless it is another's by now. Not in a plain fork's child.
  void leave() noexcept;
  [[nodiscard]] queue::Owner owner() const noexcept {
    return {static_cast<std::uint32_t>(slot_), queue::SlotState::of(word_).generation};
  }
  [[nodiscard]] std::size_t slot() const noexcept { return slot_; }
  [[nodiscard]] std::uint64_t word() const noexcept { return word_; }
  [[nodiscard]] queue::Counts& counts() const noexcept { return file_->slot(slot_).counts; }

 private:
  QueuePlace(std::shared_ptr<QueueFile> file, std::size_t slot, std::uint64_t word) noexcept
      : file_{std::move(file)}, slot_{slot}, word_{word} {}

  std::shared_ptr<QueueFile> file_;
  std::size_t slot_ = 0;
  std::uint64_t word_ = 0;
  ForkGuard guard_;
};

/// Adds to a count that only this process changes.
inline void add(queue::Word& count, std::uint64_t by = 1) noexcept {
  count.store(count.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

/// Whether that end is still there: in its place, in its generation.
[[nodiscard]] bool is_there(const QueueFile& file, std::uint32_t owner_word) noexcept;

/// Puts back what a dead end had in hand, frees its place, closes the queue if it was the owner. `word` is
/// the place as it was when its process was found dead. Any number of processes may do it at once: each step
/// is done once.
void reap(QueueFile& file, std::size_t slot, std::uint64_t word) noexcept;

/// Frees every place whose process is dead; for whoever finds no free one.
void reap_all(QueueFile& file) noexcept;

/// Moves a lane's head over what is done, and returns it. Anybody may: done is for good.
std::uint64_t advance_head(const QueueFile& file, std::size_t lane) noexcept;

/// Calls `visit(lane, number, record, lease)` for the records between head and tail of every lane of a
/// sender, until it is true for one; returns whether it was.
template <class Visit>
bool any_record(const QueueFile& file, Visit visit) {
  for (std::size_t l = 0; l < file.bounds().senders; ++l) {
    const std::uint64_t tail = file.lane(l).tail.load(std::memory_order_seq_cst);
    for (std::uint64_t n = advance_head(file, l); n < tail; ++n) {
      queue::Record& record = file.record(l, n);
      const auto lease = queue::Lease::of(record.lease.load(std::memory_order_seq_cst));
      if (lease.lap == static_cast<std::uint32_t>(n) && visit(l, n, record, lease)) return true;
    }
  }
  return false;
}

/// Whether all that was put is done.
[[nodiscard]] inline bool all_done(const QueueFile& file) noexcept {
  return !any_record(file, [](auto, auto, const auto&, const queue::Lease& lease) {
    return lease.state != queue::Lease::State::done;
  });
}

/// Whether nothing can come any more: closed, no sender, all done. Latches.
[[nodiscard]] bool has_ended(QueueFile& file) noexcept;
/// The same, but for what `me` has in hand: it is over for that end, though perhaps not for others.
[[nodiscard]] bool has_ended_for(QueueFile& file, const queue::Owner& me) noexcept;

/// Says that a receiver is about to sleep: the caller looks over all lanes once more, then sleeps. The look
/// does not overtake that, as a sender's look at it does not overtake what it has published.
inline void announce_sleep(const QueueFile& file) noexcept {
  queue::Word& announced = file.page().announced;
  if (TROUPE_MUTANT(queue_unordered_sleep))
    announced.store(announced.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  else
    announced.fetch_add(1, std::memory_order_seq_cst);
}

/// Rings receivers that have gone to sleep since this object last did. Each process that makes something
/// ready has its own, so a process that is stopped before it rings harms nobody else.
class ReceiversBell {
 public:
  void ring_if_asleep(const QueueFile& file) noexcept {
    const std::uint64_t announced = file.page().announced.load(std::memory_order_seq_cst);
    if (announced == rung_) return;
    rung_ = announced;
    ring(file.items_bell());
  }

 private:
  std::uint64_t rung_ = 0;
};

/// What an end sleeps with: its bell, and the deaths of all other ends. Whoever dies may have changed
/// something and not rung, so every death wakes every sleeper, and sleepers put back what the dead had in
/// hand.
///
/// Owner: one thread. Holds a descriptor for each other process at the queue.
class QueuePeers {
 public:
  [[nodiscard]] static Result<QueuePeers> create(std::shared_ptr<QueueFile> file, int bell);

  /// Watches who is there now, and reaps who is dead. `exhausted` without room for a descriptor.
  [[nodiscard]] Result<void> refresh();
  /// Whether refresh() has met everybody who is there now. Looked at behind the last look for something to
  /// do: one that came in between, and has been counted there, might die before it rings.
  [[nodiscard]] bool all_watched() const noexcept;
  /// False at the deadline. Wakes for no reason, too.
  [[nodiscard]] bool wait(TimePoint deadline);
  /// Forgets rings that are over, so that descriptor() is readable only for new ones.
  void settle();
  [[nodiscard]] int descriptor() const noexcept { return waiter_.descriptor(); }

 private:
  struct Peer {
    std::uint64_t identity = 0;  ///< of the process: SlotState without kind and generation; 0: nobody
    std::uint64_t word = 0;
    OwnedFd pidfd{};
  };
  QueuePeers(std::shared_ptr<QueueFile> file, BellWaiter waiter);
  [[nodiscard]] bool is_another(std::uint64_t word) const noexcept;
  [[nodiscard]] Result<void> watch(std::size_t slot, std::uint64_t word);
  void forget(std::size_t slot);

  std::shared_ptr<QueueFile> file_;
  BellWaiter waiter_;
  std::vector<Peer> peers_;
};

}  // namespace troupe::detail
