// expect: troupe: this type cannot travel between processes
// SPDX-License-Identifier: MIT
#include <troupe/troupe.hpp>

struct Add {
  int* amount = nullptr;
};
using Protocol = troupe::messages<Add>;

troupe::Sent add(const troupe::Ref<Protocol>& counter) { return counter.send(Add{}); }
