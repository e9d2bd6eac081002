// expect: troupe: this type cannot travel between processes: it holds a raw pointer
// SPDX-License-Identifier: MIT
#include <troupe/runtime/shared.hpp>

struct Node {
  int value;
  Node* next;
};

using Refused = troupe::Shared<Node>;
bool is_free() { return Refused::is_lock_free; }
