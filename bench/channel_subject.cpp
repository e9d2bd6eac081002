// SPDX-License-Identifier: MIT
#include "channel_subject.hpp"

#include "channel_load.hpp"
#include "spinning.hpp"

namespace troupe::bench::channels {
namespace {

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

/// For one_way_over and round_trip_over.
auto between(Carrier carrier, std::size_t bytes) {
  return [=](auto body) { return Between{carrier, bytes, body}; };
}

}  // namespace

double one_way(Carrier carrier, std::size_t bytes, std::size_t count) {
  count_cores();
  const Pinned here{cores(Placement::across_cores).program};
  return one_way_over(between(carrier, bytes), bytes, count);
}

double round_trip(Carrier carrier, std::size_t bytes, std::size_t rounds) {
  count_cores();
  const Pinned here{cores(Placement::across_cores).program};
  return round_trip_over(between(carrier, bytes), bytes, rounds);
}

}  // namespace troupe::bench::channels
