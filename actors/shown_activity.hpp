// SPDX-License-Identifier: MIT
#pragma once
// Internal.

#include <troupe/transport/lane_layout.hpp>

namespace troupe::detail {

/// Shows an activity to whoever judges this process from outside, and the one before it again at the end.
class ShownActivity {
 public:
  ShownActivity(lane::Progress& progress, lane::Activity activity) noexcept
      : progress_{progress},
        before_{progress.activity.exchange(static_cast<std::uint32_t>(activity), std::memory_order_relaxed)} {
  }
  ShownActivity(const ShownActivity&) = delete;
  ShownActivity& operator=(const ShownActivity&) = delete;
  ~ShownActivity() { progress_.activity.store(before_, std::memory_order_relaxed); }

 private:
  lane::Progress& progress_;
  std::uint32_t before_;
};

}  // namespace troupe::detail
