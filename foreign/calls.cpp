// SPDX-License-Identifier: MIT
#include <troupe/foreign/calls.hpp>

#include <algorithm>

namespace troupe::foreign::detail {
namespace {

using troupe::detail::Endpoint;
using troupe::detail::Payload;
using troupe::detail::PendingAsk;
using troupe::detail::ReplyBytes;

tl::unexpected<Error> too_late() {
  return failure(ErrorKind::timed_out, "request: not within its time; it may still be handled");
}

Outcome outcome_of(const ActorMessage& message, Result<ReplyBytes> reply) {
  if (!reply) return failure(std::move(reply));
  if (reply->outcome != 0) return tl::unexpected<Error>{troupe::detail::error_of_reply(*reply)};
  // What does not fit into a frame is for processes of this machine: each reply waits in memory for its
  // client.
  if (const std::size_t bytes = reply->body.size(); bytes != 0)
    return failure(ErrorKind::invalid, "reply: it takes " + std::to_string(bytes) +
                                           " bytes, and 1 MiB is the most that a client of another language "
                                           "is sent; answer in parts");
  auto value = message.answer(reply->bytes);
  if (!value) return failure(std::move(value));
  return std::optional{std::move(*value)};
}

}  // namespace

void Calls::advance() {
  end_asked();
  end_late();
  hand_over();
}

void Calls::end_asked() {
  for (auto at = asked_.begin(); at != asked_.end();) {
    auto end = at->ask.end();
    const bool late = !end && Clock::now() >= at->call.deadline;
    if (end)
      end_(at->call.reply_to, outcome_of(*at->call.message, std::move(*end)));
    else if (late)
      end_(at->call.reply_to, too_late());
    at = end || late ? asked_.erase(at) : std::next(at);
  }
}

/// Those that wait for their turn may have less time than those before them.
void Calls::end_late() {
  const TimePoint now = Clock::now();
  for (const Call& call : waiting_)
    if (call.deadline <= now)
      end_(call.reply_to, failure(ErrorKind::timed_out, "request: its actor did not come to it in time"));
  std::erase_if(waiting_, [&](const Call& call) { return call.deadline <= now; });
}

void Calls::hand_over() {
  while (!waiting_.empty()) {
    const bool question = waiting_.front().message->answer != nullptr;
    if (question && asked_.size() >= asks_max_) return;
    Call call = std::move(waiting_.front());
    waiting_.pop_front();
    if (question)
      ask(std::move(call));
    else
      send(call);
  }
}

void Calls::send(const Call& call) {
  namespace envelope = troupe::envelope;
  auto endpoint = Endpoint::of_process();
  if (!endpoint) return end_(call.reply_to, failure(std::move(endpoint)));
  const std::span<const std::byte> bytes{call.bytes};
  auto posted =
      (*endpoint)->post({role_}, {call.message->type_id, envelope::sequence(envelope::Kind::mail, 0)}, {},
                        Payload::raw(bytes), Duration::zero());
  if (!posted) return end_(call.reply_to, failure(std::move(posted)));
  end_(call.reply_to, std::optional<Value>{});
}

void Calls::ask(Call call) {
  const std::span<const std::byte> bytes{call.bytes};
  auto asked = PendingAsk::start(role_, call.message->type_id, Payload::raw(bytes), call.deadline);
  if (!asked) return end_(call.reply_to, failure(std::move(asked)));
  call.bytes = {};  // they are in the mailbox now
  asked_.push_back({std::move(call), std::move(*asked)});
}

TimePoint Calls::next_deadline() const noexcept {
  TimePoint next = never;
  for (const Call& call : waiting_) next = std::min(next, call.deadline);
  for (const Asked& asked : asked_) next = std::min(next, asked.call.deadline);
  return next;
}

}  // namespace troupe::foreign::detail
