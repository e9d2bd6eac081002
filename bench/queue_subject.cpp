// SPDX-License-Identifier: MIT
#include "queue_subject.hpp"

#include <memory>
#include <troupe/transport/queue.hpp>

#include "spinning.hpp"

namespace troupe::bench::queues {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 60s;

struct Block {
  std::array<std::uint8_t, 64> bytes{};
};

template <class Message>
double measure(const Message& message, std::size_t senders, std::size_t receivers, std::size_t count) {
  count_cores();
  const Cores where = cores(Placement::across_cores);
  const bool pair = senders == 1 && receivers == 1;  // more processes than cores: let the kernel place them
  const std::size_t each = count / senders;
  Queue<Message> queue{{.senders_max = senders, .ends_max = senders + receivers + 1}};
  const Gate gate;
  std::vector<std::unique_ptr<Peer>> peers;
  const auto attach = [](std::vector<OwnedFd>& descriptors) {
    return Queue<Message>::attach(std::move(descriptors)).value();
  };
  for (std::size_t i = 0; i < receivers; ++i)
    peers.push_back(std::make_unique<Peer>(pair ? where.peer : any_core,
                                           [&, ends = queue.descriptors().value()]() mutable {
                                             auto receiver = attach(ends).receiver();
                                             gate.pass();
                                             for (;;)
                                               if (auto item = receiver.get(patience)) item->acknowledge();
                                           }));
  for (std::size_t i = 0; i < senders; ++i)
    peers.push_back(std::make_unique<Peer>(pair ? where.program : any_core,
                                           [&, ends = queue.descriptors().value()]() mutable {
                                             auto sender = attach(ends).sender();
                                             gate.pass();
                                             for (std::size_t k = 0; k < each; ++k)
                                               sender.put(message, patience).value();
                                           }));
  gate.wait_for(senders + receivers);
  const std::int64_t before = now_ns();
  gate.open(senders + receivers);
  while (queue.counts().acknowledged != each * senders) ::usleep(100);
  return per_second(each * senders, before);
}

}  // namespace

double throughput(std::size_t senders, std::size_t receivers, std::size_t count) {
  return measure(Block{}, senders, receivers, count);
}

double one_way(std::size_t bytes, std::size_t count) { return measure(Bytes(bytes), 1, 1, count); }

double round_trip(std::size_t bytes, std::size_t rounds) {
  count_cores();
  const Cores where = cores(Placement::across_cores);
  const Pinned here{where.program};
  Queue<Bytes> there;
  Queue<Bytes> back;
  const Peer echo{where.peer,
                  [questions = there.descriptors().value(), answers = back.descriptors().value()]() mutable {
                    auto receiver = Queue<Bytes>::attach(std::move(questions)).value().receiver();
                    auto sender = Queue<Bytes>::attach(std::move(answers)).value().sender();
                    for (;;) {
                      auto item = receiver.get(patience).value();
                      sender.put(*item, patience).value();
                      item.acknowledge();
                    }
                  }};
  auto sender = there.sender();
  auto receiver = back.receiver();
  const Bytes payload(bytes);
  return median_round(rounds, {}, [&] {
    sender.put(payload, patience).value();
    receiver.get(patience).value().acknowledge();
  });
}

}  // namespace troupe::bench::queues
