// SPDX-License-Identifier: MIT
#include "memory_watch.hpp"

#include <sys/inotify.h>

#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {

MemoryWatch::MemoryWatch(int file)
    : events_{detail::owned(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "inotify").value()} {
  // The file has no name, so it counts as deleted when its last holder lets it go.
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (::inotify_add_watch(events_.get(), path.c_str(), IN_DELETE_SELF) == -1)
    Result<void>{detail::system_failure("watch a memory file")}.value();
}

bool MemoryWatch::freed(TimePoint deadline) const { return detail::wait_readable(events_.get(), deadline); }

}  // namespace troupe::test
