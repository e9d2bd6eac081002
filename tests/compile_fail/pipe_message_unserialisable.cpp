// expect: troupe: this type cannot travel between processes: it holds a raw pointer
// SPDX-License-Identifier: MIT
#include <troupe/transport/pipe.hpp>

bool send(troupe::Pipe<int*, int>& end) { return end.send(nullptr).has_value(); }
