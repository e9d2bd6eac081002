// SPDX-License-Identifier: MIT
#pragma once
// Internal. What must not be used in the child of a plain fork.

#include <cstdint>
#include <troupe/transport/result.hpp>

namespace troupe::detail {

/// Number of plain forks between the first process of this program and this one.
[[nodiscard]] std::uint64_t fork_generation() noexcept;

/// Kept by an end that only the process that made it may use.
///
/// A child of a plain fork has copies of its parent's ends. They share one place in memory or in the kernel
/// with the originals, so the child must not touch them: check() is `refused` there.
class ForkGuard {
 public:
  ForkGuard() noexcept : born_{fork_generation()} {}
  [[nodiscard]] bool forked() const noexcept { return born_ != fork_generation(); }
  [[nodiscard]] Result<void> check(const char* what) const;

 private:
  std::uint64_t born_;
};

/// A descriptor by whose closing the peer learns of this process's end. While it is held so, a plain fork's
/// child closes its own copy before it runs on, since that copy would hide the death; the number stays taken
/// there, by nothing. A member of this type stands behind the OwnedFd it is about, and so ends first.
class HeldByThisProcess {
 public:
  HeldByThisProcess() noexcept = default;
  explicit HeldByThisProcess(int fd);
  HeldByThisProcess(HeldByThisProcess&& other) noexcept;
  HeldByThisProcess& operator=(HeldByThisProcess&& other) noexcept;
  ~HeldByThisProcess();

 private:
  int fd_ = -1;
};

}  // namespace troupe::detail
