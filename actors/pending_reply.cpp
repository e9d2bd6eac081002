// SPDX-License-Identifier: MIT
#include <troupe/actors/pending_reply.hpp>

namespace troupe::detail {

Result<std::unique_ptr<AwaitedAsk>> AwaitedAsk::start(RoleId to, std::uint64_t type, const Payload& payload,
                                                      TimePoint deadline) {
  auto waiter = AskWaiter::create();
  if (!waiter) return failure(std::move(waiter));
  auto timer = Timer::create();
  if (!timer) return failure(std::move(timer));
  if (deadline != never)
    if (auto set = timer->set(deadline); !set) return failure(std::move(set));
  if (auto watched = waiter->watch(timer->waitable().descriptor); !watched)
    return failure(std::move(watched));
  auto ask = PendingAsk::start(to, type, payload, deadline);
  if (!ask) return failure(std::move(ask));
  return std::unique_ptr<AwaitedAsk>{
      new AwaitedAsk{std::move(*ask), std::move(*waiter), std::move(*timer), deadline}};
}

std::optional<Result<ReplyBytes>> AwaitedAsk::end() {
  if (ended_) return std::nullopt;
  waiter_.wake();
  // Before the look: what came in time is taken.
  const bool late = Clock::now() >= deadline_;
  const bool gone = waiter_.is_keeper_gone();
  auto end = ask_.end();
  if (!end && gone) end = tl::unexpected<Error>{keeper_is_gone()};
  if (!end && late) end = failure(ErrorKind::timed_out, "ask: no reply within its deadline");
  ended_ = end.has_value();
  return end;
}

Result<ReplyBytes> AwaitedAsk::wait() {
  if (ended_) return failure(ErrorKind::invalid, "ask: its end was told already");
  for (;;) {
    if (auto over = end()) return std::move(*over);
    if (auto slept = waiter_.sleep(deadline_); !slept) return failure(std::move(slept));
  }
}

Waitable AwaitedAsk::readable() {
  return {waiter_.descriptor(), [this] { return ended_ || waiter_.arm(); }};
}

}  // namespace troupe::detail
