// SPDX-License-Identifier: MIT
#include <troupe/zmq/keys.hpp>

#include <zmq.h>

#include <array>

namespace troupe::zmq {

Result<Keys> Keys::generate() {
  std::array<char, 41> own_public{};
  std::array<char, 41> own_secret{};
  if (zmq_curve_keypair(own_public.data(), own_secret.data()) == -1)
    return failure(ErrorKind::refused, "ZeroMQ keys: this libzmq was built without CURVE");
  return Keys{own_public.data(), own_secret.data()};
}

}  // namespace troupe::zmq
