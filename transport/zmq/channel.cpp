// SPDX-License-Identifier: MIT
#include <troupe/zmq/channel.hpp>

#include <troupe/zmq/link.hpp>
#include <troupe/zmq/pair_end.hpp>
#include <utility>

namespace troupe::zmq {

template <Delivery delivery>
ZmqChannel<delivery>::ZmqChannel(std::unique_ptr<detail::Link> link) : link_{std::move(link)} {}

template <Delivery delivery>
ZmqChannel<delivery>::~ZmqChannel() {
  // In a forked child the link is its parent's: it is left as it was copied.
  if (link_->forked()) static_cast<void>(link_.release());
}

template <Delivery delivery>
Result<std::unique_ptr<ZmqChannel<delivery>>> ZmqChannel<delivery>::listen(const std::string& endpoint,
                                                                           const ChannelOptions& options) {
  auto link = detail::Link::listen(endpoint, options, delivery);
  if (!link) return failure(std::move(link));
  return std::unique_ptr<ZmqChannel>{new ZmqChannel{std::move(*link)}};
}

template <Delivery delivery>
Result<std::unique_ptr<ZmqChannel<delivery>>> ZmqChannel<delivery>::connect(const std::string& endpoint,
                                                                            const ChannelOptions& options,
                                                                            TimePoint deadline) {
  auto link = detail::Link::connect(endpoint, options, delivery, deadline);
  if (!link) return failure(std::move(link));
  return std::unique_ptr<ZmqChannel>{new ZmqChannel{std::move(*link)}};
}

template <Delivery delivery>
Result<ChannelPair> ZmqChannel<delivery>::create_pair(const ChannelOptions& options,
                                                      const std::string& endpoint) {
  return detail::PairEnd::create(endpoint, options, delivery);
}

template <Delivery delivery>
const std::string& ZmqChannel<delivery>::endpoint() const noexcept {
  return link_->endpoint();
}

template <Delivery delivery>
ChannelCounts ZmqChannel<delivery>::counts() const {
  return link_->counts();
}

template <Delivery delivery>
std::size_t ZmqChannel<delivery>::frame_bytes_max() const noexcept {
  return link_->frame_bytes_max();
}

template <Delivery delivery>
Result<void> ZmqChannel<delivery>::send(std::span<const std::byte> frame, std::span<const int> descriptors,
                                        TimePoint deadline) {
  if (!descriptors.empty())
    return failure(ErrorKind::refused, "ZeroMQ channel: it carries no descriptors; try a packet channel");
  return link_->send(frame, deadline);
}

template <Delivery delivery>
Result<Channel::Frame> ZmqChannel<delivery>::receive(std::vector<std::byte>& buffer, TimePoint deadline) {
  if (auto received = link_->receive(buffer, deadline); !received) return failure(std::move(received));
  return Frame{buffer, {}};
}

template <Delivery delivery>
void ZmqChannel<delivery>::close() noexcept {
  link_->close();
}

template <Delivery delivery>
Waitable ZmqChannel<delivery>::readable() {
  return {link_->descriptor(), {}};
}

template <Delivery delivery>
Result<ChannelParts> ZmqChannel<delivery>::take_parts() {
  return failure(
      ErrorKind::refused,
      "ZeroMQ channel: an end that was greeted stays in the process that made it; try create_pair, or try "
      "sending endpoint(), and connect there");
}

template class ZmqChannel<Delivery::at_most_once>;
template class ZmqChannel<Delivery::at_least_once>;

}  // namespace troupe::zmq
