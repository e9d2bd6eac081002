// SPDX-License-Identifier: MIT
#include <troupe/actors/pending_ask.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

/// The process's endpoint, if it is still the one of that keeper link: another knows nothing of these
/// questions.
Endpoint* endpoint_of(std::uint64_t generation) {
  if (generation == 0 || KeeperLink::current_generation() != generation) return nullptr;
  return Endpoint::of_process().value_or(nullptr);
}

}  // namespace

Result<PendingAsk> PendingAsk::start(RoleId to, std::uint64_t type, const Payload& payload,
                                     TimePoint deadline) {
  auto endpoint = Endpoint::of_process();
  if (!endpoint) return failure(std::move(endpoint));
  auto question = (*endpoint)->open_question(to, type, payload, deadline);
  if (!question) return failure(std::move(question));
  return PendingAsk{KeeperLink::current_generation(), *question};
}

PendingAsk::~PendingAsk() {
  if (Endpoint* const endpoint = endpoint_of(generation_)) endpoint->close_question(question_);
}

std::optional<Result<ReplyBytes>> PendingAsk::end() {
  if (generation_ == 0) return std::nullopt;
  Endpoint* const endpoint = endpoint_of(generation_);
  std::optional<Result<ReplyBytes>> end;
  if (endpoint == nullptr)
    end = tl::unexpected<Error>{keeper_is_gone()};
  else
    end = endpoint->reply_to(question_);
  if (end) generation_ = 0;
  return end;
}

Result<AskWaiter> AskWaiter::create() {
  auto endpoint = Endpoint::of_process();
  if (!endpoint) return failure(std::move(endpoint));
  const KeeperLink& link = (*endpoint)->link();
  auto waiter = BellWaiter::create(link.bell());
  if (!waiter) return failure(std::move(waiter));
  if (link.keeper_descriptor() != -1)
    if (auto watched = waiter->watch(link.keeper_descriptor()); !watched) return failure(std::move(watched));
  return AskWaiter{std::move(*waiter), KeeperLink::current_generation(), link.keeper_descriptor()};
}

/// Takes the bell's last ring from the descriptor first, which would end the sleep at once.
bool AskWaiter::arm() {
  wake();
  constexpr int looks = 4;  // what is watched may stay ready: then there is something
  auto woken = BellWaiter::Woken::bell;
  for (int i = 0; i < looks && woken == BellWaiter::Woken::bell; ++i) woken = waiter_.wait(TimePoint{});
  if (woken != BellWaiter::Woken::deadline) return true;
  Endpoint* const endpoint = endpoint_of(generation_);
  if (endpoint == nullptr || endpoint->begin_sleep()) return true;
  armed_ = true;
  return false;
}

void AskWaiter::wake() {
  if (!std::exchange(armed_, false)) return;
  if (Endpoint* const endpoint = endpoint_of(generation_)) endpoint->end_sleep();
}

Result<void> AskWaiter::sleep(TimePoint deadline) {
  if (endpoint_of(generation_) == nullptr) return tl::unexpected<Error>{keeper_is_gone()};
  if (!arm()) [[maybe_unused]]
    const auto woken = waiter_.wait(deadline);
  wake();
  if (is_keeper_gone()) return tl::unexpected<Error>{keeper_is_gone()};
  return {};
}

bool AskWaiter::is_keeper_gone() const { return keeper_ != -1 && wait_readable(keeper_, TimePoint{}); }

}  // namespace troupe::detail
