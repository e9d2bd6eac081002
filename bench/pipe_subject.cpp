// SPDX-License-Identifier: MIT
#include "pipe_subject.hpp"

#include <troupe/transport/pipe.hpp>
#include <troupe/transport/queue.hpp>

#include "spinning.hpp"

namespace troupe::bench::pipes {
namespace {

constexpr std::chrono::seconds patience{60};
/// What the pipe and the codec put in front of the bytes: the largest message is a frame that much smaller.
constexpr std::size_t overhead = 64;

struct Message {
  Bytes bytes{};
};
using Near = Pipe<Message, Message>;

/// This process's end, and a child with the other, who goes on with `body`.
template <class Body>
class Between {
 public:
  Between(std::size_t bytes, Body body)
      : where_{cores(Placement::across_cores)},
        here_{where_.program},
        ends_{Near::create({.frame_bytes_max = std::max<std::size_t>(bytes + overhead, 1024)}).value()},
        peer_{where_.peer, [body, parts = ends_.second.take_parts().value()]() mutable {
                auto end = Near::from(std::move(parts)).value();
                body(end);
              }} {
    ends_.second = {};
  }
  void send(const Message& message) { ends_.first.send(message, patience).value(); }
  void receive() {
    const Message message = ends_.first.receive(patience).value();
    keep(message.bytes.data());
  }

 private:
  Cores where_;
  Pinned here_;
  std::pair<Near, Near> ends_;
  Peer peer_;
};

}  // namespace

double one_way(std::size_t bytes, std::size_t count) {
  count_cores();
  Between between{bytes, [count](Near& end) {
                    const auto receive = [&] { keep(end.receive(patience).value().bytes.data()); };
                    receive();
                    end.send({}, patience).value();
                    for (std::size_t i = 0; i < count; ++i) receive();
                    end.send({}, patience).value();
                    ::pause();
                  }};
  const Message message{Bytes(bytes)};
  between.send(message);
  between.receive();
  const std::int64_t before = now_ns();
  for (std::size_t i = 0; i < count; ++i) between.send(message);
  between.receive();
  return per_second(count, before);
}

double round_trip(std::size_t bytes, std::size_t rounds) {
  count_cores();
  Between between{bytes, [](Near& end) {
                    for (;;) end.send(end.receive(patience).value(), patience).value();
                  }};
  const Message message{Bytes(bytes)};
  return median_round(rounds, {}, [&] {
    between.send(message);
    between.receive();
  });
}

}  // namespace troupe::bench::pipes
