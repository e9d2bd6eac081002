// expect: troupe: this type cannot be an element of a SharedArray: some of its bytes may be no value
// SPDX-License-Identifier: MIT
#include <troupe/runtime/shared_array.hpp>

std::size_t size() { return troupe::SharedArray<bool>{{.elements = 3}}.size(); }
