// SPDX-License-Identifier: MIT
#pragma once
// Internal. Which processes have a share in something, and which of them have died.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/result.hpp>

namespace troupe::detail {

/// A process in one word of shared memory: its number, and above it the low bits of its start time, by which
/// it is told apart from a later one with that number.
using ProcessWord = std::uint64_t;

/// Of the calling process. `exhausted` without room for a descriptor.
[[nodiscard]] Result<ProcessWord> own_process_word();
[[nodiscard]] Result<ProcessWord> process_word_of(std::int32_t pid);
/// Whether it certainly has. What cannot be looked at has not.
[[nodiscard]] bool has_ended(ProcessWord process);

/// A list of processes in shared memory, each with the number of its shares. Zeros: nobody.
///
/// An entry belongs to its process while its count is not 0. It is taken and reaped under a lock that all
/// users of the table share; the process itself may change its count at any time. A count is one word, so a
/// death leaves it as it was before or as it is after.
class ProcessTable {
 public:
  static constexpr std::size_t processes_max = 240;
  static constexpr std::size_t none = processes_max;

  /// With the lock: the place of that process, a free one if it has none, or `none` if all are taken.
  [[nodiscard]] std::size_t place_of(ProcessWord process) noexcept;
  /// Where that process has shares, or `none`.
  [[nodiscard]] std::size_t find(ProcessWord process) const noexcept;
  [[nodiscard]] std::uint64_t sum() const noexcept;
  /// With the lock: takes the shares of the dead from them. Returns how many that were.
  std::uint64_t reap();

  void add(std::size_t place) noexcept { counts_[place].fetch_add(1, std::memory_order_acq_rel); }
  void set(std::size_t place, std::uint32_t count) noexcept {
    counts_[place].store(count, std::memory_order_release);
  }
  /// Unless there is none, or the place is no longer that process's.
  void subtract(std::size_t place, ProcessWord process) noexcept;

 private:
  [[nodiscard]] std::size_t used() const noexcept;
  std::array<std::atomic<ProcessWord>, processes_max> processes_;
  std::array<std::atomic<std::uint32_t>, processes_max> counts_;
  std::atomic<std::uint32_t> used_;  ///< places that were ever taken: the others need no look
};

/// So that of all who wait only one looks for the dead at a time.
class LookClock {
 public:
  [[nodiscard]] bool is_due() noexcept;

 private:
  static constexpr Duration after = std::chrono::milliseconds{25};
  std::atomic<std::int64_t> last_;
};

}  // namespace troupe::detail
