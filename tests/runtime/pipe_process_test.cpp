// SPDX-License-Identifier: MIT
// Ends of pipes as arguments of processes that the keeper starts.
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/pipe.hpp>
#include <troupe/transport/select.hpp>
#include <tuple>
#include <vector>

#include "leaves_nothing.hpp"
#include "printing.hpp"
#include "transport/carriers.hpp"
#include "transport/kind_of.hpp"
#include "wire.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::kind_of;
using test::patience;

struct Request {
  int number = 0;
};
struct Response {
  int square = 0;
};
using Near = Pipe<Request, Response>;
using Far = Pipe<Response, Request>;

/// Until the other end closes.
void serve(Far end) {
  for (;;) {
    const auto request = end.receive(10 * patience);
    if (!request && request.error().kind == ErrorKind::closed) return;
    end.send({request.value().number * request.value().number}).value();
  }
}
void serve_one_and_hang(Far end) {
  const int number = end.receive(patience).value().number;
  end.send({number * number}).value();
  test::wait_for_ever();
}
void hang(const Far& /*never used*/) { test::wait_for_ever(); }
void ask(Near end, int number) {
  end.send({number}).value();
  if (end.receive(patience).value().square != number * number) throw std::runtime_error{"a wrong answer"};
}

class PipeProcesses : public test::LeavesNothing,
                      public ::testing::WithParamInterface<std::tuple<StartMethod, Carrier>> {
 protected:
  [[nodiscard]] static ProcessOptions options() {
    return {.daemon = true, .method = std::get<StartMethod>(GetParam())};
  }
  [[nodiscard]] static auto create() {
    return Near::create({.carrier = std::get<Carrier>(GetParam()), .frame_bytes_max = 1000}).value();
  }
  static std::string end_of(Near& near) { return kind_of(near.receive(patience)); }
};

INSTANTIATE_TEST_SUITE_P(Runtime, PipeProcesses,
                         ::testing::Combine(::testing::Values(StartMethod::forkserver, StartMethod::spawn),
                                            ::testing::ValuesIn(test::carriers)),
                         [](const auto& one) {
                           return ::testing::PrintToString(std::get<0>(one.param)) + "_" +
                                  ::testing::PrintToString(std::get<1>(one.param));
                         });

TEST_P(PipeProcesses, AServerAnswersAndSeesTheEndOfItsClient) {
  auto [near, far] = create();
  Process server{options(), serve, std::move(far)};
  ASSERT_TRUE(near.send({3})) << "it waits for its reader";
  server.start().value();
  EXPECT_EQ(near.receive(patience).value().square, 9);
  for (int n = 0; n < 100; ++n) {
    ASSERT_TRUE(near.send({n}));
    ASSERT_EQ(near.receive(patience).value().square, n * n);
  }
  near.close();
  EXPECT_TRUE(is_normal(server.join(patience).value().reason.cause));
}

TEST_P(PipeProcesses, AChildThatReturnsHasClosedItsEnd) {
  auto [near, far] = create();
  Process server{options(), [](const Far&) {}, std::move(far)};
  server.start().value();
  EXPECT_EQ(end_of(near), "closed");
  EXPECT_TRUE(is_normal(server.join(patience).value().reason.cause));
  EXPECT_EQ(kind_of(near.send({1})), "closed");
}

TEST_P(PipeProcesses, AKilledChildIsDownAfterWhatItHadSent) {
  auto [near, far] = create();
  Process server{options(), serve_one_and_hang, std::move(far)};
  server.start().value();
  ASSERT_TRUE(near.send({4}));
  ASSERT_TRUE(select({near.readable()}, patience)) << "answered";
  server.kill().value();
  EXPECT_EQ(near.receive(patience).value().square, 16);
  EXPECT_EQ(end_of(near), "down");
  server.join(patience).value();
  EXPECT_EQ(kind_of(near.send({5})), "down");
}

/// None of the siblings holds a copy of another's end, which would hide its death.
TEST_P(PipeProcesses, TheDeathOfOneAmongAHundredIsSeen) {
  constexpr std::size_t siblings = 100;
  constexpr std::size_t victim = siblings / 2;
  std::vector<Near> ends;
  std::vector<Process> servers;
  for (std::size_t i = 0; i < siblings; ++i) {
    auto [near, far] = create();
    servers.emplace_back(options(), serve, std::move(far));
    servers.back().start().value();
    ends.push_back(std::move(near));
  }
  servers[victim].kill().value();
  EXPECT_EQ(end_of(ends[victim]), "down");
  servers[victim].join(patience).value();
  servers.erase(servers.begin() + victim);
  ends.erase(ends.begin() + victim);
  for (Near& end : ends) ASSERT_TRUE(end.send({3}));
  for (Near& end : ends) EXPECT_EQ(end.receive(patience).value().square, 9) << "the others live";
  for (Near& end : ends) end.close();
  for (Process& server : servers) EXPECT_TRUE(is_normal(server.join(patience).value().reason.cause));
}

TEST_P(PipeProcesses, AChildThatIsKilledBeforeItUsesItsEndIsDown) {
  auto [near, far] = create();
  Process server{options(), hang, std::move(far)};
  server.start().value();
  server.kill().value();
  EXPECT_EQ(end_of(near), "down");
}

TEST_P(PipeProcesses, AChildThatIsNeverStartedIsDown) {
  auto [near, far] = create();
  { const Process never{options(), serve, std::move(far)}; }
  EXPECT_EQ(end_of(near), "down");
}

/// Does not arrive.
struct Picky {
  Far end{};
  template <class Archive>
  void save(Archive& archive) const {
    archive(end);
  }
  template <class Archive>
  void load(Archive& /*archive*/) {
    throw std::runtime_error{"not in this process"};
  }
};

TEST_P(PipeProcesses, AChildThatCannotDecodeItsArgumentsIsDown) {
  auto [near, far] = create();
  Process process{options(), [](const Picky&) {}, Picky{std::move(far)}};
  process.start().value();
  EXPECT_EQ(end_of(near), "down");
  EXPECT_FALSE(is_normal(process.join(patience).value().reason.cause));
}

TEST_P(PipeProcesses, BothEndsLeaveForTwoProcesses) {
  auto [near, far] = create();
  Process server{options(), serve, std::move(far)};
  Process client{options(), ask, std::move(near), 7};
  server.start().value();
  client.start().value();
  EXPECT_TRUE(is_normal(client.join(patience).value().reason.cause));
  EXPECT_TRUE(is_normal(server.join(patience).value().reason.cause)) << "its client has closed";
}

TEST_P(PipeProcesses, AnEndThatHasBeenUsedIsRefused) {
  auto [near, far] = create();
  ASSERT_TRUE(far.send({1}));
  try {
    const Process process{options(), serve, std::move(far)};
    FAIL() << "took an end that has been used";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error.kind, ErrorKind::refused) << failure.error;
    EXPECT_NE(failure.error.text.find("before its first use"), std::string::npos) << failure.error;
  }
}

/// Many ends, and something else that is one descriptor.
struct Office {
  std::vector<Far> clients{};
  Blob rules{};
};

void answer_all(Office office) {
  const auto bonus = static_cast<int>(office.rules.bytes().value().size());
  for (auto& client : office.clients) client.send({client.receive(patience).value().number + bonus}).value();
}

TEST_P(PipeProcesses, ManyEndsTravelInsideAValue) {
  Office office{.rules = Blob::create(std::vector<std::byte>(100)).value()};
  std::vector<Near> clients;
  for (int i = 0; i < 5; ++i) {
    auto [near, far] = create();
    clients.push_back(std::move(near));
    office.clients.push_back(std::move(far));
  }
  Process server{options(), answer_all, std::move(office)};
  server.start().value();
  for (int i = 0; i < 5; ++i) {
    auto& client = clients[static_cast<std::size_t>(i)];
    ASSERT_TRUE(client.send({i}));
    EXPECT_EQ(client.receive(patience).value().square, i + 100);
    if (i < 4) continue;
    EXPECT_EQ(end_of(client), "closed");
  }
  EXPECT_TRUE(is_normal(server.join(patience).value().reason.cause));
}

}  // namespace
}  // namespace troupe
