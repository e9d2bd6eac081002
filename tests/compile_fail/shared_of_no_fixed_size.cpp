// expect: troupe: this type cannot be shared in place: it holds something of no fixed size
// SPDX-License-Identifier: MIT
#include <string>
#include <troupe/runtime/shared.hpp>

struct Named {
  std::string name;
};

int size() { return sizeof(troupe::Shared<Named>); }
