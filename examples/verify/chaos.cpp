// SPDX-License-Identifier: MIT
#include "chaos.hpp"

#include <algorithm>
#include <csignal>
#include <vector>

namespace verify {
namespace {

constexpr int strikes_at_once_max = 4;
constexpr std::chrono::seconds missed_after{1};  ///< far longer than a stopped actor takes to be judged hung

}  // namespace

Chaos::Chaos(const Options& options, troupe::TimePoint begin)
    : random_{options.seed},
      per_second_{options.chaos_per_second},
      deaths_{options.deaths},
      seconds_min_{options.seconds_min},
      begin_{begin} {
  plan_next(begin);
}

/// Strikes at a constant rate at random moments: exponentially distributed pauses.
void Chaos::plan_next(troupe::TimePoint now) {
  if (per_second_ <= 0) return;
  std::exponential_distribution<double> pause{per_second_};
  next_ = troupe::deadline_after(
      now, std::chrono::duration_cast<troupe::Duration>(std::chrono::duration<double>{pause(random_)}));
}

void Chaos::act(troupe::Node& node, troupe::TimePoint now, double fraction, std::uint64_t seen) {
  if (now >= next_) {
    strike(node);
    plan_next(now);
  }
  const double elapsed = std::chrono::duration<double>{now - begin_}.count();
  const double done = std::clamp(seconds_min_ > 0 ? elapsed / seconds_min_ : fraction, 0.0, 1.0);
  // The k-th of n is due in the middle of the k-th n-th of the work.
  const auto due = std::min(deaths_, static_cast<std::uint64_t>(done * static_cast<double>(deaths_) + 0.5));
  for (int at_once = 0; struck_ < due && at_once < strikes_at_once_max && strike(node); ++at_once) {
    ++struck_;
    last_strike_ = now;
  }
  // Two strikes may have met one process, and a stopped one without work is not missed: deal those anew.
  if (struck_ >= deaths_ && seen < deaths_ && now - last_strike_ > missed_after) struck_ = seen;
}

bool Chaos::strike(troupe::Node& node) {
  const auto children = node.children();
  if (!children) return false;
  std::vector<const troupe::ChildInfo*> living;
  for (const troupe::ChildInfo& child : *children)
    if (child.pid != 0) living.push_back(&child);
  if (living.empty()) return false;
  const auto one = std::uniform_int_distribution<std::size_t>{0, living.size() - 1}(random_);
  std::discrete_distribution<int> kind{70, 15, 15};
  constexpr int signals[]{SIGKILL, SIGSTOP, SIGSEGV};
  return node.signal(living[one]->name, signals[kind(random_)]).has_value();
}

}  // namespace verify
