// SPDX-License-Identifier: MIT
#include <troupe/zmq/passing.hpp>

#include <sys/random.h>

#include <algorithm>
#include <cstring>

namespace troupe::zmq::detail {

std::vector<PlainQuarantined> plain(const std::deque<QuarantinedItem>& items) {
  std::vector<PlainQuarantined> all;
  all.reserve(items.size());
  for (const auto& item : items)
    all.push_back({static_cast<std::uint8_t>(item.cause), item.attempts, item.type, item.bytes});
  return all;
}

std::vector<QuarantinedItem> as_quarantined(std::vector<PlainQuarantined> items) {
  std::vector<QuarantinedItem> all;
  all.reserve(items.size());
  for (auto& item : items) {
    const auto cause =
        std::min<std::uint8_t>(item.cause, static_cast<std::uint8_t>(QuarantinedItem::Cause::malformed));
    all.push_back(
        {static_cast<QuarantinedItem::Cause>(cause), item.attempts, item.type, std::move(item.bytes)});
  }
  return all;
}

std::uint64_t random_number() {
  std::uint64_t number = 0;
  while (number == 0)
    if (::getrandom(&number, sizeof number, 0) != sizeof number) number = 0;
  return number;
}

}  // namespace troupe::zmq::detail
