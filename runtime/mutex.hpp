// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <troupe/runtime/shared_file.hpp>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/result.hpp>
#include <utility>

namespace troupe {

/// A mutex that is held, until this object ends or unlock().
///
/// Owner: the thread that took it, which is also the one to end it: another that does so while that thread
/// holds it is stopped, with its process. It may be moved within that thread. The copy that a plain fork's
/// child has of it does nothing: the parent holds it.
class Lock {
 public:
  Lock() noexcept = default;  ///< holds nothing
  Lock(Lock&& other) noexcept
      : file_{std::move(other.file_)},
        thread_{other.thread_},
        owner_died_{other.owner_died_},
        fork_{other.fork_} {}
  Lock& operator=(Lock&& other) noexcept;
  ~Lock() { unlock(); }

  /// Whether a holder died and what it guards may be half-done. True for every next holder until one says
  /// repaired().
  [[nodiscard]] bool owner_died() const noexcept { return owner_died_; }
  /// What the mutex guards is whole again. A holder for whom owner_died() is true and who unlocks without
  /// having said so gives the mutex up: every later lock() is `down`.
  void repaired() noexcept;

  void unlock() noexcept;  ///< does nothing if nothing is held
  [[nodiscard]] bool held() const noexcept { return file_ != nullptr; }

 private:
  friend class Mutex;
  friend class RecursiveMutex;
  friend class Condition;
  template <class T>
  friend class SharedArray;
  [[nodiscard]] static Result<Lock> take(std::shared_ptr<detail::SharedFile> file, Deadline deadline);
  Lock(std::shared_ptr<detail::SharedFile> file, bool owner_died) noexcept;

  std::shared_ptr<detail::SharedFile> file_{};
  std::uint32_t thread_ = 0;
  bool owner_died_ = false;
  detail::ForkGuard fork_{};
};

/// Mutual exclusion between any threads of any processes; none of them can be killed in a way that leaves the
/// others waiting.
///
/// A holder that ends, whether killed or by exit, has its mutex taken away by the kernel; the next one gets
/// it at once and is told by owner_died(). Copies are the same mutex, in other processes too: as an argument
/// of a Process, in a message to an actor, and in the child of a plain fork. Processes that share a mutex
/// trust each other with what it guards. Threads: any. docs/shared.md.
class Mutex {
 public:
  Mutex();  ///< throws Failure where create() is an Error
  /// `exhausted` without memory or descriptors.
  [[nodiscard]] static Result<Mutex> create();

  /// `timed_out`; `invalid` if this thread holds it already; `down` when it was given up; `malformed` if
  /// another process has overwritten it.
  [[nodiscard]] Result<Lock> lock(Duration within = Duration::max()) const;
  [[nodiscard]] Result<Lock> try_lock() const { return lock(Duration::zero()); }
  /// Whether anybody holds it, which may have changed by the time that this returns.
  [[nodiscard]] bool locked() const noexcept { return file_->lock().is_held(); }

  template <class Archive>
  void save(Archive& archive) const {
    detail::save_shared(archive, file_);
  }
  template <class Archive>
  void load(Archive& archive) {
    file_ = detail::load_shared(archive, spec);
  }

 private:
  static constexpr detail::SharedSpec spec{.kind = detail::SharedKind::mutex};
  explicit Mutex(std::shared_ptr<detail::SharedFile> file) noexcept : file_{std::move(file)} {}
  std::shared_ptr<detail::SharedFile> file_;
};

/// A Mutex that its holder may lock again. It is free when all of its Locks have ended, in any order. Said
/// once, repaired() holds for all of them.
class RecursiveMutex {
 public:
  RecursiveMutex();  ///< throws Failure where create() is an Error
  /// `exhausted` without memory or descriptors.
  [[nodiscard]] static Result<RecursiveMutex> create();

  /// As Mutex::lock; `invalid` only if this thread holds it through a copy that was handed over to this
  /// process once more; `exhausted` beyond 2^31 Locks.
  [[nodiscard]] Result<Lock> lock(Duration within = Duration::max()) const;
  [[nodiscard]] Result<Lock> try_lock() const { return lock(Duration::zero()); }
  [[nodiscard]] bool locked() const noexcept { return file_->lock().is_held(); }

  template <class Archive>
  void save(Archive& archive) const {
    detail::save_shared(archive, file_);
  }
  template <class Archive>
  void load(Archive& archive) {
    file_ = detail::load_shared(archive, spec);
  }

 private:
  static constexpr detail::SharedSpec spec{.kind = detail::SharedKind::recursive_mutex};
  explicit RecursiveMutex(std::shared_ptr<detail::SharedFile> file) noexcept : file_{std::move(file)} {}
  std::shared_ptr<detail::SharedFile> file_;
};

}  // namespace troupe
