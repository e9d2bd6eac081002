// SPDX-License-Identifier: MIT
// How an Endpoint asks: posts a question, and learns how it ended.
#include <troupe/actors/endpoint.hpp>
#include <troupe/actors/outbox.hpp>
#include <troupe/actors/shown_activity.hpp>

namespace troupe::detail {

using control::LaneClass;

Error Endpoint::down(const LanesOut::Lane& lane, std::uint64_t offset) {
  const bool in_hand =
      lane.last_attempt >> lane::attempts_bits == offset && (lane.last_attempt & lane::attempts_mask) != 0;
  const bool begun = lane.last_head > offset || in_hand;
  return {ErrorKind::down, 0,
          "ask: the receiver has ended (" + to_string(lane.reason) + "); its handler had " +
              (begun ? "begun" : "not begun")};
}

Result<OpenQuestion> Endpoint::open_locked(RoleId to, std::uint64_t type, const Payload& payload,
                                           TimePoint deadline, Duration within) {
  in_.take_replies(open_);  // late ones make room for this one's
  const std::uint64_t token = next_token_++ | std::uint64_t{link_->attached().incarnation} << 40U;
  const envelope::Question question{deadline.time_since_epoch().count(), token};
  auto posted = post_locked({to, LaneClass::mail}, {type, envelope::sequence(envelope::Kind::question, 0)},
                            control::bytes_of(question), payload, within);
  if (!posted) {
    if (posted.error().kind == ErrorKind::closed) posted.error().kind = ErrorKind::down;
    return failure(std::move(posted));
  }
  open_.open(token);
  return OpenQuestion{to, token, posted->offset, posted->ends};
}

std::optional<Result<ReplyBytes>> Endpoint::reply_locked(const OpenQuestion& question) {
  catch_up();
  in_.take_replies(open_);
  std::optional<Result<ReplyBytes>> end;
  const LanesOut::Lane& lane = out_.at({question.to, LaneClass::mail});
  if (auto* const reply = open_.find(question.token); reply != nullptr && *reply)
    end = std::move(**reply);
  else if (lane.ends != question.ends)
    end = tl::unexpected<Error>{down(lane, question.offset)};
  if (end) open_.close(question.token);
  return end;
}

Result<ReplyBytes> Endpoint::ask(RoleId to, std::uint64_t type, const Payload& payload, TimePoint deadline) {
  if (auto allowed = check_thread(); !allowed) return failure(std::move(allowed));
  const ShownActivity waiting{file_.page().progress, lane::Activity::parked};
  if (outbox_ != nullptr)
    if (auto delivered = outbox_->deliver_to(to, deadline); !delivered) return failure(std::move(delivered));
  const std::lock_guard lock{using_};
  auto question = open_locked(to, type, payload, deadline, deadline - Clock::now());
  if (!question) return failure(std::move(question));
  for (;;) {
    if (auto end = reply_locked(*question)) return std::move(*end);
    if (Clock::now() >= deadline) {
      open_.close(question->token);
      return failure(ErrorKind::timed_out, "ask: no reply within its deadline");
    }
    if (spin_.until([&] { return in_.has_reply() || has_news(); })) continue;
    enter_sleep();
    auto woken = KeeperLink::Woken::rung;
    if (!in_.has_reply() && !has_news()) woken = wait_bell(deadline);
    leave_sleep();
    if (woken == KeeperLink::Woken::keeper_gone) {
      open_.close(question->token);
      return tl::unexpected<Error>{keeper_is_gone()};
    }
  }
}

// ---- questions that no call waits for -------------------------------------------------------------------

Result<OpenQuestion> Endpoint::open_question(RoleId to, std::uint64_t type, const Payload& payload,
                                             TimePoint deadline) {
  if (auto allowed = check_thread(); !allowed) return failure(std::move(allowed));
  if (outbox_ != nullptr)
    return failure(ErrorKind::refused, "ask: an actor that keeps state waits for its replies");
  const std::lock_guard lock{using_};
  return open_locked(to, type, payload, deadline, Duration::zero());
}

std::optional<Result<ReplyBytes>> Endpoint::reply_to(const OpenQuestion& question) {
  const std::lock_guard lock{using_};
  return reply_locked(question);
}

void Endpoint::close_question(const OpenQuestion& question) {
  const std::lock_guard lock{using_};
  open_.close(question.token);
}

/// A reply that another thread's ask has taken meanwhile counts as well: nobody rings for that one again.
/// News is taken at once, since nothing else may look for it while no question is open.
bool Endpoint::begin_sleep() {
  const std::lock_guard lock{using_};
  if (has_news()) {
    catch_up();
    return true;
  }
  enter_sleep();
  if (!has_news() && !in_.has_reply() && !open_.any_replied()) return false;
  leave_sleep();
  return true;
}

void Endpoint::end_sleep() {
  const std::lock_guard lock{using_};
  leave_sleep();
}

/// A sender rings once for each odd value of the sleep counter. So it takes a new one whenever a thread comes
/// or goes, and is odd as long as one sleeps.
void Endpoint::enter_sleep() noexcept {
  if (sleepers_++ == 0)
    file_.announce_sleep();
  else
    file_.renew_sleep();
}

void Endpoint::leave_sleep() noexcept {
  if (--sleepers_ == 0)
    file_.end_sleep();
  else
    file_.renew_sleep();
}

}  // namespace troupe::detail
