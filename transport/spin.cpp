// SPDX-License-Identifier: MIT
#include <troupe/transport/spin.hpp>

#include <sched.h>
#include <sys/resource.h>

namespace troupe::detail {

bool Spin::has_cores_to_spare() {
  static const bool spare = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    return ::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
  }();
  return spare;
}

long Spin::involuntary_switches() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

}  // namespace troupe::detail
