// SPDX-License-Identifier: MIT
#include "zmq_subject.hpp"

#include <memory>
#include <troupe/transport/queue.hpp>
#include <troupe/zmq/queue.hpp>

#include "channel_load.hpp"

namespace troupe::bench::over_zmq {
namespace {

/// This process's end, and a child that goes on with the other one.
template <zmq::Delivery delivery, class Body>
class Between {
 public:
  Between(const char* endpoint, std::size_t bytes, Body body)
      : options_{.frame_bytes_max = std::max<std::size_t>(bytes, 1024)},
        here_{End::listen(endpoint, options_).value()},
        peer_{any_core, [this, body] {
                const auto end = End::connect(here_->endpoint(), options_, deadline_in(patience)).value();
                body(*end);
              }} {}
  [[nodiscard]] Channel& here() const { return *here_; }

 private:
  using End = zmq::ZmqChannel<delivery>;
  zmq::ChannelOptions options_;
  std::unique_ptr<End> here_;
  Peer peer_;
};

/// For one_way_over and round_trip_over.
template <zmq::Delivery delivery>
auto between(const char* endpoint, std::size_t bytes) {
  return [=](auto body) { return Between<delivery, decltype(body)>{endpoint, bytes, body}; };
}

/// A queue that this process owns, and processes at it that begin together.
class Ends {
 public:
  Ends(std::size_t senders, std::size_t receivers, const QueueOptions& options)
      : ends_{senders + receivers}, queue_{made(options, endpoint_)} {
    for (std::size_t i = 0; i < receivers; ++i)
      peers_.push_back(std::make_unique<bench::Peer>(any_core, [&] {
        auto receiver = there().receiver();
        gate_.pass();
        for (;;)
          if (auto item = receiver.view(patience)) item->item().acknowledge();
      }));
  }
  void add_senders(std::size_t senders, std::size_t bytes, std::size_t each) {
    for (std::size_t i = 0; i < senders; ++i)
      peers_.push_back(std::make_unique<bench::Peer>(any_core, [&, bytes, each] {
        auto sender = there().sender();
        const Bytes payload(bytes);
        gate_.pass();
        for (std::size_t k = 0; k < each; ++k) sender.put(payload, patience).value();
        sender.flush(patience).value();
        ::pause();
      }));
  }
  [[nodiscard]] Queue<Bytes>& queue() { return queue_; }
  /// Items a second from now on.
  [[nodiscard]] double until_acknowledged(std::size_t count) {
    gate_.wait_for(ends_);
    const std::int64_t before = now_ns();
    gate_.open(ends_);
    while (queue_.counts().acknowledged != count) ::usleep(100);
    return per_second(count, before);
  }

 private:
  static Queue<Bytes> made(const QueueOptions& options, std::string& endpoint) {
    auto access = zmq::QueueServer::create(ipc, options).value();
    endpoint = zmq::endpoint_of(*access);
    return Queue<Bytes>::over(std::move(access));
  }
  [[nodiscard]] Queue<Bytes> there() const {
    return Queue<Bytes>::over(zmq::connect_queue(endpoint_, {}, patience).value());
  }
  std::size_t ends_;
  std::string endpoint_{};
  Queue<Bytes> queue_;
  Gate gate_{};
  std::vector<std::unique_ptr<bench::Peer>> peers_{};
};

}  // namespace

double one_way(zmq::Delivery delivery, const char* endpoint, std::size_t bytes, std::size_t count) {
  return delivery == zmq::Delivery::at_most_once
             ? one_way_over(between<zmq::Delivery::at_most_once>(endpoint, bytes), bytes, count)
             : one_way_over(between<zmq::Delivery::at_least_once>(endpoint, bytes), bytes, count);
}

double round_trip(zmq::Delivery delivery, const char* endpoint, std::size_t bytes, std::size_t rounds) {
  return delivery == zmq::Delivery::at_most_once
             ? round_trip_over(between<zmq::Delivery::at_most_once>(endpoint, bytes), bytes, rounds)
             : round_trip_over(between<zmq::Delivery::at_least_once>(endpoint, bytes), bytes, rounds);
}

double queue(std::size_t senders, std::size_t receivers, std::size_t bytes, std::size_t count,
             std::size_t unconfirmed_puts_max) {
  const std::size_t each = std::max<std::size_t>(count / senders, 1);
  Ends ends{senders,
            receivers,
            {.bytes_max = std::size_t{4} << 20U,
             .senders_max = senders,
             .ends_max = 2 * (senders + receivers) + 2,
             .unconfirmed_puts_max = unconfirmed_puts_max}};
  ends.add_senders(senders, bytes, each);
  return ends.until_acknowledged(each * senders);
}

double drained(std::size_t receivers, std::size_t bytes, std::size_t count, std::size_t ahead_items_max) {
  Ends ends{0,
            receivers,
            {.items_max = count,
             .bytes_max = std::size_t{256} << 20U,
             .ends_max = 2 * receivers + 4,
             .ahead_items_max = ahead_items_max,
             .unconfirmed_puts_max = 1024}};
  {
    auto sender = ends.queue().sender();
    const Bytes payload(bytes);
    for (std::size_t i = 0; i < count; ++i) sender.put(payload, patience).value();
    sender.flush(patience).value();
  }
  return ends.until_acknowledged(count);
}

}  // namespace troupe::bench::over_zmq
