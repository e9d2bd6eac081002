// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {

/// Something that one process tells its forks, or they it, once.
class Gate {
 public:
  void open() const { ring(bell_.get()); }
  [[nodiscard]] bool wait(TimePoint deadline = deadline_in(std::chrono::seconds{60})) const {
    return detail::wait_readable(bell_.get(), deadline);
  }

 private:
  OwnedFd bell_ = create_bell().value();
};

}  // namespace troupe::test
