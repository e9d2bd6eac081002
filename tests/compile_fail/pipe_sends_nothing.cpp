// expect: troupe: this end of the pipe only receives
// SPDX-License-Identifier: MIT
#include <troupe/transport/pipe.hpp>

bool send(troupe::Pipe<void, int>& end) { return end.send({}).has_value(); }
