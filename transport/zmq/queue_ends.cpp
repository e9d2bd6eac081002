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
using wire::QueueStatus;

/// How long an owner may take for an answer that needs no waiting. It is a process like others, and may be
/// stopped.
constexpr seconds answer_within{5};

}  // namespace

// ---- sending ----------------------------------------------------------------------------------------------

ZmqSender::~ZmqSender() {
  if (caller_->forked())
    static_cast<void>(caller_.release());
  else
    caller_->leave(0, deadline_in(answer_within));
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
  // Once asked for it is put, sooner or later: so the owner's word is waited for longer than room would be.
  const auto by = std::max(deadline.at(), deadline_in(answer_within));
  auto answer = caller_->fetch(caller_->ask(QueueKind::put, type, 0, std::span{buffer_}.first(bytes)), by);
  if (!answer && answer.error().kind == ErrorKind::timed_out)
    return failure(ErrorKind::timed_out,
                   "ZeroMQ queue: its owner has not confirmed the item; it may be put yet");
  if (!answer) return failure(std::move(answer));
  return {};
}

// ---- receiving --------------------------------------------------------------------------------------------

ZmqReceiver::~ZmqReceiver() {
  if (caller_->forked())
    static_cast<void>(caller_.release());
  else
    caller_->leave(seen_, deadline_in(answer_within));
}

void ZmqReceiver::want() {
  if (want_ == 0) want_ = caller_->ask(QueueKind::want);
}

Result<Caller::Answer> ZmqReceiver::next(Deadline& deadline) {
  want();
  auto answer = caller_->fetch(want_, deadline.at());
  if (answer || answer.error().kind != ErrorKind::timed_out) return answer;
  // Not now: but an item may be on its way, and is not to lie here unseen.
  caller_->unwant(want_);
  return caller_->fetch(want_, deadline_in(answer_within));
}

Result<Taken> ZmqReceiver::take(Deadline& deadline) {
  if (auto own = caller_->check(); !own) return failure(std::move(own));
  auto answer = next(deadline);
  if (!answer) return failure(std::move(answer));
  const std::uint64_t number = std::exchange(want_, 0);
  if (answer->status == QueueStatus::nothing)
    return failure(ErrorKind::timed_out, "ZeroMQ queue: nothing came in time");
  if (answer->status == QueueStatus::ended)
    return failure(ErrorKind::closed, "ZeroMQ queue: it was closed and is empty");
  const auto item = wire::read<wire::ItemHeader>(answer->body);
  if (!item) return failure(ErrorKind::malformed, "ZeroMQ queue: an item that is none");
  seen_ = number;
  Bytes& bytes = in_hand_[answer->a] = std::move(answer->body);
  return Taken{answer->a, item->type, static_cast<std::uint32_t>(answer->b),
               std::span{bytes}.subspan(sizeof *item)};
}

Result<void> ZmqReceiver::settle(std::uint64_t ticket, Settlement settlement) {
  if (auto own = caller_->check(); !own) return own;
  if (in_hand_.erase(ticket) == 0)
    return failure(ErrorKind::refused, "ZeroMQ queue: this item is not in the hand of this receiver");
  caller_->tell(QueueKind::settle, ticket, static_cast<std::uint64_t>(settlement));
  return {};
}

Waitable ZmqReceiver::readable() {
  return {caller_->descriptor(), [this] {
            if (caller_->forked()) return true;
            want();
            return caller_->has_answer(want_) || caller_->over().has_value();
          }};
}

}  // namespace troupe::zmq::detail
