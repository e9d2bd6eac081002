// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>

#include <new>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {

/// A value in memory that forked children share. It outlives whoever writes it, and is not destroyed: plain
/// data and atomics only.
template <class T>
class SharedValue {
 public:
  SharedValue() {
    void* const at = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw Failure{detail::system_error("mmap", errno)};
    value_ = new (at) T{};
  }
  SharedValue(const SharedValue&) = delete;
  ~SharedValue() { ::munmap(value_, sizeof(T)); }

  [[nodiscard]] T& operator*() const noexcept { return *value_; }
  [[nodiscard]] T* operator->() const noexcept { return value_; }

 private:
  T* value_ = nullptr;
};

}  // namespace troupe::test
