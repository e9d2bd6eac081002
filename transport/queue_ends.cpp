// SPDX-License-Identifier: MIT
#include <troupe/transport/queue_ends.hpp>

#include <unistd.h>

#include <algorithm>
#include <troupe/transport/mutant.hpp>

namespace troupe::detail {
namespace {

using queue::Lease;
using queue::Owner;
using queue::SlotState;
using Kind = queue::SlotState::Kind;

/// Pid and start of a place's process: what its death is judged by.
constexpr std::uint64_t identity_of(std::uint64_t word) noexcept {
  SlotState state = SlotState::of(word);
  state.kind = Kind::free;
  state.generation = 0;
  return state.word();
}

SlotState own_state(const QueueFile& file, Kind kind, std::uint32_t generation) noexcept {
  const ProcessMark& own = file.own_process();
  return {kind, generation, static_cast<std::uint32_t>(own.started) & SlotState::started_mask,
          static_cast<std::uint32_t>(own.pid)};
}

Result<OwnedFd> watch_holder(std::uint64_t word) {
  const SlotState state = SlotState::of(word);
  return watch_process({static_cast<std::int32_t>(state.pid), state.started}, SlotState::started_mask);
}

tl::unexpected<Error> has_closed(const QueueFile& file) {
  return failure(ErrorKind::closed, "queue " + file.name() + ": it was closed");
}

bool is_travelling(std::uint64_t word, std::uint32_t generation) noexcept {
  const SlotState state = SlotState::of(word);
  return state.kind == Kind::travelling && state.generation == generation;
}

/// The word of a place that has become free: nobody, one generation later.
std::uint64_t freed(std::uint64_t word) noexcept {
  const std::uint32_t next = SlotState::of(word).generation + (TROUPE_MUTANT(queue_generation_kept) ? 0 : 1);
  return SlotState{Kind::free, next & SlotState::generation_mask, 0, 0}.word();
}

bool any_sender(const QueueFile& file) noexcept {
  for (std::size_t i = 0; i < file.bounds().ends; ++i) {
    const Kind kind = SlotState::of(file.slot(i).state.load(std::memory_order_seq_cst)).kind;
    if (kind == Kind::sender || kind == Kind::travelling) return true;
  }
  return false;
}

/// Whether a record is left that is neither done nor in this end's hand.
bool any_for_others(const QueueFile& file, std::uint32_t me) noexcept {
  return any_record(file, [me](auto, auto, const auto&, const Lease& lease) {
    return lease.state == Lease::State::ready || (lease.state == Lease::State::leased && lease.owner != me);
  });
}

/// No new sender after `closed`, and a sender's records are published before it leaves: hence this order.
bool nothing_to_come(const QueueFile& file, std::uint32_t me) noexcept {
  return file.page().closed.load(std::memory_order_seq_cst) != 0 && !any_sender(file) &&
         !any_for_others(file, me);
}

/// Counted where the dead cannot, at their place; several may do it at once.
void put_back_all(QueueFile& file, std::uint32_t owner) noexcept {
  auto& given_back = file.slot(queue::Owner::of(owner).slot).counts.given_back;
  any_record(file, [&](std::size_t l, std::uint64_t, queue::Record& record, Lease lease) {
    if (lease.state != Lease::State::leased || lease.owner != owner) return false;
    std::uint64_t expected = lease.word();
    lease.state = Lease::State::ready;
    lease.owner = 0;
    if (!record.lease.compare_exchange_strong(expected, lease.word())) return false;
    given_back.fetch_add(1, std::memory_order_relaxed);
    file.lane(l).returned.fetch_add(1);
    return false;
  });
}

}  // namespace

// ---- places -----------------------------------------------------------------------------------------------

Result<QueuePlace> QueuePlace::take(std::shared_ptr<QueueFile> file, Kind kind) {
  constexpr int rounds = 2;  // the second one after the dead have been reaped
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < file->bounds().ends; ++i) {
      std::uint64_t word = file->slot(i).state.load(std::memory_order_acquire);
      const SlotState state = SlotState::of(word);
      if (state.kind != Kind::free) continue;
      const std::uint64_t mine = own_state(*file, kind, state.generation).word();
      if (!file->slot(i).state.compare_exchange_strong(word, mine, std::memory_order_seq_cst)) continue;
      QueuePlace place{std::move(file), i, mine};
      // A receiver may come when all is over, and is told so: it is no fault of its own to be late.
      if (kind != Kind::receiver && place.file_->page().closed.load() != 0) return has_closed(*place.file_);
      place.file_->ring_all();
      return place;
    }
    if (round == 0) reap_all(*file);
  }
  return failure(ErrorKind::exhausted, "queue " + file->name() + ": it has its " +
                                           std::to_string(file->bounds().ends) +
                                           " ends; try a larger ends_max");
}

Result<QueuePlace> QueuePlace::take_over(std::shared_ptr<QueueFile> file, std::size_t slot,
                                         std::uint64_t held, Kind kind) {
  if (slot >= file->bounds().ends) return failure(ErrorKind::malformed, "queue: an end at no place");
  const std::uint32_t generation = SlotState::of(held).generation;
  const std::uint64_t mine = own_state(*file, kind, generation).word();
  for (std::uint64_t word = file->slot(slot).state.load(); is_travelling(word, generation);)
    if (file->slot(slot).state.compare_exchange_weak(word, mine, std::memory_order_seq_cst)) {
      QueuePlace place{std::move(file), slot, mine};
      place.file_->ring_all();
      return place;
    }
  return has_closed(*file);
}

void QueuePlace::assign(const ProcessMark& process) noexcept {
  if (!file_ || guard_.forked()) return;
  SlotState state = SlotState::of(word_);
  state.pid = static_cast<std::uint32_t>(process.pid);
  state.started = static_cast<std::uint32_t>(process.started) & SlotState::started_mask;
  std::uint64_t expected = word_;
  file_->slot(slot_).state.compare_exchange_strong(expected, state.word(), std::memory_order_seq_cst);
  file_->ring_all();  // sleepers are to watch that process now
  file_.reset();
}

QueuePlace::QueuePlace(QueuePlace&& other) noexcept
    : file_{std::move(other.file_)}, slot_{other.slot_}, word_{other.word_}, guard_{other.guard_} {}

QueuePlace& QueuePlace::operator=(QueuePlace&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(slot_, other.slot_);
  std::swap(word_, other.word_);
  std::swap(guard_, other.guard_);
  return *this;
}

void QueuePlace::leave() noexcept {
  if (!file_ || guard_.forked()) return;
  std::uint64_t expected = word_;
  file_->slot(slot_).state.compare_exchange_strong(expected, freed(word_), std::memory_order_seq_cst);
  if (file_->page().closed.load() != 0) ring(file_->items_bell());  // it may have been what others waited for
  file_.reset();
}

bool is_there(const QueueFile& file, std::uint32_t owner_word) noexcept {
  if (owner_word == 0) return false;
  const Owner owner = Owner::of(owner_word);
  if (owner.slot >= file.bounds().ends) return false;
  const SlotState state = SlotState::of(file.slot(owner.slot).state.load(std::memory_order_acquire));
  return state.kind != Kind::free && state.generation == owner.generation;
}

std::uint64_t advance_head(const QueueFile& file, std::size_t lane) noexcept {
  queue::Lane& words = file.lane(lane);
  std::uint64_t head = words.head.load(std::memory_order_acquire);
  const std::uint64_t tail = words.tail.load(std::memory_order_acquire);
  std::uint64_t end = head;
  for (; end < tail; ++end) {
    const Lease lease = Lease::of(file.record(lane, end).lease.load(std::memory_order_seq_cst));
    const bool done = lease.state == Lease::State::done || TROUPE_MUTANT(queue_head_over_unfinished);
    if (!done || lease.lap != static_cast<std::uint32_t>(end)) break;
  }
  while (head < end && !words.head.compare_exchange_weak(head, end, std::memory_order_seq_cst)) {}
  return std::max(head, end);
}

void reap(QueueFile& file, std::size_t slot, std::uint64_t word) noexcept {
  if (file.slot(slot).state.load(std::memory_order_acquire) != word) return;
  const SlotState state = SlotState::of(word);
  if (TROUPE_MUTANT(queue_place_freed_first)) file.slot(slot).state.store(freed(word));
  put_back_all(file, Owner{static_cast<std::uint32_t>(slot), state.generation}.word());
  if (state.kind == Kind::owner) file.page().closed.store(1, std::memory_order_seq_cst);
  file.slot(slot).state.compare_exchange_strong(word, freed(word), std::memory_order_seq_cst);
  ring(file.items_bell());
}

void reap_all(QueueFile& file) noexcept {
  for (std::size_t i = 0; i < file.bounds().ends; ++i) {
    const std::uint64_t word = file.slot(i).state.load(std::memory_order_acquire);
    if (SlotState::of(word).kind == Kind::free) continue;
    const auto pidfd = watch_holder(word);
    if (!pidfd && pidfd.error().kind == ErrorKind::down) reap(file, i, word);
  }
}

// ---- the end ----------------------------------------------------------------------------------------------

bool has_ended(QueueFile& file) noexcept {
  if (file.page().ended.load(std::memory_order_acquire) != 0) return true;
  if (!nothing_to_come(file, Lease::owner_mask)) return false;
  file.page().ended.store(1, std::memory_order_seq_cst);
  return true;
}

bool has_ended_for(QueueFile& file, const Owner& me) noexcept {
  return has_ended(file) || nothing_to_come(file, me.word());
}

// ---- sleeping ---------------------------------------------------------------------------------------------

QueuePeers::QueuePeers(std::shared_ptr<QueueFile> file, BellWaiter waiter)
    : file_{std::move(file)}, waiter_{std::move(waiter)}, peers_(file_->bounds().ends) {}

Result<QueuePeers> QueuePeers::create(std::shared_ptr<QueueFile> file, int bell) {
  auto waiter = BellWaiter::create(bell);
  if (!waiter) return failure(std::move(waiter));
  return QueuePeers{std::move(file), std::move(*waiter)};
}

/// Of another process than this one.
bool QueuePeers::is_another(std::uint64_t word) const noexcept {
  return SlotState::of(word).kind != Kind::free &&
         identity_of(word) != identity_of(own_state(*file_, Kind::free, 0).word());
}

bool QueuePeers::all_watched() const noexcept {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const std::uint64_t word = file_->slot(i).state.load(std::memory_order_seq_cst);
    if (is_another(word) && peers_[i].identity != identity_of(word)) return false;
  }
  return true;
}

Result<void> QueuePeers::refresh() {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const std::uint64_t word = file_->slot(i).state.load(std::memory_order_seq_cst);
    if (!is_another(word)) {
      forget(i);
    } else if (peers_[i].identity == identity_of(word)) {
      peers_[i].word = word;
    } else if (auto watched = watch(i, word); !watched) {
      return watched;
    }
  }
  return {};
}

Result<void> QueuePeers::watch(std::size_t slot, std::uint64_t word) {
  forget(slot);
  auto pidfd = watch_holder(word);
  if (!pidfd) {
    if (pidfd.error().kind != ErrorKind::down) return failure(std::move(pidfd));
    reap(*file_, slot, word);
    return {};
  }
  if (auto watched =
          waiter_.watch(pidfd->get(), BellWaiter::Report::while_ready, static_cast<std::uint32_t>(slot));
      !watched)
    return watched;
  peers_[slot] = {identity_of(word), word, std::move(*pidfd)};
  return {};
}

void QueuePeers::forget(std::size_t slot) {
  if (peers_[slot].pidfd) waiter_.forget(peers_[slot].pidfd.get());
  peers_[slot] = {};
}

bool QueuePeers::wait(TimePoint deadline) {
  const auto woken = waiter_.wait(deadline);
  if (TROUPE_MUTANT(queue_reclaim_on_timeout) && woken == BellWaiter::Woken::deadline)
    for (std::size_t slot = 0; slot < peers_.size(); ++slot)
      if (peers_[slot].pidfd) reap(*file_, slot, peers_[slot].word);
  if (woken == BellWaiter::Woken::deadline) return false;
  if (woken == BellWaiter::Woken::watched && waiter_.watched() < peers_.size()) {
    const std::size_t slot = waiter_.watched();
    // Whatever that process holds at this place by now, also of another generation, is a dead one's.
    const std::uint64_t word = file_->slot(slot).state.load(std::memory_order_seq_cst);
    if (identity_of(word) == peers_[slot].identity) reap(*file_, slot, word);
    forget(slot);
  }
  return true;
}

void QueuePeers::settle() {
  while (wait(TimePoint{})) {}
}

}  // namespace troupe::detail
