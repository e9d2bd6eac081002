// SPDX-License-Identifier: MIT
#include "leaves_nothing.hpp"

#include <troupe/actors/endpoint.hpp>
#include <troupe/runtime/keeper_link.hpp>

namespace troupe::test {
namespace {

/// "descriptor 5 → socket:[4711]" without its numbers, which are other ones with every keeper.
std::map<std::string, int> counted(const Holdings& holdings) {
  std::map<std::string, int> counts;
  for (const auto& [number, target] : holdings.descriptors)
    ++counts["a descriptor of " + target.substr(0, target.find(":["))];
  for (const auto& name : holdings.mappings) ++counts["a mapping of " + name];
  for (const auto pid : holdings.children) ++counts["child " + std::to_string(pid)];
  return counts;
}

/// Ends the present keeper, and says whether it and all that it had started are gone.
bool end_keeper() {
  const auto link = detail::KeeperLink::of_process();
  if (!link) return false;
  const pid_t keeper = (*link)->keeper_pid();
  std::optional<Watched> watched;
  try {
    watched.emplace(keeper);
  } catch (const Failure&) {
    // It has ended already, and was reaped: the test has killed it.
  }
  detail::KeeperLink::end(patience);
  const bool ended = !watched || watched->gone(Duration::zero());
  // A killed keeper's children get their SIGKILL with its death, and are gone as soon as each has run once
  // more.
  auto left = started_by(keeper);
  std::erase_if(left, [](pid_t pid) {
    try {
      return Watched{pid}.gone(patience);
    } catch (const Failure&) {
      return true;  // gone meanwhile
    }
  });
  for (const pid_t pid : left) ADD_FAILURE() << "left behind: process " << pid << " (" << name_of(pid) << ")";
  return ended && left.empty();
}

}  // namespace

bool LeavesNothing::renew() {
  const bool ended = end_keeper();
  auto& endpoint = *detail::Endpoint::of_process().value();
  [[maybe_unused]] const auto rung =
      endpoint.link().wait_bell(Clock::now());  // makes what a thread waits with
  return ended;
}

LeavesNothing::LeavesNothing() {
  renew();
  before_ = Holdings::now();
}

LeavesNothing::~LeavesNothing() {
  EXPECT_TRUE(renew()) << "the keeper did not end, or left something";
  const auto before = counted(before_);
  for (const auto& [what, count] : counted(Holdings::now())) {
    const auto old = before.find(what);
    const int left = count - (old == before.end() ? 0 : old->second);
    if (left > 0) ADD_FAILURE() << "left behind: " << left << " × " << what;
  }
  EXPECT_TRUE(end_keeper());
}

}  // namespace troupe::test
