// SPDX-License-Identifier: MIT
#pragma once
// Internal. Knows ZeroMQ.

#include <cerrno>
#include <zmq.hpp>

namespace troupe::zmq::detail {

/// Repeats a call of a socket's that was interrupted: by then it has done nothing. The post's thread blocks
/// all signals, but what libzmq makes of a failed wait is not for this code to guess.
template <class Call>
auto retried(Call call) {
  for (;;) {
    try {
      return call();
    } catch (const ::zmq::error_t& error) {
      if (error.num() != EINTR) throw;
    }
  }
}

}  // namespace troupe::zmq::detail
