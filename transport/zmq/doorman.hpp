// SPDX-License-Identifier: MIT
#pragma once
// Internal. Knows ZeroMQ.

#include <map>
#include <set>
#include <string>
#include <vector>
#include <zmq.hpp>

namespace troupe::zmq::detail {

/// Answers libzmq's question whether a key may come in (ZAP, rfc.zeromq.org/spec/27), before any byte of that
/// connection reaches a guest. For the post's thread.
class Doorman {
 public:
  explicit Doorman(::zmq::context_t& context);

  /// Admits a key (Z85) where the socket's ZAP domain is `domain`.
  void allow(const std::string& domain, const std::string& public_key);
  void forget(const std::string& domain) { allowed_.erase(domain); }

  [[nodiscard]] void* handle() { return socket_.handle(); }
  void answer_all();

 private:
  [[nodiscard]] bool admits(const std::vector<::zmq::message_t>& request) const;
  void answer(const std::vector<::zmq::message_t>& request);

  ::zmq::socket_t socket_;
  std::map<std::string, std::set<std::string>> allowed_{};  ///< by domain; keys as 32 bytes
};

}  // namespace troupe::zmq::detail
