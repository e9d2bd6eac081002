// SPDX-License-Identifier: MIT
#include <troupe/zmq/bound_seat.hpp>

#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <troupe/transport/syscall.hpp>
#include <troupe/zmq/interrupted.hpp>

namespace troupe::zmq::detail {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds handshake_within{5000};
constexpr milliseconds linger_within{200};  // last words only: what counts has been acknowledged before
constexpr milliseconds try_again_after{10};
constexpr milliseconds write_again_after{1000};
constexpr milliseconds reconnect_after{10};
constexpr milliseconds reconnect_after_max{1000};
constexpr int messages_a_round_max = 256;  // of one socket, so that no flood keeps the others waiting
constexpr int rounds_after_loss_max = 64;
constexpr std::size_t routing_id_bytes = 5;  // those that libzmq makes up: 0 and a number

constexpr int in_milliseconds(milliseconds time) { return static_cast<int>(time.count()); }

/// None for one that the peer has chosen itself.
std::optional<PeerId> peer_of(const ::zmq::message_t& routing_id) {
  if (routing_id.size() != routing_id_bytes || *routing_id.data<char>() != 0) return std::nullopt;
  PeerId peer = 0;
  std::memcpy(&peer, routing_id.data<char>() + 1, sizeof peer);
  return peer;
}

std::array<std::byte, routing_id_bytes> routing_id_of(PeerId peer) {
  std::array<std::byte, routing_id_bytes> id{};
  std::memcpy(id.data() + 1, &peer, sizeof peer);
  return id;
}

::zmq::message_t joined(std::span<const std::byte> head, std::span<const std::byte> body) {
  ::zmq::message_t message{head.size() + body.size()};
  std::ranges::copy(head, message.data<std::byte>());
  std::ranges::copy(body, message.data<std::byte>() + head.size());
  return message;
}

// Now or not at all.
template <class Part>
bool sent(::zmq::socket_t& socket, Part&& part, ::zmq::send_flags flags = ::zmq::send_flags::none) {
  return retried([&] { return socket.send(part, flags | ::zmq::send_flags::dontwait); }).has_value();
}
bool received(::zmq::socket_t& socket, ::zmq::message_t& message) {
  return retried([&] { return socket.recv(message, ::zmq::recv_flags::dontwait); }).has_value();
}

}  // namespace

BoundSeat::BoundSeat(::zmq::context_t& context, Doorman& doorman, Guest& guest, const SocketSpec& spec,
                     int bell, std::string domain)
    : doorman_{doorman},
      guest_{guest},
      bell_{bell},
      domain_{std::move(domain)},
      listens_{spec.kind == SocketSpec::Kind::listen},
      socket_{context, listens_ ? ::zmq::socket_type::router : ::zmq::socket_type::dealer},
      monitor_{context, ::zmq::socket_type::pair} {
  take_options(spec);
  const std::string monitored = "inproc://monitor-" + domain_;
  if (zmq_socket_monitor(socket_.handle(), monitored.c_str(),
                         ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == -1)
    throw ::zmq::error_t{};
  monitor_.set(::zmq::sockopt::linger, 0);
  retried([&] { monitor_.connect(monitored); });
  retried([&] { listens_ ? socket_.bind(spec.endpoint) : socket_.connect(spec.endpoint); });
  endpoint_ = socket_.get(::zmq::sockopt::last_endpoint);
}

BoundSeat::~BoundSeat() {
  zmq_socket_monitor(socket_.handle(), nullptr, 0);
  doorman_.forget(domain_);
}

void BoundSeat::take_options(const SocketSpec& spec) {
  socket_.set(::zmq::sockopt::linger, in_milliseconds(linger_within));
  socket_.set(::zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(spec.message_bytes_max));
  socket_.set(::zmq::sockopt::handshake_ivl, in_milliseconds(handshake_within));
  // A write that fails for want of buffers is forgotten by libzmq until it has more to write on that
  // connection. So it gets something, a ping; nobody is taken for gone who does not answer it.
  socket_.set(::zmq::sockopt::heartbeat_ivl, in_milliseconds(write_again_after));
  socket_.set(::zmq::sockopt::heartbeat_timeout, 0);
  socket_.set(::zmq::sockopt::sndhwm, static_cast<int>(spec.messages_max));
  socket_.set(::zmq::sockopt::rcvhwm, static_cast<int>(spec.messages_max));
  socket_.set(::zmq::sockopt::ipv6, spec.endpoint.starts_with("tcp://["));
  if (listens_) {
    socket_.set(::zmq::sockopt::router_mandatory, true);
  } else {
    // A connection that breaks takes along what is queued for it, and each new one makes itself known: so
    // both ends know what has to be sent again.
    socket_.set(::zmq::sockopt::immediate, true);
    socket_.set(::zmq::sockopt::probe_router, true);
    socket_.set(::zmq::sockopt::reconnect_ivl, in_milliseconds(reconnect_after));
    socket_.set(::zmq::sockopt::reconnect_ivl_max, in_milliseconds(reconnect_after_max));
  }
  if (spec.security.own.secret_key.empty()) return;
  socket_.set(::zmq::sockopt::curve_secretkey, spec.security.own.secret_key);
  socket_.set(::zmq::sockopt::curve_publickey, spec.security.own.public_key);
  if (listens_) {
    socket_.set(::zmq::sockopt::curve_server, true);
    socket_.set(::zmq::sockopt::zap_domain, domain_);
    for (const auto& key : spec.security.allowed) allow(key);
  } else {
    socket_.set(::zmq::sockopt::curve_serverkey, spec.security.server_key);
  }
}

Seat::Sent BoundSeat::send(PeerId to, std::span<const std::byte> head, std::span<const std::byte> body) {
  try {
    const auto id = routing_id_of(to);
    if (listens_ && !sent(socket_, ::zmq::buffer(id), ::zmq::send_flags::sndmore)) {
      // A router does not tell when a peer reads again. None that keeps to its window comes here.
      due_ = std::min(due_, deadline_in(try_again_after));
      return Sent::full;
    }
    if (sent(socket_, joined(head, body))) return Sent::done;
    waits_for_room_ = true;
    return Sent::full;
  } catch (const ::zmq::error_t&) {
    return Sent::unreachable;  // EHOSTUNREACH of a router
  }
}

Seat::Sent BoundSeat::send_delimited(PeerId to, std::span<const std::byte> message) {
  try {
    constexpr auto more = ::zmq::send_flags::sndmore;
    const auto id = routing_id_of(to);
    if (!sent(socket_, ::zmq::buffer(id), more)) return Sent::full;
    if (!sent(socket_, ::zmq::message_t{}, more)) return Sent::full;
    return sent(socket_, joined(message, {})) ? Sent::done : Sent::full;
  } catch (const ::zmq::error_t&) {
    return Sent::unreachable;
  }
}

Result<int> BoundSeat::watch(const ProcessMark& process) {
  auto pidfd = watch_process(process);
  if (!pidfd) return failure(std::move(pidfd));
  return watch_descriptor(std::move(*pidfd));
}

int BoundSeat::watch_descriptor(OwnedFd descriptor) {
  watched_.push_back(std::move(descriptor));
  return watched_.back().get();
}

void BoundSeat::unwatch(int watch) {
  std::erase_if(watched_, [&](const OwnedFd& one) { return one.get() == watch; });
}

void BoundSeat::wake() noexcept {
  if (!woken_.exchange(true)) ring(bell_);
}

void BoundSeat::add_to(std::vector<::zmq::pollitem_t>& items) {
  const auto room = static_cast<short>(waits_for_room_ ? ZMQ_POLLOUT : 0);
  items.push_back({socket_.handle(), 0, static_cast<short>(ZMQ_POLLIN | room), 0});
  items.push_back({monitor_.handle(), 0, ZMQ_POLLIN, 0});
  for (const auto& one : watched_) items.push_back({nullptr, one.get(), ZMQ_POLLIN, 0});
}

bool BoundSeat::serve() {
  bool tell = woken_.exchange(false) || has_room();
  // Ends of processes and connections are looked for first: by then all that they had sent lies in the
  // socket.
  tell |= take_ended();
  const bool lost_some = take_events();
  bool more = take_messages();
  for (int i = 0; more && lost_some && i < rounds_after_loss_max; ++i) more = take_messages();
  tell |= lost_some || tell_round_;
  tell_round_ = false;
  if (due_ <= Clock::now()) {
    due_ = never;
    tell = true;
  }
  if (tell) guest_.on_round();
  return more;
}

bool BoundSeat::has_room() {
  if (!waits_for_room_) return false;
  const int events = retried([&] { return socket_.get(::zmq::sockopt::events); });
  if ((events & ZMQ_POLLOUT) == 0) return false;
  waits_for_room_ = false;
  return true;
}

bool BoundSeat::take_messages() {
  std::vector<::zmq::message_t> parts;
  for (int i = 0; i < messages_a_round_max; ++i) {
    parts.clear();
    do {
      parts.emplace_back();
      if (!received(socket_, parts.back())) return false;
    } while (parts.back().more());
    tell_round_ = true;
    take_message(parts);
  }
  return true;
}

void BoundSeat::take_message(std::vector<::zmq::message_t>& parts) {
  const auto from = listens_ ? peer_of(parts.front()) : PeerId{0};
  if (from && listens_ && parts.size() == 3 && parts[1].size() == 0)
    return guest_.on_delimited(*from, {parts.back().data<const std::byte>(), parts.back().size()});
  if (!from || parts.size() != (listens_ ? 2U : 1U)) return guest_.on_nonsense();
  guest_.on_message(*from, {parts.back().data<const std::byte>(), parts.back().size()});
}

bool BoundSeat::take_events() {
  bool any = false;
  for (;;) {
    ::zmq::message_t event;
    if (!received(monitor_, event)) return any;
    std::uint16_t number = 0;
    std::memcpy(&number, event.data(), sizeof number);
    while (event.more()) static_cast<void>(retried([&] { return monitor_.recv(event); }));
    any = true;
    if (number == ZMQ_EVENT_DISCONNECTED) guest_.on_disconnect();
    if (number == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && !listens_) guest_.on_not_admitted();
  }
}

bool BoundSeat::take_ended() {
  if (watched_.empty()) return false;
  std::vector<pollfd> polled;
  for (const auto& one : watched_) polled.push_back({one.get(), POLLIN, 0});
  if (::poll(polled.data(), polled.size(), 0) <= 0) return false;
  for (const auto& one : polled) {
    if (one.revents == 0) continue;
    guest_.on_process_ended(one.fd);
    unwatch(one.fd);
  }
  return true;
}

}  // namespace troupe::zmq::detail
