// SPDX-License-Identifier: MIT
#include <troupe/zmq/doorman.hpp>

#include <array>
#include <troupe/zmq/interrupted.hpp>

namespace troupe::zmq::detail {
namespace {

constexpr std::size_t key_bytes = 32;
constexpr const char* zap_endpoint = "inproc://zeromq.zap.01";
// Places in a request.
constexpr std::size_t version = 0;
constexpr std::size_t request_id = 1;
constexpr std::size_t domain = 2;
constexpr std::size_t mechanism = 5;
constexpr std::size_t credentials = 6;

}  // namespace

Doorman::Doorman(::zmq::context_t& context) : socket_{context, ::zmq::socket_type::rep} {
  socket_.set(::zmq::sockopt::linger, 0);
  retried([&] { socket_.bind(zap_endpoint); });
}

void Doorman::allow(const std::string& at, const std::string& public_key) {
  std::array<std::uint8_t, key_bytes> key{};
  if (public_key.size() == key_bytes * 5 / 4 && zmq_z85_decode(key.data(), public_key.c_str()) != nullptr)
    allowed_[at].emplace(key.begin(), key.end());
}

void Doorman::answer_all() {
  for (;;) {
    std::vector<::zmq::message_t> request;
    do {
      request.emplace_back();
      if (!retried([&] { return socket_.recv(request.back(), ::zmq::recv_flags::dontwait); })) return;
    } while (request.back().more());
    answer(request);
  }
}

bool Doorman::admits(const std::vector<::zmq::message_t>& request) const {
  if (request.size() != credentials + 1 || request[version].to_string_view() != "1.0" ||
      request[mechanism].to_string_view() != "CURVE")
    return false;
  const auto keys = allowed_.find(request[domain].to_string());
  return keys != allowed_.end() && keys->second.contains(request[credentials].to_string());
}

void Doorman::answer(const std::vector<::zmq::message_t>& request) {
  const bool admitted = admits(request);
  const std::string id = request.size() > request_id ? request[request_id].to_string() : std::string{};
  const std::array<std::string, 6> reply{"1.0", id, admitted ? "200" : "400", admitted ? "OK" : "no such key",
                                         "",    ""};
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const auto more = i + 1 < reply.size() ? ::zmq::send_flags::sndmore : ::zmq::send_flags::none;
    retried([&] { return socket_.send(::zmq::buffer(reply[i]), more); });
  }
}

}  // namespace troupe::zmq::detail
