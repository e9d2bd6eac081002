// SPDX-License-Identifier: MIT
#include "id_set.hpp"

#include <algorithm>

namespace verify {

bool IdSet::add(std::uint64_t id) {
  const auto next =
      std::ranges::upper_bound(runs, id, {}, &Run::first);  // the first run that begins behind id
  const bool has_before = next != runs.begin();
  if (has_before && id < std::prev(next)->end) return false;
  const bool joins_before = has_before && std::prev(next)->end == id;
  const bool joins_next = next != runs.end() && next->first == id + 1;
  if (joins_before && joins_next) {
    std::prev(next)->end = next->end;
    runs.erase(next);
  } else if (joins_before) {
    std::prev(next)->end = id + 1;
  } else if (joins_next) {
    next->first = id;
  } else {
    runs.insert(next, Run{id, id + 1});
  }
  return true;
}

bool IdSet::contains(std::uint64_t id) const noexcept {
  const auto next = std::ranges::upper_bound(runs, id, {}, &Run::first);
  return next != runs.begin() && id < std::prev(next)->end;
}

std::uint64_t IdSet::size() const noexcept {
  std::uint64_t count = 0;
  for (const Run& run : runs) count += run.end - run.first;
  return count;
}

}  // namespace verify
