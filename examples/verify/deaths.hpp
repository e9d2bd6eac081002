// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <troupe/troupe.hpp>
#include <vector>

#include "report.hpp"

namespace verify {

/// Who has died of what, as the node's history tells it. A stop that was asked for is no death.
class DeathLog {
 public:
  struct Last {
    std::string reason{};
    troupe::TimePoint when{};
  };

  /// What has happened since it was asked last.
  troupe::Result<void> learn(troupe::Node& node);
  [[nodiscard]] const std::vector<Death>& all() const noexcept { return all_; }
  /// Of a role; null if it has never died.
  [[nodiscard]] const Last* last_of(const std::string& role) const;

 private:
  std::uint64_t history_ = 0;  ///< how far it has been read
  std::vector<Death> all_{};
  std::map<std::string, Last> last_{};
};

}  // namespace verify
