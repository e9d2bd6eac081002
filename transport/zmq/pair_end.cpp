// SPDX-License-Identifier: MIT
#include <troupe/zmq/pair_end.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/syscall.hpp>
#include <troupe/zmq/passing.hpp>
#include <troupe/zmq/wire.hpp>
#include <utility>

namespace troupe::zmq::detail {
namespace {

/// A length and the invitation, filled up with zeros.
using Letter = std::array<std::byte, 1024>;
constexpr std::size_t length_bytes = sizeof(std::uint32_t);

Result<OwnedFd> written(const Invitation& invitation) {
  const auto bytes = encoded(invitation);
  Letter letter{};
  const auto length = static_cast<std::uint32_t>(bytes.size());
  TROUPE_ASSERT(length > 0 && length <= letter.size() - length_bytes);
  std::memcpy(letter.data(), &length, length_bytes);
  std::ranges::copy(bytes, letter.begin() + length_bytes);
  auto file = create_memory("troupe zmq end", letter.size());
  if (!file) return file;
  const auto put =
      troupe::detail::retried([&] { return ::pwrite(file->get(), letter.data(), letter.size(), 0); });
  if (put != static_cast<ssize_t>(letter.size()))
    return troupe::detail::system_failure("write an end over ZeroMQ");
  if (auto sealed = seal_for_good(file->get()); !sealed) return failure(std::move(sealed));
  return file;
}

tl::unexpected<Error> no_end() {
  return failure(ErrorKind::malformed, "ZeroMQ channel: not the parts of an end");
}

ChannelOptions options_of(const Invitation& invitation) {
  return {.frame_bytes_max = invitation.frame_bytes_max,
          .window_frames_max = invitation.window_frames_max,
          .window_bytes_max = invitation.window_bytes_max,
          .security = {.own = {invitation.public_key, invitation.secret_key},
                       .server_key = invitation.server_key}};
}

Result<void> check(const Invitation& invitation, std::size_t frame_bytes_max) {
  const auto promises = [&](Delivery delivery) {
    return invitation.delivery == static_cast<std::uint32_t>(delivery);
  };
  if (invitation.magic != wire::channel_magic || invitation.version != wire::version ||
      invitation.session == 0 || invitation.frame_bytes_max != frame_bytes_max ||
      !(promises(Delivery::at_most_once) || promises(Delivery::at_least_once)))
    return no_end();
  return Link::check(options_of(invitation));  // the endpoint is looked at when it is connected to
}

Result<Invitation> read(int file, std::size_t frame_bytes_max) {
  Letter letter{};
  if (!check_sealed_for_good(file, letter.size())) return no_end();
  const auto got = troupe::detail::retried([&] { return ::pread(file, letter.data(), letter.size(), 0); });
  if (got != static_cast<ssize_t>(letter.size())) return no_end();
  std::uint32_t length = 0;
  std::memcpy(&length, letter.data(), length_bytes);
  if (length > letter.size() - length_bytes) return no_end();
  auto invitation = decode<Invitation>(std::span<const std::byte>{letter}.subspan(length_bytes, length));
  if (!invitation) return no_end();
  if (auto sound = check(*invitation, frame_bytes_max); !sound) return failure(std::move(sound));
  return invitation;
}

/// For the guest: a key of its own, where keys are used.
Result<void> invite(Security& host, Invitation& guest) {
  if (host.own.secret_key.empty()) return {};
  auto keys = Keys::generate();
  if (!keys) return failure(std::move(keys));
  host.allowed.push_back(keys->public_key);
  guest.public_key = std::move(keys->public_key);
  guest.secret_key = std::move(keys->secret_key);
  guest.server_key = host.own.public_key;
  return {};
}

}  // namespace

PairEnd::PairEnd(Invitation invitation, OwnedFd letter, OwnedFd life)
    : invitation_{std::move(invitation)},
      letter_{std::move(letter)},
      end_{std::move(life), invitation_.frame_bytes_max, 0} {}

PairEnd::~PairEnd() {
  // In a forked child the link is its parent's: it is left as it was copied.
  if (link_ && link_->forked()) static_cast<void>(link_.release());
}

Result<ChannelPair> PairEnd::create(const std::string& endpoint, const ChannelOptions& options,
                                    Delivery delivery) {
  ChannelOptions own = options;
  Invitation guest{.magic = wire::channel_magic,
                   .version = wire::version,
                   .delivery = static_cast<std::uint32_t>(delivery),
                   .session = random_number(),
                   .frame_bytes_max = options.frame_bytes_max,
                   .window_frames_max = options.window_frames_max,
                   .window_bytes_max = options.window_bytes_max};
  if (auto invited = invite(own.security, guest); !invited) return failure(std::move(invited));
  auto life = troupe::detail::ChannelEnd::create_life();
  if (!life) return failure(std::move(life));
  std::unique_ptr<PairEnd> near{new PairEnd{guest, OwnedFd{}, std::move(life->first)}};
  auto link = Link::listen(endpoint, own, delivery, near->line());
  if (!link) return failure(std::move(link));
  near->link_ = std::move(*link);
  guest.endpoint = near->link_->endpoint();
  auto letter = written(guest);
  if (!letter) return failure(std::move(letter));
  std::unique_ptr<Channel> far{new PairEnd{std::move(guest), std::move(*letter), std::move(life->second)}};
  return ChannelPair{std::move(near), std::move(far)};
}

Result<std::unique_ptr<Channel>> PairEnd::from(ChannelParts parts) {
  if (parts.descriptors.size() != 2) return no_end();
  auto& letter = parts.descriptors.back();
  auto invitation = read(letter.get(), parts.frame_bytes_max);
  if (!invitation) return failure(std::move(invitation));
  return std::unique_ptr<Channel>{
      new PairEnd{std::move(*invitation), std::move(letter), std::move(parts.descriptors.front())}};
}

/// Of an end that has been found to be of this process, and in use from now on.
Result<Link*> PairEnd::link() {
  const std::lock_guard lock{joining_};  // of the two threads that may use it
  if (link_) return link_.get();
  auto joined = Link::join(invitation_.endpoint, options_of(invitation_),
                           static_cast<Delivery>(invitation_.delivery), line());
  if (!joined) {
    // Where its listener has gone, its place has too, and no fault of the endpoint's is meant.
    if (auto over = end_.sending_over()) return tl::unexpected<Error>{*std::move(over)};
    return failure(std::move(joined));
  }
  link_ = std::move(*joined);
  letter_.reset();
  return link_.get();
}

Result<void> PairEnd::send(std::span<const std::byte> frame, std::span<const int> descriptors,
                           TimePoint deadline) {
  if (auto sound = end_.check_send(frame.size(), descriptors.size()); !sound) return sound;
  auto joined = link();
  if (!joined) return failure(std::move(joined));
  return (*joined)->send(frame, deadline);
}

Result<Channel::Frame> PairEnd::receive(std::vector<std::byte>& buffer, TimePoint deadline) {
  if (auto sound = end_.check_receive(); !sound) return failure(std::move(sound));
  auto joined = link();
  if (!joined) return failure(std::move(joined));
  if (auto received = (*joined)->receive(buffer, deadline); !received) return failure(std::move(received));
  return Frame{buffer, {}};
}

void PairEnd::close() noexcept {
  if (!end_.check_receive()) return;
  if (auto joined = link()) (*joined)->close();
}

Waitable PairEnd::readable() {
  // What cannot be waited for is ready: receive() says why.
  Waitable ready{end_.life(), [] { return true; }};
  if (!end_.check_receive()) return ready;
  auto joined = link();
  return joined ? Waitable{(*joined)->descriptor(), {}} : ready;
}

Result<ChannelParts> PairEnd::take_parts() {
  if (invitation_.endpoint.empty())
    return failure(ErrorKind::refused,
                   "ZeroMQ channel: the end that listens stays in the process that made it; try the other");
  auto life = end_.take_life();
  if (!life) return failure(std::move(life));
  ChannelParts parts{Carrier::zeromq, end_.frame_bytes_max(), {}};
  parts.descriptors.push_back(std::move(*life));
  parts.descriptors.push_back(std::move(letter_));
  return parts;
}

}  // namespace troupe::zmq::detail

namespace troupe::detail {

Result<std::unique_ptr<Channel>> zeromq_channel_from(ChannelParts parts) {
  return zmq::detail::PairEnd::from(std::move(parts));
}

}  // namespace troupe::detail
