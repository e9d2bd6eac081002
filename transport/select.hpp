// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <span>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <vector>

namespace troupe {

/// Something that can be waited for beside others, with select() or in any event loop that watches
/// descriptors.
///
/// A plain descriptor (a socket, a pidfd, a pipe) is ready while it is readable or hung up. What lives in
/// shared memory has to be *armed* before each wait: `arm` announces that its owner is about to sleep, looks
/// once more, and is true when something is there already. Whoever forgets to arm sleeps on through what
/// comes.
struct Waitable {
  int descriptor = -1;          ///< borrowed: valid while the object it came from lives
  std::function<bool()> arm{};  ///< empty for a plain descriptor
};

/// The places in `these` of all that is ready, lowest first. `timed_out` when nothing is at the deadline;
/// `invalid` for a descriptor that is not open, or none at all. `these` is borrowed until the call returns.
///
/// Readiness is a hint to look: another process that shares a queue may have been faster.
[[nodiscard]] Result<std::vector<std::size_t>> select(std::span<const Waitable> these, Duration within);
[[nodiscard]] Result<std::vector<std::size_t>> select(std::initializer_list<Waitable> these, Duration within);

/// A moment as something to wait for: ready from then on, until it is set anew.
class Timer {
 public:
  /// Not set: never ready.
  [[nodiscard]] static Result<Timer> create();
  /// Ready at `moment`, and for `every` > 0 again after each such time once expirations() was called.
  [[nodiscard]] Result<void> set(TimePoint moment, Duration every = Duration::zero());
  void stop() noexcept;
  /// How often it has become ready since the last call or set(); makes a repeating one unready.
  [[nodiscard]] std::uint64_t expirations() noexcept;
  [[nodiscard]] Waitable waitable() const { return {fd_.get(), {}}; }

 private:
  explicit Timer(OwnedFd fd) noexcept : fd_{std::move(fd)} {}
  OwnedFd fd_;
};

}  // namespace troupe
