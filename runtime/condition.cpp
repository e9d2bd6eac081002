// SPDX-License-Identifier: MIT
#include <troupe/runtime/condition.hpp>

namespace troupe {
namespace {

/// `invalid` for a lock that cannot be given up and taken again.
Result<void> check(const Lock& lock, const detail::SharedFile* of) {
  if (of == nullptr) return failure(ErrorKind::invalid, "condition: the lock is not held");
  const detail::Holding& holding = of->holding();
  if (holding.depth.load(std::memory_order_relaxed) > 1)
    return failure(ErrorKind::invalid, "condition: the mutex is locked more than once");
  if (lock.owner_died() && holding.unrepaired.load(std::memory_order_relaxed) != 0)
    return failure(ErrorKind::invalid,
                   "condition: a holder of the mutex has died, and nobody said repaired()");
  return {};
}

}  // namespace

Condition::Condition() : Condition{create().value()} {}

Result<Condition> Condition::create() {
  auto file = detail::SharedFile::create(spec);
  if (!file) return failure(std::move(file));
  return Condition{std::move(*file)};
}

Result<void> Condition::wait(Lock& lock, Duration within) const { return wait_until(lock, Deadline{within}); }

Result<void> Condition::wait_until(Lock& lock, Deadline deadline) const {
  if (auto usable = check(lock, lock.fork_.forked() ? nullptr : lock.file_.get()); !usable) return usable;
  auto& notified = file_->words<detail::EventCount>();
  // Seen with the mutex held, so whoever changes what is waited for does so, and notifies, after it.
  const std::uint32_t seen = notified.now();
  const auto file = lock.file_;
  lock.unlock();
  const bool woken = notified.wait(deadline, [&] { return notified.now() != seen; });
  auto again = Lock::take(file, Deadline{never});
  if (!again) return failure(std::move(again));
  lock = std::move(*again);
  if (lock.owner_died()) return failure(ErrorKind::down, "condition: a holder of the mutex has died");
  return woken ? Result<void>{} : timed_out();
}

tl::unexpected<Error> Condition::timed_out() {
  return failure(ErrorKind::timed_out, "condition: what was waited for did not come about");
}

void Condition::notify(std::uint32_t waiters_max) const noexcept {
  file_->words<detail::EventCount>().announce(std::min(waiters_max, detail::everybody));
}

}  // namespace troupe
