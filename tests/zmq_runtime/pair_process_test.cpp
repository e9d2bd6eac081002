// SPDX-License-Identifier: MIT
// Ends over ZeroMQ as arguments of processes that the keeper starts.
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/pipe.hpp>
#include <troupe/zmq/channel.hpp>
#include <utility>

#include "leaves_nothing.hpp"
#include "printing.hpp"
#include "transport/kind_of.hpp"
#include "wire.hpp"

namespace troupe {
namespace {

using test::kind_of;
using test::patience;

using Near = Pipe<int, std::string>;
using Far = Pipe<std::string, int>;

/// Until the other end closes.
void serve(Far end) {
  for (;;) {
    const auto asked = end.receive(10 * patience);
    if (!asked && asked.error().kind == ErrorKind::closed) return;
    end.send(std::to_string(asked.value())).value();
  }
}
void hang(const Far& /*never used*/) { test::wait_for_ever(); }

class ZmqPairProcesses : public test::LeavesNothing, public ::testing::WithParamInterface<StartMethod> {
 protected:
  [[nodiscard]] static ProcessOptions options() { return {.daemon = true, .method = GetParam()}; }
  [[nodiscard]] static std::pair<Near, Far> create() {
    auto ends = zmq::AtLeastOnceChannel::create_pair().value();
    return {Near{std::move(ends.first)}, Far{std::move(ends.second)}};
  }
};

INSTANTIATE_TEST_SUITE_P(Zmq, ZmqPairProcesses,
                         ::testing::Values(StartMethod::forkserver, StartMethod::spawn),
                         ::testing::PrintToStringParamName());

TEST_P(ZmqPairProcesses, AServerAnswersAndSeesTheEndOfItsClient) {
  auto [near, far] = create();
  Process server{options(), serve, std::move(far)};
  ASSERT_TRUE(near.send(3)) << "it waits for its reader";
  server.start().value();
  EXPECT_EQ(near.receive(patience).value(), "3");
  for (int n = 0; n < 100; ++n) {
    ASSERT_TRUE(near.send(n));
    ASSERT_EQ(near.receive(patience).value(), std::to_string(n));
  }
  near.close();
  EXPECT_TRUE(is_normal(server.join(patience).value().reason.cause));
  EXPECT_EQ(kind_of(near.receive(patience)), "closed");
}

TEST_P(ZmqPairProcesses, AChildThatIsKilledBeforeItUsesItsEndIsDown) {
  auto [near, far] = create();
  Process server{options(), hang, std::move(far)};
  server.start().value();
  server.kill().value();
  EXPECT_EQ(kind_of(near.receive(patience)), "down");
}

TEST_P(ZmqPairProcesses, AChildThatIsNeverStartedIsDown) {
  auto [near, far] = create();
  { const Process never{options(), serve, std::move(far)}; }
  EXPECT_EQ(kind_of(near.receive(patience)), "down");
}

TEST_P(ZmqPairProcesses, AnEndThatHasBeenUsedIsRefused) {
  auto [near, far] = create();
  ASSERT_TRUE(far.send("used"));
  try {
    const Process process{options(), serve, std::move(far)};
    FAIL() << "took an end that has been used";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error.kind, ErrorKind::refused) << failure.error;
  }
}

}  // namespace
}  // namespace troupe
