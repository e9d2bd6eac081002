// SPDX-License-Identifier: MIT
#include <troupe/runtime/queue_deposits.hpp>

#include <sys/stat.h>

#include <algorithm>

namespace troupe {
namespace {

constexpr std::size_t deposits_per_sender_max = 256;
constexpr std::size_t deposits_max = 4096;

bool same(const QueueDeposits::Presence& one, const QueueDeposits::Presence& other) {
  return !one.owner_before(other) && !other.owner_before(one);
}

}  // namespace

QueueDeposits::Key QueueDeposits::key_of(int file) {
  struct stat status {};
  if (::fstat(file, &status) == -1) return {};
  return {status.st_dev, status.st_ino};
}

std::size_t QueueDeposits::size() const {
  std::size_t count = 0;
  for (const auto& [key, queue] : queues_)
    for (const Deposit& one : queue.deposits) count += one.descriptors.size();
  return count;
}

/// An item that was not published yet can come as long as its sender lives.
void QueueDeposits::collect(Queue& queue) {
  using Item = detail::QueueGlance::Item;
  if (!queue.glance.has_ends()) return queue.deposits.clear();
  std::erase_if(queue.deposits, [&](const Deposit& one) {
    switch (queue.glance.item(one.lane, one.number)) {
      case Item::coming: return one.sender.expired();
      case Item::there: return false;
      case Item::done: return true;
    }
    std::abort();
  });
}

void QueueDeposits::look(int queue) {
  const auto at = queues_.find(key_of(queue));
  if (at == queues_.end()) return;
  collect(at->second);
  if (at->second.deposits.empty()) queues_.erase(at);
}

void QueueDeposits::look_at_all() {
  for (auto& [key, queue] : queues_) collect(queue);
  std::erase_if(queues_, [](const auto& one) { return one.second.deposits.empty(); });
}

Result<QueueDeposits::Queue*> QueueDeposits::find_or_add(OwnedFd file) {
  const Key key = key_of(file.get());
  if (const auto at = queues_.find(key); at != queues_.end()) return &at->second;
  auto glance = detail::QueueGlance::create(std::move(file));
  if (!glance) return failure(std::move(glance));
  return &queues_.emplace(key, Queue{std::move(*glance)}).first->second;
}

Result<void> QueueDeposits::check_room(const Presence& sender, std::size_t more) const {
  std::size_t own = more;
  for (const auto& [key, queue] : queues_)
    for (const Deposit& one : queue.deposits)
      if (same(one.sender, sender)) own += one.descriptors.size();
  if (own > deposits_per_sender_max)
    return failure(ErrorKind::exhausted, "queue: " + std::to_string(deposits_per_sender_max) +
                                             " descriptors of this sender wait in queues; try again when its "
                                             "receivers have got on");
  if (size() + more > deposits_max)
    return failure(ErrorKind::exhausted, "queue: the keeper holds " + std::to_string(deposits_max) +
                                             " descriptors of items; try again later");
  return {};
}

Result<void> QueueDeposits::deposit(const control::ItemDeposit& request, const Presence& sender,
                                    std::vector<OwnedFd> descriptors) {
  if (descriptors.empty()) return failure(ErrorKind::malformed, "queue: a deposit without its queue");
  look(descriptors.front().get());
  auto queue = find_or_add(std::move(descriptors.front()));
  if (!queue) return failure(std::move(queue));
  descriptors.erase(descriptors.begin());
  // A second one for the same place means that the item of the first was never published.
  std::erase_if((*queue)->deposits,
                [&](const Deposit& one) { return one.lane == request.lane && one.number >= request.number; });
  if (auto room = check_room(sender, descriptors.size()); !room) return room;
  (*queue)->deposits.push_back({request.lane, request.number, sender, std::move(descriptors)});
  return {};
}

std::vector<int> QueueDeposits::withdraw(const control::ItemWithdraw& request, int queue) const {
  const auto held = queues_.find(key_of(queue));
  if (held == queues_.end()) return {};
  const auto at = std::ranges::find_if(held->second.deposits, [&](const Deposit& one) {
    return one.lane == request.lane && one.number == request.number;
  });
  if (at == held->second.deposits.end()) return {};
  std::vector<int> descriptors;
  for (const OwnedFd& fd : at->descriptors) descriptors.push_back(fd.get());
  return descriptors;
}

}  // namespace troupe
