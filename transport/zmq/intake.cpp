// SPDX-License-Identifier: MIT
#include <troupe/zmq/intake.hpp>

#include <algorithm>
#include <troupe/transport/result.hpp>

namespace troupe::zmq::detail {

void Intake::ask(TimePoint now) noexcept {
  if (std::exchange(asks_, true)) return;
  const bool soon = begun_ != 0 && now < deadline_after(begun_at_, lie_within);
  window_ = soon ? std::min(std::max<std::uint64_t>(2 * window_, 1), window_max_) : 0;
}

std::optional<Intake::Want> Intake::to_want() const noexcept {
  if (ended_) return std::nullopt;
  const auto untold = begun_ - told_begun_;
  const bool waits = ahead_.empty() && untold != 0;
  // In good time, but not for each one: what is told late keeps the owner from sending more, or this end from
  // beginning more.
  const bool enough =
      2 * untold >= std::max<std::uint64_t>(window_, 1) || 2 * untold >= wire::doubtful_max(window_max_);
  if (open_ && window_ == told_window_ && !waits && !enough) return std::nullopt;
  return Want{begun_, window_};
}

void Intake::wanted(std::uint64_t request) noexcept {
  told(request, begun_);
  want_ = request;
  told_window_ = window_;
  open_ = true;
}

void Intake::settled(std::uint64_t request, std::uint64_t number) { told(request, number); }

void Intake::told(std::uint64_t request, std::uint64_t begun) {
  if (begun <= told_begun_) return;
  told_begun_ = begun;
  told_.emplace_back(request, begun);
}

Intake::Item Intake::begin(TimePoint now) {
  TROUPE_ASSERT(may_begin());
  Item item = std::move(ahead_.front());
  ahead_.pop_front();
  begun_ = item.number;
  begun_at_ = now;
  asks_ = false;
  if (told_window_ == 0) open_ = false;  // it was for one
  return item;
}

TimePoint Intake::overdue_at() const noexcept {
  return ahead_.empty() || waits_ ? never : deadline_after(std::max(begun_at_, came_at_), lie_within);
}

void Intake::give_back(std::uint64_t request) noexcept {
  ahead_.clear();
  received_ = begun_;
  given_back_by_ = request;
  open_ = false;
}

bool Intake::on_item(Item item, std::uint64_t want, TimePoint now) {
  if (want < given_back_by_ || item.number <= received_) return true;  // the latter: sent again
  if (item.number != received_ + 1 || ahead_.size() >= std::max<std::uint64_t>(window_max_, 1)) return false;
  received_ = item.number;
  if (ahead_.empty()) came_at_ = now;
  ahead_.push_back(std::move(item));
  return true;
}

void Intake::on_done(std::uint64_t request) noexcept {
  for (; !told_.empty() && told_.front().first <= request; told_.pop_front())
    confirmed_ = std::max(confirmed_, told_.front().second);
}

}  // namespace troupe::zmq::detail
