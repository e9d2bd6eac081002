// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

namespace troupe {

/// Sole owner of an open file descriptor.
///
/// Invariant: `fd_` is a descriptor that only this object will close, or `none`.
/// Close errors are dropped: on Linux the number is free again either way, and a
/// retry could close a descriptor that another thread has just been given.
class OwnedFd {
 public:
  OwnedFd() noexcept = default;
  explicit OwnedFd(int fd) noexcept : fd_{fd} {}
  OwnedFd(OwnedFd&& other) noexcept : fd_{other.release()} {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~OwnedFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ != none; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, none); }
  void reset(int fd = none) noexcept;

 private:
  static constexpr int none = -1;
  int fd_ = none;
};

}  // namespace troupe
