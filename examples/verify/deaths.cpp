// SPDX-License-Identifier: MIT
#include "deaths.hpp"

#include <csignal>
#include <variant>

namespace verify {
namespace {

DeathKind kind_of(const troupe::ExitReason& reason) {
  if (reason.cause == troupe::ExitCause::hung) return DeathKind::hung;
  const auto* const signaled = std::get_if<troupe::Signaled>(&reason.status);
  return signaled != nullptr && signaled->number == SIGKILL ? DeathKind::killed : DeathKind::crashed;
}

}  // namespace

troupe::Result<void> DeathLog::learn(troupe::Node& node) {
  auto history = node.history(history_);
  if (!history) return troupe::failure(std::move(history));
  history_ = history->next;
  for (const troupe::Transition& step : history->transitions) {
    if (step.to != troupe::supervision::ChildState::clearing ||
        step.reason.cause == troupe::ExitCause::shutdown)
      continue;
    const std::string reason = to_string(step.reason);
    all_.push_back({step.name, step.pid, reason, kind_of(step.reason)});
    last_[step.name] = {reason, step.time};
  }
  return {};
}

const DeathLog::Last* DeathLog::last_of(const std::string& role) const {
  const auto at = last_.find(role);
  return at == last_.end() ? nullptr : &at->second;
}

}  // namespace verify
