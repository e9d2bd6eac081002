// SPDX-License-Identifier: MIT
#pragma once
// Internal to the keeper: what has happened, for those who ask later.

#include <deque>
#include <troupe/runtime/control_lanes.hpp>
#include <troupe/transport/owned_fd.hpp>

namespace troupe::detail {

/// The steps in the lives of all children, and the messages that were set aside.
///
/// Bounded: the newest 4,096 steps and 256 messages (together at most 256 MiB) of a program stay, whoever's
/// they are. Indices count what ever came, so a reader sees what it has missed. Owner: the keeper's single
/// thread.
class Chronicle {
 public:
  void record(supervision::SupervisorId supervisor, const control::TransitionRecord& step);
  void set_aside(supervision::SupervisorId supervisor, const control::QuarantinedRecord& what,
                 OwnedFd payload);

  /// The next steps of one supervisor's children from an index on, as many as fit into an answer.
  [[nodiscard]] control::Transitions transitions(const control::SinceIndex& since) const;
  /// The next message of one supervisor's children that was set aside; `payload` is borrowed.
  [[nodiscard]] control::QuarantinedRecord quarantined(const control::SinceIndex& since, int& payload) const;

 private:
  struct Step {
    supervision::SupervisorId supervisor = 0;
    control::TransitionRecord record{};
  };
  struct Aside {
    supervision::SupervisorId supervisor = 0;
    control::QuarantinedRecord record{};
    OwnedFd payload{};
  };
  std::deque<Step> steps_{};
  std::uint64_t first_step_ = 0;  ///< index of the oldest that stays
  std::deque<Aside> asides_{};
  std::uint64_t first_aside_ = 0;
};

}  // namespace troupe::detail
