// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <troupe/transport/result.hpp>
#include <vector>

namespace troupe::zmq {

/// A CURVE key pair as every ZeroMQ program writes it: 40 characters of Z85 each.
struct Keys {
  std::string public_key{};
  std::string secret_key{};

  [[nodiscard]] static Result<Keys> generate();
  friend bool operator==(const Keys&, const Keys&) = default;
};

/// Who may reach an end, and how it proves who it is. As it stands, without keys, it serves for `ipc://` and
/// for `tcp://` on loopback, where any process of the machine can connect.
struct Security {
  Keys own{};                ///< empty: nothing is encrypted
  std::string server_key{};  ///< of a connecting end: the public key of the one that listens
  std::vector<std::string>
      allowed{};  ///< of a listening end: the public keys of those that may come, no others
};

}  // namespace troupe::zmq
