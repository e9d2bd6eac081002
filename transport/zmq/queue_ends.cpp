// SPDX-License-Identifier: MIT
#include <troupe/zmq/queue_ends.hpp>

#include <algorithm>
#include <string>

namespace troupe::zmq::detail {
namespace {

using std::chrono::seconds;
using troupe::detail::Settlement;
using troupe::detail::Taken;
using wire::QueueKind;

/// How long an owner may take for an answer that needs no waiting. It is a process like others, and may be
/// stopped.
constexpr seconds answer_within{5};

}  // namespace

// ---- sending ----------------------------------------------------------------------------------------------

ZmqSender::~ZmqSender() {
  if (caller_->forked())
    static_cast<void>(caller_.release());
  else
    caller_->leave(deadline_in(answer_within));
}

bool ZmqSender::has_room(std::size_t bytes) const {
  const auto freed = caller_->freed();
  const auto& bounds = caller_->bounds();
  return put_.items - freed.items < bounds.items_max &&
         put_.bytes - freed.bytes + wire::counted(bytes) <= bounds.bytes_max;
}

Result<std::span<std::byte>> ZmqSender::reserve(std::size_t bytes, Deadline& deadline) {
  if (auto own = caller_->check(); !own) return failure(std::move(own));
  if (auto over = caller_->over()) return tl::unexpected<Error>{*std::move(over)};
  if (wire::counted(bytes) > caller_->bounds().bytes_max)
    return failure(ErrorKind::invalid, "ZeroMQ queue: an item of " + std::to_string(bytes) +
                                           " bytes never fits; try a larger bytes_max");
  auto room = make_room(bytes, deadline);
  if (!room) return failure(std::move(room));
  if (*room == Room::none) return std::span<std::byte>{};
  buffer_.resize(std::max<std::size_t>(bytes, 1));  // no room at all would read as dropped
  return std::span{buffer_};
}

Result<ZmqSender::Room> ZmqSender::make_room(std::size_t bytes, Deadline& deadline) {
  const auto overflow = static_cast<Overflow>(caller_->bounds().overflow);
  if (overflow == Overflow::latest && put_ != caller_->freed()) {
    if (auto dropped = drop_for_room(bytes, true, deadline); !dropped) return dropped;
  }
  if (has_room(bytes)) return Room::there;
  switch (overflow) {
    case Overflow::block: return wait_for_room(bytes, deadline);
    case Overflow::fail:
      ++full_;
      tell_dropped();
      return failure(ErrorKind::full, "ZeroMQ queue: no room for this sender");
    case Overflow::drop_old:
      if (auto dropped = drop_for_room(bytes, false, deadline); !dropped) return dropped;
      if (has_room(bytes)) return Room::there;
      break;
    case Overflow::drop_new:
    case Overflow::latest: break;
  }
  ++dropped_;
  tell_dropped();
  return Room::none;
}

Result<ZmqSender::Room> ZmqSender::wait_for_room(std::size_t bytes, Deadline& deadline) {
  for (;;) {
    const auto freed = caller_->freed();
    if (has_room(bytes)) return Room::there;
    if (auto over = caller_->over()) return tl::unexpected<Error>{*std::move(over)};
    if (!caller_->wait_freed(freed, deadline.at())) break;
  }
  ++full_;
  tell_dropped();
  return failure(ErrorKind::timed_out, "ZeroMQ queue: no room for this sender in time");
}

Result<ZmqSender::Room> ZmqSender::drop_for_room(std::size_t bytes, bool all, Deadline& deadline) {
  const auto by = std::max(deadline.at(), deadline_in(answer_within));  // the owner answers at once
  auto answer = caller_->fetch(caller_->ask(QueueKind::room, bytes, all ? 1 : 0), by);
  if (!answer) return failure(std::move(answer));
  return Room::there;
}

void ZmqSender::tell_dropped() { caller_->tell(QueueKind::dropped, dropped_, full_); }

Result<void> ZmqSender::commit(std::uint64_t type, std::size_t bytes, Deadline& deadline) {
  if (auto own = caller_->check(); !own) return own;
  TROUPE_ASSERT(bytes <= buffer_.size());
  ++put_.items;
  put_.bytes += wire::counted(bytes);
  unconfirmed_.push_back(caller_->tell(QueueKind::put, type, 0, std::span{buffer_}.first(bytes)));
  // Once told it is put, sooner or later: so the owner's word is waited for longer than room would be.
  const std::uint64_t unconfirmed_max = caller_->bounds().unconfirmed_puts_max;
  if (unconfirmed_.size() <= unconfirmed_max) return {};
  // Not for one only: each wait costs more than many puts.
  return confirm_all_but(unconfirmed_max / 2, std::max(deadline.at(), deadline_in(answer_within)));
}

Result<void> ZmqSender::confirm_all_but(std::size_t puts, TimePoint by) {
  if (unconfirmed_.size() <= puts) return {};
  auto confirmed = caller_->wait_done(unconfirmed_[unconfirmed_.size() - 1 - puts], by);
  const std::uint64_t done = caller_->done();
  while (!unconfirmed_.empty() && unconfirmed_.front() <= done) unconfirmed_.pop_front();
  if (!confirmed && confirmed.error().kind == ErrorKind::timed_out)
    return failure(ErrorKind::timed_out,
                   "ZeroMQ queue: its owner has not confirmed the item; it may be put yet");
  return confirmed;
}

Result<void> ZmqSender::flush(Deadline& deadline) {
  if (auto own = caller_->check(); !own) return own;
  return confirm_all_but(0, deadline.at());
}

// ---- receiving --------------------------------------------------------------------------------------------

ZmqReceiver::~ZmqReceiver() {
  if (caller_->forked())
    static_cast<void>(caller_.release());
  else
    caller_->leave(deadline_in(answer_within));
}

Result<Taken> ZmqReceiver::take(Deadline& deadline) {
  if (auto own = caller_->check(); !own) return failure(std::move(own));
  auto item = caller_->take(deadline);
  if (!item) return failure(std::move(item));
  const auto header = wire::read<wire::ItemHeader>(item->bytes);
  TROUPE_ASSERT(header.has_value());  // it was let in
  const InHand& taken = in_hand_[item->ticket] = {item->number, std::move(item->bytes)};
  return Taken{item->ticket, header->type, item->attempt, std::span{taken.bytes}.subspan(sizeof *header)};
}

Result<void> ZmqReceiver::settle(std::uint64_t ticket, Settlement settlement) {
  if (auto own = caller_->check(); !own) return own;
  const auto item = in_hand_.find(ticket);
  if (item == in_hand_.end())
    return failure(ErrorKind::refused, "ZeroMQ queue: this item is not in the hand of this receiver");
  caller_->settle(item->second.number, ticket, settlement);
  in_hand_.erase(item);
  return {};
}

Waitable ZmqReceiver::readable() {
  return {caller_->descriptor(), [this] { return caller_->forked() || caller_->arm(); }};
}

}  // namespace troupe::zmq::detail
