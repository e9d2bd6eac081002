// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <troupe/runtime/mutex.hpp>

namespace troupe {

/// Waiting, with a Mutex given up meanwhile, for something that another process brings about and notifies of.
///
/// A notification changes a number and wakes sleepers, so nobody's death can block it. But one sleeper that
/// is killed when it was just woken takes its notification along: with notify_one, wait in wait_for, which
/// looks at what it waits for by itself as well. Notify with the mutex held; otherwise somebody who begins to
/// wait at that moment may be woken in place of one who waits already.
/// Copies are the same condition, in other processes too. Threads: any. docs/shared.md.
class Condition {
 public:
  Condition();  ///< throws Failure where create() is an Error
  /// `exhausted` without memory or descriptors.
  [[nodiscard]] static Result<Condition> create();

  /// Unlocks, sleeps until it is notified, and locks again, however long that takes. May return without
  /// having been notified. `timed_out`, with the lock held. `down` if a holder died meanwhile: the lock is
  /// held and owner_died(), or if the mutex was given up, no longer held(). `invalid`, at once, for a lock
  /// that is not held, held twice, or not yet repaired.
  [[nodiscard]] Result<void> wait(Lock& lock, Duration within = Duration::max()) const;

  /// Until `predicate()` is true; it is asked with the lock held. Errors as above; on `timed_out` it was
  /// asked last of all.
  template <class Predicate>
  [[nodiscard]] Result<void> wait_for(Lock& lock, Duration within, Predicate predicate) const {
    for (Deadline deadline{within}; !predicate();) {
      if (deadline.is_over()) return timed_out();
      const TimePoint look = std::min(deadline.at(), deadline_in(detail::look_again_after));
      auto woken = wait_until(lock, Deadline{look});
      if (!woken && woken.error().kind != ErrorKind::timed_out) return woken;
    }
    return {};
  }

  void notify_one() const noexcept { notify(1); }
  void notify(std::uint32_t waiters_max) const noexcept;  ///< at least so many, if so many wait
  void notify_all() const noexcept { notify(detail::everybody); }

  template <class Archive>
  void save(Archive& archive) const {
    detail::save_shared(archive, file_);
  }
  template <class Archive>
  void load(Archive& archive) {
    file_ = detail::load_shared(archive, spec);
  }

 private:
  static constexpr detail::SharedSpec spec{.kind = detail::SharedKind::condition};
  explicit Condition(std::shared_ptr<detail::SharedFile> file) noexcept : file_{std::move(file)} {}
  [[nodiscard]] Result<void> wait_until(Lock& lock, Deadline deadline) const;
  [[nodiscard]] static tl::unexpected<Error> timed_out();
  std::shared_ptr<detail::SharedFile> file_;
};

}  // namespace troupe
