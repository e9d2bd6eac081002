// SPDX-License-Identifier: MIT
#include <troupe/foreign/router.hpp>

#include <zmq.hpp>

namespace troupe::foreign::detail {

struct Router::State {
  zmq::context_t context{1};
  zmq::socket_t socket{context, zmq::socket_type::router};
  std::string address{};
};

namespace {

tl::unexpected<Error> zmq_failure(const zmq::error_t& error, const std::string& what) {
  return tl::unexpected<Error>{{ErrorKind::system, error.num(), what + ": " + error.what()}};
}

std::vector<std::byte> bytes_of(const zmq::message_t& frame) {
  const auto* const data = static_cast<const std::byte*>(frame.data());
  return {data, data + frame.size()};
}

/// What is left of a message whose client was read: an empty frame of a REQ socket, then the message. Takes
/// all of it, whatever it is.
void receive_rest(zmq::socket_t& socket, Router::Message& message) {
  zmq::message_t frame;
  std::size_t frames = 0;
  for (bool more = true; more; more = frame.more()) {
    if (!socket.recv(frame, zmq::recv_flags::dontwait)) break;
    ++frames;
    if (frames == 1 && frame.size() == 0 && frame.more())
      message.from.delimited = true;
    else if (frames == (message.from.delimited ? 2 : 1))
      message.bytes = bytes_of(frame);
  }
  message.whole = frames == (message.from.delimited ? 2 : 1);
}

}  // namespace

Router::Router(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;
Router::~Router() = default;

Result<Router> Router::create(const std::string& address, std::size_t message_bytes_max) try {
  auto state = std::make_unique<State>();
  zmq::socket_t& socket = state->socket;
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(message_bytes_max));
  socket.set(zmq::sockopt::router_mandatory, true);
  socket.bind(address);
  state->address = socket.get(zmq::sockopt::last_endpoint);
  return Router{std::move(state)};
} catch (const zmq::error_t& error) {
  return zmq_failure(error, "listen at " + address);
}

const std::string& Router::address() const noexcept { return state_->address; }

std::optional<Router::Message> Router::receive() try {
  zmq::message_t identity;
  if (!state_->socket.recv(identity, zmq::recv_flags::dontwait)) return std::nullopt;
  Message message{{bytes_of(identity)}, {}, identity.more()};
  if (identity.more()) receive_rest(state_->socket, message);
  return message;
} catch (const zmq::error_t&) {
  return std::nullopt;
}

bool Router::send(const Client& to, std::span<const std::byte> bytes) try {
  const auto part = [&](std::span<const std::byte> data, bool more) {
    const auto flags =
        more ? zmq::send_flags::dontwait | zmq::send_flags::sndmore : zmq::send_flags::dontwait;
    return state_->socket.send(zmq::const_buffer{data.data(), data.size()}, flags).has_value();
  };
  return part(to.identity, true) && (!to.delimited || part({}, true)) && part(bytes, false);
} catch (const zmq::error_t&) {
  return false;
}

int Router::descriptor() const noexcept { return state_->socket.get(zmq::sockopt::fd); }

bool Router::has_message() const { return (state_->socket.get(zmq::sockopt::events) & ZMQ_POLLIN) != 0; }

}  // namespace troupe::foreign::detail
