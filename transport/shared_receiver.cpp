// SPDX-License-Identifier: MIT
#include <troupe/transport/shared_queue.hpp>

#include <algorithm>
#include <cstring>
#include <troupe/transport/mutant.hpp>

namespace troupe::detail {
namespace {

using queue::Lease;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_seq_cst;

constexpr std::size_t in_turn_max = 32;  ///< items of one sender before the next has its turn
constexpr unsigned lane_shift = 56;

constexpr std::uint64_t ticket_of(std::size_t lane, std::uint64_t number) noexcept {
  return std::uint64_t{lane} << lane_shift | number;
}
constexpr std::size_t lane_of(std::uint64_t ticket) noexcept { return ticket >> lane_shift; }
constexpr std::uint64_t number_of(std::uint64_t ticket) noexcept {
  return ticket & ((std::uint64_t{1} << lane_shift) - 1);
}

QuarantinedItem::Cause cause_of(std::uint32_t attempts) noexcept {
  if (attempts == Lease::malformed) return QuarantinedItem::Cause::malformed;
  return attempts == Lease::given_up ? QuarantinedItem::Cause::given_up : QuarantinedItem::Cause::attempts;
}

}  // namespace

SharedReceiver::SharedReceiver(std::shared_ptr<QueueFile> file, QueuePlace place, QueuePeers peers)
    : file_{std::move(file)},
      place_{std::move(place)},
      peers_{std::move(peers)},
      views_(file_->bounds().senders),
      lane_{place_.slot() % views_.size()} {}

Result<std::unique_ptr<QueueReceiver>> SharedReceiver::create(std::shared_ptr<QueueFile> file,
                                                              QueuePlace place) {
  auto peers = QueuePeers::create(file, file->items_bell());
  if (!peers) return failure(std::move(peers));
  return std::unique_ptr<QueueReceiver>{
      new SharedReceiver{std::move(file), std::move(place), std::move(*peers)}};
}

SharedReceiver::~SharedReceiver() {
  if (guard_.forked()) return;
  for (const InHand& item : in_hand_)
    [[maybe_unused]] const auto settled = settle_lease(item, Settlement::give_back);
}

// ---- taking -----------------------------------------------------------------------------------------------

Result<Taken> SharedReceiver::take(Deadline& deadline) {
  if (auto own = guard_.check("queue"); !own) return failure(std::move(own));
  std::optional<Taken> found;
  const auto look = [&] { return (found = try_take(Look::by_hints)).has_value(); };
  const Look last_look = TROUPE_MUTANT(queue_hints_believed) ? Look::by_hints : Look::everywhere;
  for (;;) {
    quarantine_fault_.reset();
    if (look()) return *found;
    if (!deadline.is_over() && spin_.until(look)) return *found;
    // Announced first, then looked everywhere, mirrored by a sender's publish: at least one sees the other.
    // The hints may be a dead end's, who died before it moved them.
    if (!deadline.is_over()) announce_sleep(*file_);
    if (auto watched = peers_.refresh(); !watched) return failure(std::move(watched));
    if (found = try_take(last_look); found) return *found;
    if (quarantine_fault_) return tl::unexpected<Error>{*std::move(quarantine_fault_)};
    if (over()) return failure(ErrorKind::closed, "queue " + file_->name() + ": it was closed and is empty");
    if (deadline.is_over()) break;
    if (peers_.all_watched()) [[maybe_unused]]
      const bool woken = peers_.wait(deadline.at());
  }
  return failure(ErrorKind::timed_out, "queue " + file_->name() + ": nothing came in time");
}

bool SharedReceiver::something_there() {
  return any_record(*file_, [&](auto, auto, const auto&, const Lease& lease) {
    return lease.state == Lease::State::ready && (!is_exhausted(lease) || quarantine_is_free());
  });
}

std::optional<Taken> SharedReceiver::try_take(Look look) {
  for (std::size_t tried = 0; tried <= views_.size(); ++tried) {
    if (taken_in_turn_ < in_turn_max)
      if (auto taken = try_lane(lane_, look)) {
        ++taken_in_turn_;
        return taken;
      }
    taken_in_turn_ = 0;
    lane_ = (lane_ + 1) % views_.size();
  }
  return std::nullopt;
}

/// From the head where something came back or the hints are no good; else behind what was seen taken. The
/// tail is looked at only behind what was seen of it: each look takes its line away from the sender.
std::uint64_t SharedReceiver::first_to_look_at(std::size_t lane) {
  LaneView& view = views_[lane];
  queue::Lane& words = file_->lane(lane);
  const std::uint64_t head = words.head.load(memory_order_acquire);
  const std::uint64_t returned = words.returned.load(memory_order_acquire);
  const std::uint64_t next = std::max(view.cursor, words.next.load(memory_order_relaxed));
  if (next >= view.tail) view.tail = words.tail.load(memory_order_seq_cst);
  if (std::exchange(view.returned, returned) != returned) return head;
  return next > view.tail ? head : std::max(head, next);
}

std::optional<Taken> SharedReceiver::try_lane(std::size_t lane, Look look) {
  LaneView& view = views_[lane];
  if (look == Look::everywhere) view.tail = file_->lane(lane).tail.load(memory_order_seq_cst);
  const std::uint64_t first = look == Look::by_hints ? first_to_look_at(lane) : advance_head(*file_, lane);
  for (std::uint64_t n = first; n < view.tail; ++n) {
    const Lease lease = Lease::of(file_->record(lane, n).lease.load(memory_order_acquire));
    if (lease.lap != static_cast<std::uint32_t>(n) || lease.state != Lease::State::ready) continue;
    if (is_exhausted(lease)) {
      quarantine(lane, n, lease);
    } else if (auto taken = claim(lane, n, lease)) {
      view.cursor = n + 1;
      file_->lane(lane).next.store(n + 1, memory_order_relaxed);
      return taken;
    }
  }
  view.cursor = view.tail;
  return std::nullopt;
}

std::optional<Taken> SharedReceiver::claim(std::size_t lane, std::uint64_t number, Lease lease) {
  // First: an item that was taken and is in no list would be in nobody's hand while this end lives.
  if (in_hand_.size() == in_hand_.capacity()) in_hand_.reserve(2 * in_hand_.size() + 1);
  queue::Record& record = file_->record(lane, number);
  std::uint64_t expected = lease.word();
  lease.state = TROUPE_MUTANT(queue_acknowledge_before_handler) ? Lease::State::done : Lease::State::leased;
  lease.owner = place_.owner().word();
  if (!TROUPE_MUTANT(queue_attempt_not_counted)) ++lease.attempts;
  if (TROUPE_MUTANT(queue_claim_without_compare)) record.lease.store(expected = lease.word());
  if (!record.lease.compare_exchange_strong(expected, lease.word(), memory_order_seq_cst))
    return std::nullopt;
  const bool with_descriptors = (record.flags & queue::with_descriptors) != 0;
  in_hand_.push_back({ticket_of(lane, number), lease.word(), with_descriptors});
  return Taken{in_hand_.back().ticket, record.type, lease.attempts, file_->payload(lane, record),
               with_descriptors};
}

Waitable SharedReceiver::readable() {
  return {peers_.descriptor(), [this] {
            if (something_there() || over()) return true;
            announce_sleep(*file_);
            peers_.settle();
            do {
              if (!peers_.refresh()) return true;  // take() will say why
              if (something_there() || over()) return true;
            } while (!peers_.all_watched());
            return false;
          }};
}

Result<std::vector<OwnedFd>> SharedReceiver::descriptors(std::uint64_t ticket) {
  if (withdraw_item == nullptr)
    return failure(
        ErrorKind::refused,
        "queue " + file_->name() + ": an item with descriptors, for which this process has no keeper");
  return withdraw_item({file_->descriptor(), lane_of(ticket), number_of(ticket)});
}

// ---- settling ---------------------------------------------------------------------------------------------

Result<void> SharedReceiver::settle(std::uint64_t ticket, Settlement settlement) {
  if (auto own = guard_.check("queue"); !own) return own;
  const auto at = std::ranges::find(in_hand_, ticket, &InHand::ticket);
  if (at == in_hand_.end())
    return failure(ErrorKind::refused, "queue " + file_->name() + ": no such item in hand");
  const InHand item = *at;
  *at = in_hand_.back();
  in_hand_.pop_back();
  return settle_lease(item, settlement);
}

Result<void> SharedReceiver::settle_lease(const InHand& item, Settlement settlement) {
  const std::size_t lane = lane_of(item.ticket);
  queue::Record& record = file_->record(lane, number_of(item.ticket));
  std::uint64_t expected = item.lease;
  Lease lease = Lease::of(item.lease);
  lease.state = settlement == Settlement::acknowledge ? Lease::State::done : Lease::State::ready;
  lease.owner = 0;
  if (settlement == Settlement::give_up) lease.attempts = Lease::given_up;
  if (settlement == Settlement::malformed) lease.attempts = Lease::malformed;
  if (!record.lease.compare_exchange_strong(expected, lease.word(), memory_order_seq_cst))
    return failure(ErrorKind::refused, "queue " + file_->name() + ": the item was given to somebody else");
  if (settlement == Settlement::acknowledge) {
    add(place_.counts().acknowledged);
    made_done(lane, number_of(item.ticket), item.with_descriptors);
    return {};
  }
  if (settlement == Settlement::give_back) add(place_.counts().given_back);
  file_->lane(lane).returned.fetch_add(1);
  if (is_exhausted(lease)) quarantine(lane, number_of(item.ticket), lease);
  bell_.ring_if_asleep(*file_);
  return {};
}

/// Whoever may wait for that: its sender for room, somebody for the queue to be drained, receivers for its
/// end.
void SharedReceiver::made_done(std::size_t lane, std::uint64_t number, bool with_descriptors) {
  if (with_descriptors && look_at_items != nullptr) look_at_items(file_->descriptor());
  queue::Lane& words = file_->lane(lane);
  const bool waits =
      words.waiting.load(memory_order_seq_cst) % 2 != 0 && words.wanted.load(memory_order_seq_cst) == number;
  if (waits && !TROUPE_MUTANT(queue_no_ring_for_room)) ring(file_->room_bell(lane));
  const queue::Page& page = file_->page();
  // Also while a sender has a place: it may be one that came too late, and dies before it can say so.
  if (page.closed.load(memory_order_seq_cst) != 0 && all_done(*file_)) ring(file_->items_bell());
  const std::uint64_t draining = page.draining.load(memory_order_seq_cst);
  if (draining == drained_for_ || !all_done(*file_)) return;
  drained_for_ = draining;
  ring(file_->items_bell());
}

// ---- the quarantine ---------------------------------------------------------------------------------------

bool SharedReceiver::quarantine_is_free() const noexcept {
  return !is_there(*file_, static_cast<std::uint32_t>(file_->lane(file_->quarantine_lane()).owner.load()));
}

/// Moves a ready record there. If another end is at the quarantine, or there is no memory to map it, or this
/// one dies here, it stays as it is, and whoever meets it next moves it.
void SharedReceiver::quarantine(std::size_t lane, std::uint64_t number, Lease lease) {
  queue::Record& record = file_->record(lane, number);
  std::uint64_t expected = lease.word();
  Lease mine = lease;
  mine.state = Lease::State::leased;
  mine.owner = place_.owner().word();
  if (!record.lease.compare_exchange_strong(expected, mine.word(), memory_order_seq_cst)) return;
  const bool with_descriptors = (record.flags & queue::with_descriptors) != 0;
  const bool moved = copy_to_quarantine(lane, record, lease);
  lease.state = moved ? Lease::State::done : Lease::State::ready;
  expected = mine.word();
  if (!record.lease.compare_exchange_strong(expected, lease.word(), memory_order_seq_cst)) return;
  if (!moved) return;
  add(place_.counts().quarantined);
  made_done(lane, number, with_descriptors);
  bell_.ring_if_asleep(*file_);  // who slept because the quarantine was taken
}

bool SharedReceiver::copy_to_quarantine(std::size_t lane, const queue::Record& record, const Lease& lease) {
  auto writer = QueueWriter::take_quarantine(file_, place_.owner());
  if (!writer) {
    const bool taken = writer.error().kind == ErrorKind::full;
    if (!taken) quarantine_fault_ = std::move(writer.error());
    return false;
  }
  const auto payload = file_->payload(lane, record);
  auto room = writer->room(payload.size());
  while (!room && writer->drop_oldest()) room = writer->room(payload.size());
  if (room) {
    if (!payload.empty()) std::memcpy(room->data(), payload.data(), payload.size());
    writer->publish(record.type, payload.size(), 0, lease.attempts,
                    static_cast<std::uint32_t>(cause_of(lease.attempts)));
  }
  writer->release();
  return room.has_value();
}

}  // namespace troupe::detail
