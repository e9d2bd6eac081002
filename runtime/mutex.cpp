// SPDX-License-Identifier: MIT
#include <troupe/runtime/mutex.hpp>

namespace troupe {
namespace {

using detail::Holding;
using detail::RobustLock;
using detail::SharedFile;

constexpr std::uint32_t depth_max = std::uint32_t{1} << 31U;

// Of the Holding: its thread's alone.
std::uint32_t get(const detail::FutexWord& word) noexcept { return word.load(std::memory_order_relaxed); }
void set(detail::FutexWord& word, std::uint32_t value) noexcept {
  word.store(value, std::memory_order_relaxed);
}

}  // namespace

// ---- Lock -------------------------------------------------------------------------------------------------

Lock::Lock(std::shared_ptr<SharedFile> file, bool owner_died) noexcept
    : file_{std::move(file)}, thread_{detail::own_thread_number()}, owner_died_{owner_died} {}

Result<Lock> Lock::take(std::shared_ptr<SharedFile> file, Deadline deadline) {
  const auto taken = file->lock().lock(deadline);
  if (!taken) return tl::unexpected<Error>{taken.error()};
  const bool died = *taken == RobustLock::Taken::after_death;
  Holding& holding = file->holding();
  set(holding.depth, 1);
  set(holding.unrepaired, died ? 1 : 0);
  return Lock{std::move(file), died};
}

Lock& Lock::operator=(Lock&& other) noexcept {
  if (this == &other) return *this;
  unlock();
  file_ = std::move(other.file_);
  thread_ = other.thread_;
  owner_died_ = other.owner_died_;
  fork_ = other.fork_;
  return *this;
}

void Lock::repaired() noexcept {
  if (file_ && !fork_.forked()) set(file_->holding().unrepaired, 0);
}

void Lock::unlock() noexcept {
  const auto file = std::exchange(file_, nullptr);
  if (!file || fork_.forked()) return;
  if (thread_ != detail::own_thread_number()) {
    // The list of locks is the thread's own. Once it has ended, the kernel has taken this one from it.
    TROUPE_ASSERT(!file->lock().is_held_by(thread_));
    return;
  }
  Holding& holding = file->holding();
  const std::uint32_t depth = get(holding.depth);
  if (depth > 1) return set(holding.depth, depth - 1);
  set(holding.depth, 0);
  const bool given_up = get(holding.unrepaired) != 0;
  file->lock().unlock(given_up ? RobustLock::Next::nobody : RobustLock::Next::anybody);
}

// ---- Mutex ------------------------------------------------------------------------------------------------

Mutex::Mutex() : Mutex{create().value()} {}

Result<Mutex> Mutex::create() {
  auto file = SharedFile::create(spec);
  if (!file) return failure(std::move(file));
  return Mutex{std::move(*file)};
}

Result<Lock> Mutex::lock(Duration within) const { return Lock::take(file_, Deadline{within}); }

// ---- RecursiveMutex ---------------------------------------------------------------------------------------

RecursiveMutex::RecursiveMutex() : RecursiveMutex{create().value()} {}

Result<RecursiveMutex> RecursiveMutex::create() {
  auto file = SharedFile::create(spec);
  if (!file) return failure(std::move(file));
  return RecursiveMutex{std::move(*file)};
}

Result<Lock> RecursiveMutex::lock(Duration within) const {
  const RobustLock& lock = file_->lock();
  if (!lock.is_held_by(detail::own_thread_number())) return Lock::take(file_, Deadline{within});
  Holding& holding = file_->holding();
  const std::uint32_t depth = get(holding.depth);
  if (depth == 0)
    return failure(ErrorKind::invalid,
                   "recursive mutex: this thread holds it through another copy, which was "
                   "handed over by itself");
  if (depth >= depth_max) return failure(ErrorKind::exhausted, "recursive mutex: it is locked 2^31 times");
  set(holding.depth, depth + 1);
  return Lock{file_, get(holding.unrepaired) != 0};
}

}  // namespace troupe
