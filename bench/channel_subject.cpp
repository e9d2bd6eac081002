// SPDX-License-Identifier: MIT
#include "channel_subject.hpp"

#include "spinning.hpp"

namespace troupe::bench::channels {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 30s;

/// This process's end, and a child with the other, who goes on with `body`.
template <class Body>
class Between {
 public:
  Between(Carrier carrier, std::size_t bytes, Body body)
      : where_{cores(Placement::across_cores)},
        pair_{create_channel({.carrier = carrier, .frame_bytes_max = std::max<std::size_t>(bytes, 1024)})
                  .value()},
        peer_{where_.peer, [body, parts = pair_.second->take_parts().value()]() mutable {
                const auto end = channel_from(std::move(parts)).value();
                body(*end);
              }} {
    pair_.second.reset();
  }
  [[nodiscard]] Channel& here() const { return *pair_.first; }

 private:
  Cores where_;
  ChannelPair pair_;
  Peer peer_;
};

void send(Channel& end, std::span<const std::byte> bytes) {
  end.send(bytes, {}, deadline_in(patience)).value();
}

}  // namespace

double one_way(Carrier carrier, std::size_t bytes, std::size_t count) {
  count_cores();
  const Pinned here{cores(Placement::across_cores).program};
  const Between between{carrier, bytes, [count](Channel& end) {
                          std::vector<std::byte> buffer;
                          const auto receive = [&] {
                            keep(end.receive(buffer, deadline_in(patience)).value().bytes.data());
                          };
                          receive();
                          send(end, {});
                          for (std::size_t i = 0; i < count; ++i) receive();
                          send(end, {});
                          ::pause();
                        }};
  std::vector<std::byte> answer;
  const std::vector<std::byte> payload(bytes);
  send(between.here(), payload);
  [[maybe_unused]] const auto ready = between.here().receive(answer, deadline_in(patience)).value();
  const std::int64_t before = now_ns();
  for (std::size_t i = 0; i < count; ++i) send(between.here(), payload);
  [[maybe_unused]] const auto done = between.here().receive(answer, deadline_in(patience)).value();
  return per_second(count, before);
}

double round_trip(Carrier carrier, std::size_t bytes, std::size_t rounds) {
  count_cores();
  const Pinned here{cores(Placement::across_cores).program};
  const Between between{carrier, bytes, [](Channel& end) {
                          for (std::vector<std::byte> buffer;;)
                            send(end, end.receive(buffer, deadline_in(patience)).value().bytes);
                        }};
  std::vector<std::byte> answer;
  const std::vector<std::byte> payload(bytes);
  return median_round(rounds, {}, [&] {
    send(between.here(), payload);
    keep(between.here().receive(answer, deadline_in(patience)).value().bytes.data());
  });
}

}  // namespace troupe::bench::channels
