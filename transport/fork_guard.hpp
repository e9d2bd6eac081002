// SPDX-License-Identifier: MIT
#pragma once
// Internal. What must not be used in the child of a plain fork.

#include <atomic>
#include <cstdint>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <utility>

namespace troupe::detail {

/// Number of plain forks between the first process of this program and this one, counted from the first guard
/// on.
inline constinit std::atomic<std::uint64_t> fork_generation{1};
void count_forks() noexcept;  ///< from now on; any number of times

/// Kept by an end that only the process that made it may use.
///
/// A child of a plain fork has copies of its parent's ends. They share one place in memory or in the kernel
/// with the originals, so the child must not touch them: check() is `refused` there.
class ForkGuard {
 public:
  ForkGuard() noexcept {
    count_forks();
    born_ = fork_generation.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool forked() const noexcept {
    return born_ != fork_generation.load(std::memory_order_relaxed) && !TROUPE_MUTANT(fork_unnoticed);
  }
  [[nodiscard]] Result<void> check(const char* what) const {
    return forked() ? refused(what) : Result<void>{};
  }

 private:
  [[nodiscard]] static Result<void> refused(const char* what);
  std::uint64_t born_ = 0;
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

/// A descriptor with that hold on it.
class HeldFd {
 public:
  HeldFd() noexcept = default;
  explicit HeldFd(OwnedFd fd)
      : fd_{std::move(fd)}, hold_{fd_ ? HeldByThisProcess{fd_.get()} : HeldByThisProcess{}} {}

  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  [[nodiscard]] OwnedFd release() noexcept {
    hold_ = HeldByThisProcess{};
    return std::move(fd_);
  }
  void reset() noexcept { const OwnedFd closes = release(); }

 private:
  OwnedFd fd_;
  HeldByThisProcess hold_;  // ends first: a number that is free again may be another's
};

}  // namespace troupe::detail
