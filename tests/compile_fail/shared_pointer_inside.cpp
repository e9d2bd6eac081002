// expect: troupe: this type cannot travel between processes: it holds a raw pointer
// SPDX-License-Identifier: MIT
#include <troupe/runtime/shared.hpp>

struct Node {
  int value;
  Node* next;
};

int size() { return sizeof(troupe::Shared<Node>); }
