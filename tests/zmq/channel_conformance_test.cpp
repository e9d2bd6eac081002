// SPDX-License-Identifier: MIT
#include "transport/channel_cases.hpp"

#include <troupe/zmq/channel.hpp>

namespace troupe::test {
namespace {

constexpr const char* dies_with_it = "what libzmq has not handed to the kernel yet dies with its sender";
/// The rest of such cases: SaysDownWhenThePeersProcessIsKilled… in channel_test.cpp, OfAKilledSender… in
/// kill_test.cpp.
constexpr const char* not_known = "a process that ends before its hello is nobody's peer: the next may come";

template <zmq::Delivery delivery>
ChannelKind zmq_kind(std::string name, const char* endpoint) {
  using End = zmq::ZmqChannel<delivery>;
  return {.name = std::move(name),
          .create =
              [endpoint](std::size_t frame_bytes_max) {
                const zmq::ChannelOptions options{.frame_bytes_max = frame_bytes_max};
                auto near = End::listen(endpoint, options).value();
                const std::string address = near->endpoint();
                return ChannelKind::Ends{std::move(near), [address, options]() -> std::unique_ptr<Channel> {
                                           return End::connect(address, options, soon()).value();
                                         }};
              },
          .exempt = {{"DeliversAllThatTheDeadHadSentAndThenSaysDown", dies_with_it},
                     {"SeesADeathThatAForkedChildSurvives", dies_with_it},
                     {"MovesBeforeItsFirstUseAndNotAfter", "its endpoint travels instead"},
                     {"SaysDownWhenNobodyEverMakesTheFarEnd", not_known},
                     {"SaysDownToAReceiverThatWaits", not_known},
                     {"DeliversOnlyWholeFramesOfASenderThatIsKilledWheneverItIs", not_known}}};
}

/// Made as a pair, whose far end travels as parts.
ChannelKind pair_kind() {
  return {.name = "zmq_pair",
          .create =
              [](std::size_t frame_bytes_max) {
                const zmq::ChannelOptions options{.frame_bytes_max = frame_bytes_max, .close_within = 500ms};
                auto ends = zmq::AtLeastOnceChannel::create_pair(options).value();
                auto parts = std::make_shared<ChannelParts>(ends.second->take_parts().value());
                return ChannelKind::Ends{std::move(ends.first),
                                         [parts] { return channel_from(std::move(*parts)).value(); }};
              },
          .exempt = {
              {"DeliversAllThatTheDeadHadSentAndThenSaysDown", dies_with_it},
              {"SeesADeathThatAForkedChildSurvives", dies_with_it},
              {"MovesBeforeItsFirstUseAndNotAfter",
               "the near end listens and stays; the far one has moved in each of these cases"},
              {"ClosesWhileItIsFullWithoutLosingAnything",
               "what is sent waits at its sender until the far end is used; close() waits, not for ever"}}};
}

INSTANTIATE_TEST_SUITE_P(
    Zmq, ChannelConformance,
    testing::Values(zmq_kind<zmq::Delivery::at_least_once>("zmq_ipc", "ipc://*"),
                    zmq_kind<zmq::Delivery::at_least_once>("zmq_tcp", "tcp://127.0.0.1:*"),
                    zmq_kind<zmq::Delivery::at_most_once>("zmq_ipc_at_most_once", "ipc://*"),
                    zmq_kind<zmq::Delivery::at_most_once>("zmq_tcp_at_most_once", "tcp://127.0.0.1:*"),
                    pair_kind()),
    channel_name);

}  // namespace
}  // namespace troupe::test
