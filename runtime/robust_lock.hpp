// SPDX-License-Identifier: MIT
#pragma once
// Internal. A lock in shared memory that the kernel takes from a holder that ends.

#include <linux/futex.h>

#include <cstddef>
#include <cstdint>
#include <troupe/runtime/futex.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/result.hpp>

namespace troupe::detail {

/// `system` where this C library keeps its list of robust locks in another way than the one known here.
/// Looked at once for each process.
[[nodiscard]] Result<void> check_robust_lists();

/// What of a lock lies in shared memory. Zeros: nobody holds it.
struct LockWords {
  FutexWord unused[2];
  FutexWord owner;  ///< as the kernel wants it: thread id, FUTEX_WAITERS, FUTEX_OWNER_DIED
  FutexWord unused_too;
};

/// A robust futex: one word that names the thread which holds it, and a link in the list that the kernel
/// walks when that thread ends, however it ends. The list is the C library's own, which knows one for each
/// thread, so this lock and robust pthread mutexes live beside each other.
///
/// The kernel finds the word at a fixed distance from the link. A pthread mutex has both in shared memory,
/// where whoever scribbles on a link makes another process write anywhere. Here the word is the last thing of
/// a shared page, and the link lies behind it in a private page: what other processes write into the words
/// can make locking fail, and nothing else.
///
/// Owner of the memory: whoever made this; it must stay mapped while the lock is held. Threads: any; it is
/// unlocked by the thread that has locked it.
class RobustLock {
 public:
  /// The words' place in a shared page of this size, which a private page follows.
  static constexpr std::size_t page_bytes = 4096;
  static constexpr std::size_t words_offset = page_bytes - sizeof(LockWords);

  explicit RobustLock(std::byte* page) noexcept;

  enum class Taken { clean, after_death };
  /// `timed_out`; `invalid` if this thread has it; `down` once it was given up for good; `malformed` for a
  /// word that names nobody.
  [[nodiscard]] Result<Taken> lock(Deadline& deadline) const;

  enum class Next { anybody, nobody };  ///< nobody: every later lock() is `down`
  void unlock(Next next = Next::anybody) const noexcept;

  [[nodiscard]] bool is_held_by(std::uint32_t thread) const noexcept;
  [[nodiscard]] bool is_held() const noexcept;

 private:
  [[nodiscard]] Result<Taken> lock_contended(std::uint32_t self, Deadline& deadline) const;
  [[nodiscard]] robust_list* link() const noexcept;

  LockWords* words_;
};

/// Number of the calling thread, as the kernel has it in lock words.
[[nodiscard]] std::uint32_t own_thread_number() noexcept;

/// Holds such a lock over lines that leave nothing half-done, or what whoever comes next can mend. A plain
/// fork's child, which may end a copy of this, does not unlock what its parent holds.
class Guarded {
 public:
  Guarded(const RobustLock& lock, Deadline& deadline) : lock_{lock}, taken_{lock.lock(deadline)} {}
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() {
    if (taken_ && !fork_.forked()) lock_.unlock();
  }
  [[nodiscard]] explicit operator bool() const noexcept { return taken_.has_value(); }
  [[nodiscard]] Error& error() { return taken_.error(); }
  [[nodiscard]] bool after_death() const { return *taken_ == RobustLock::Taken::after_death; }

 private:
  const RobustLock& lock_;
  Result<RobustLock::Taken> taken_;
  ForkGuard fork_{};
};

/// For the few lines of ours that hold such a lock and wait for nothing in it: only a process that was
/// stopped in just these makes others wait so long.
inline constexpr Duration guard_within = std::chrono::milliseconds{100};

}  // namespace troupe::detail
