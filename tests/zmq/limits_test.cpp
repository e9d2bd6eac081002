// SPDX-License-Identifier: MIT
// The limits of a process sink to nothing while it uses ZeroMQ; see tests/support/transport/limits.hpp. Not
// the address space, for want of which libzmq may end a process: failing_calls_test.cpp has that, and looks
// at the peer.
#include "transport/limits.hpp"

#include <algorithm>
#include <chrono>
#include <troupe/transport/queue.hpp>
#include <troupe/zmq/channel.hpp>
#include <troupe/zmq/queue.hpp>
#include <vector>

#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe::zmq {
namespace {

using troupe::test::Limit;
using troupe::test::NamedCase;
using troupe::test::require;

constexpr Duration patience = std::chrono::seconds{10};

/// Both ends of a channel in one process, and its orderly end.
template <Delivery delivery>
Result<void> use_a_channel() {
  using Channel = ZmqChannel<delivery>;
  auto here = Channel::listen("ipc://*").value();
  auto there = Channel::connect(here->endpoint(), {}, deadline_in(patience)).value();
  std::vector<std::byte> buffer;
  for (std::uint64_t number = 0; number < 3; ++number) {
    const auto sent = troupe::test::pattern(number, 1000 * number);
    there->send(sent, {}, deadline_in(patience)).value();
    const auto frame = here->receive(buffer, deadline_in(patience)).value();
    require(std::ranges::equal(frame.bytes, sent), "another frame");
  }
  there->close();
  const auto end = here->receive(buffer, deadline_in(patience));
  require(!end, "a frame from nowhere");
  return end.error().kind == ErrorKind::closed ? Result<void>{} : tl::unexpected<Error>{end.error()};
}

/// A queue, its ends, an item of each fate, and its end.
Result<void> use_a_queue() {
  auto access = QueueServer::create("ipc://*").value();
  const auto endpoint = endpoint_of(*access);
  auto queue = Queue<int>::over(std::move(access));
  auto found = Queue<int>::over(connect_queue(endpoint, {}, patience).value());
  auto out = found.try_sender().value();
  auto in = queue.try_receiver().value();
  for (int number = 0; number < 2; ++number) out.put(number, patience).value();
  in.get(patience).value().acknowledge();
  in.get(patience).value().give_back();
  auto again = in.get(patience).value();
  require(*again == 1 && again.attempt() == 2, "another item");
  again.acknowledge();
  queue.drain(patience).value();
  queue.close();
  out = {};
  const auto end = in.get(patience);
  require(!end, "an item after the last");
  return end.error().kind == ErrorKind::closed ? Result<void>{} : tl::unexpected<Error>{end.error()};
}

/// As for the other carriers (tests/support/transport/fault_case.hpp); libzmq's threads and the post's are
/// not theirs to fail.
std::vector<NamedCase> fault_cases() {
  return {troupe::test::simple_case("AtMostOnceChannel", use_a_channel<Delivery::at_most_once>),
          troupe::test::simple_case("AtLeastOnceChannel", use_a_channel<Delivery::at_least_once>),
          troupe::test::simple_case("Queue", use_a_queue)};
}

class ZmqLimits : public troupe::test::NothingLeft, public ::testing::WithParamInterface<NamedCase> {};

TEST_P(ZmqLimits, OfDescriptorsAreReported) {
  if (!troupe::test::can_step()) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  troupe::test::expect_sound(GetParam(), Limit::descriptors);
}

TEST_P(ZmqLimits, OfAFilesSizeAreReportedAndKillNobody) {
  troupe::test::expect_sound(GetParam(), Limit::file_size);
}

INSTANTIATE_TEST_SUITE_P(Zmq, ZmqLimits, ::testing::ValuesIn(fault_cases()),
                         [](const auto& one) { return std::string{one.param.name}; });

}  // namespace
}  // namespace troupe::zmq
