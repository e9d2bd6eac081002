// SPDX-License-Identifier: MIT
// What a peer over ZeroMQ can send, to both ends of a channel, to a queue's owner and to its ends: any
// messages in any order over several connections, processes that end, sockets that are full. No socket is
// made: the target is the post.

#include <array>
#include <deque>
#include <troupe/zmq/broker.hpp>
#include <troupe/zmq/caller.hpp>
#include <troupe/zmq/link.hpp>
#include <troupe/zmq/passing.hpp>
#include <troupe/zmq/wire.hpp>

#include "target.hpp"

namespace troupe::fuzz {
namespace {

using namespace zmq;
using zmq::detail::Guest;
using zmq::detail::PeerId;
using zmq::detail::Seat;

constexpr std::size_t steps_max = 200;
const zmq::ChannelOptions channel_options{
    .frame_bytes_max = 64, .window_frames_max = 8, .window_bytes_max = 256, .close_within = Duration::zero()};
const QueueOptions queue_options{
    .items_max = 4, .bytes_max = 256, .senders_max = 2, .ends_max = 4, .attempts_max = 2};

/// A socket of which the input says what becomes of a message. Knows the session that its guest has chosen.
class FuzzedSeat final : public Seat {
 public:
  explicit FuzzedSeat(Input& input) : input_{input} {}

  Sent send(PeerId /*to*/, std::span<const std::byte> head, std::span<const std::byte> body) override {
    TROUPE_ASSERT(head.size() == sizeof(wire::ChannelHeader) || head.size() == sizeof(wire::QueueItem));
    TROUPE_ASSERT(body.size() <= 4096);
    // Of all headers: sessions lie behind eight bytes.
    std::memcpy(&session, head.data() + 8, sizeof session);
    const auto becomes = input_.take<std::uint8_t>();
    if (becomes < 0xE0) return Sent::done;
    return becomes < 0xF0 ? Sent::full : Sent::unreachable;
  }
  Sent send_delimited(PeerId /*to*/, std::span<const std::byte> /*message*/) override { return Sent::done; }
  Result<int> watch(const ProcessMark& process) override {
    if (process.pid == 0) return failure(ErrorKind::down, "it has ended");
    if (process.pid == 1) return failure(ErrorKind::exhausted, "no room");
    return watches_++;
  }
  int watch_descriptor(OwnedFd /*descriptor*/) override { return watches_++; }
  void unwatch(int /*watch*/) override {}
  void set_due(TimePoint /*due*/) override {}
  void give_up_rest() override {}
  void allow(const std::string& /*public_key*/) override {}
  void wake() noexcept override {}
  [[nodiscard]] const std::string& endpoint() const noexcept override { return endpoint_; }

  std::uint64_t session = 0;

 private:
  Input& input_;
  int watches_ = 0;
  std::string endpoint_{};
};

/// The rest of a sound message: bytes, or the struct that belongs there with one of its bytes changed.
template <class... Struct>
Bytes body_of(Input& input, const Struct&... usual) {
  const auto how = input.take<std::uint8_t>();
  if (how < 0x80) {
    const auto bytes = input.take_bytes(how);
    return {bytes.begin(), bytes.end()};
  }
  Bytes body = fuzz::bytes_of(usual...);
  if (const auto at = input.take<std::uint8_t>(); at < body.size())
    body[at] = static_cast<std::byte>(input.take<std::uint8_t>());
  return body;
}

Bytes joined(std::span<const std::byte> head, const Bytes& body) {
  Bytes all{head.begin(), head.end()};
  all.insert(all.end(), body.begin(), body.end());
  return all;
}

Bytes channel_message(Input& input, std::uint64_t session, Delivery delivery) {
  const auto kind = input.take<wire::ChannelKind>();
  const auto numbers = input.take<std::array<std::uint8_t, 3>>();
  const wire::ChannelHeader header{wire::channel_magic, wire::version, kind,      0, session,
                                   numbers[0],          numbers[1],    numbers[2]};
  const wire::Hello hello{0,
                          5,
                          7,
                          static_cast<std::uint32_t>(delivery),
                          channel_options.frame_bytes_max,
                          channel_options.window_bytes_max,
                          static_cast<std::uint32_t>(channel_options.window_frames_max),
                          0};
  return joined(wire::bytes_of(header), body_of(input, hello));
}

Bytes queue_message(Input& input, std::uint64_t session) {
  wire::QueueHeader header{.kind = input.take<wire::QueueKind>(), .session = session};
  header.number = input.take<std::uint8_t>();
  header.a = input.take<std::uint8_t>();
  header.b = input.take<std::uint8_t>();
  if (header.kind == wire::QueueKind::welcome)
    return joined(wire::bytes_of(header), body_of(input, wire::QueueWelcome{0, 5, 7, 0, {}, 4, 256, 4, 4}));
  const auto role = static_cast<wire::QueueRole>(1 + header.a % 3);
  return joined(wire::bytes_of(header), body_of(input, wire::QueueHello{0, 5, 7, role, 0, 0, 0}));
}

/// `message` makes one that is sound but for what the input says, of a session.
template <class Message>
void happen(Guest& guest, Input& input, const FuzzedSeat& seat, Message message) {
  const PeerId from = input.take<std::uint8_t>() % 4;
  const auto what = input.take<std::uint8_t>();
  switch (what % 16) {
    case 0: return guest.on_message(from, input.take_bytes(input.take<std::uint8_t>()));
    case 1: return guest.on_message(from, {});
    case 2: return guest.on_nonsense();
    case 3: return guest.on_process_ended(what / 16);
    case 4: return guest.on_disconnect();
    case 5: return guest.on_round();
    case 6: return what == 6 ? guest.on_not_admitted() : guest.on_round();
    case 7: return guest.on_delimited(from, input.take_bytes(8));
    default: break;
  }
  const std::uint64_t session = what % 16 < 12 && seat.session != 0 ? seat.session : 1 + from;
  guest.on_message(from, message(input, session));
}

template <class G, class Message>
void meet(G& guest, Input& input, Message message) {
  FuzzedSeat seat{input};
  guest.on_seated(seat);
  for (std::size_t i = 0; i < steps_max && !input.rest().empty(); ++i) happen(guest, input, seat, message);
  guest.on_round();
}

void meet_a_link(Input& input, zmq::detail::Link::Role role, Delivery delivery) {
  zmq::detail::Link link{role, channel_options, delivery};
  meet(link, input,
       [delivery](Input& from, std::uint64_t session) { return channel_message(from, session, delivery); });
}

void meet_a_broker(Input& input) {
  zmq::detail::Broker broker{queue_options};
  meet(broker, input, queue_message);
  TROUPE_ASSERT(broker.size() <= queue_options.items_max * queue_options.ends_max * 256);
  TROUPE_ASSERT(broker.holders().size() <= queue_options.ends_max);
  [[maybe_unused]] const auto aside = broker.quarantine();
}

void meet_a_caller(Input& input, wire::QueueRole role) {
  zmq::detail::Caller caller{role, 0};
  meet(caller, input, queue_message);
}

/// What an owner answers to a question, and an end that was passed.
void read_bodies(std::span<const std::byte> bytes) {
  [[maybe_unused]] const auto end = decode<zmq::detail::PassedEnd>(bytes);
  [[maybe_unused]] const auto counts = decode<QueueCounts>(bytes);
  [[maybe_unused]] const auto holders = decode<std::vector<Holder>>(bytes);
  auto items = decode<std::vector<zmq::detail::PlainQuarantined>>(bytes);
  if (!items) return;
  for (const auto& item : zmq::detail::as_quarantined(std::move(*items)))
    TROUPE_ASSERT(item.cause <= QuarantinedItem::Cause::malformed);
}

}  // namespace

void run(std::span<const std::byte> bytes) {
  using Role = zmq::detail::Link::Role;
  Input input{bytes};
  switch (input.take<std::uint8_t>() % 9) {
    case 0: return meet_a_link(input, Role::listening, Delivery::at_most_once);
    case 1: return meet_a_link(input, Role::listening, Delivery::at_least_once);
    case 2: return meet_a_link(input, Role::connecting, Delivery::at_most_once);
    case 3: return meet_a_link(input, Role::connecting, Delivery::at_least_once);
    case 4: return meet_a_broker(input);
    case 5: return meet_a_caller(input, wire::QueueRole::access);
    case 6: return meet_a_caller(input, wire::QueueRole::sender);
    case 7: return meet_a_caller(input, wire::QueueRole::receiver);
    case 8: return read_bodies(input.rest());
  }
}

std::vector<Bytes> seeds() {
  using Channel = wire::ChannelKind;
  using Queue = wire::QueueKind;
  // A message of connection 1: sound, with the struct that belongs there, or with these bytes.
  constexpr std::array<std::uint8_t, 2> sound{1, 8};
  constexpr std::array<std::uint8_t, 2> usual{0x80, 0xFF};
  constexpr std::array<std::uint8_t, 3> two_bytes{2, 'h', 'i'};
  constexpr std::array<std::uint8_t, 3> none{};
  constexpr std::array<std::uint8_t, 3> first{1, 0, 0};
  constexpr std::uint8_t done = 0;
  const auto stream = bytes_of(sound, Channel::data, first, two_bytes, sound, Channel::end,
                               std::array<std::uint8_t, 3>{2, 0, 0}, done, std::array<std::uint8_t, 2>{1, 5});
  const auto with = [&](std::uint8_t mode, const Bytes& begin, const Bytes& rest) {
    Bytes all = bytes_of(mode);
    all.insert(all.end(), begin.begin(), begin.end());
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
  };
  const auto hello = bytes_of(sound, Channel::hello, none, usual, done);
  const auto welcome = bytes_of(sound, Channel::who, none, done, done, sound, Channel::welcome, none, usual);
  const auto puts = bytes_of(sound, Queue::hello, std::array<std::uint8_t, 3>{1, 1, 0}, usual, done, sound,
                             Queue::put, std::array<std::uint8_t, 3>{1, 9, 0}, two_bytes, done);
  const auto asks = bytes_of(sound, Queue::who, none, done, done, sound, Queue::welcome, none, usual);
  const auto item = bytes_of(sound, Queue::item, std::array<std::uint8_t, 3>{1, 1, 1}, std::uint8_t{18},
                             wire::ItemHeader{9, 1}, std::array<char, 2>{'h', 'i'}, done);
  return {with(0, hello, stream), with(1, hello, stream), with(2, welcome, stream), with(3, welcome, stream),
          with(4, puts, {}),      with(5, asks, {}),      with(6, asks, {}),        with(7, asks, item)};
}

}  // namespace troupe::fuzz
