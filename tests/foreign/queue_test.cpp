// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <troupe/foreign/endpoint.hpp>
#include <troupe/transport/queue.hpp>
#include <zmq.hpp>

#include "leaves_nothing.hpp"
#include "values.hpp"

namespace troupe::test {
namespace {

struct Job {
  std::string name{};
};

class ForeignQueue : public LeavesNothing {};

TEST_F(ForeignQueue, TakesJobsUntilItIsFull) {
  Queue<Job> jobs{{.items_max = 1, .overflow = Overflow::block}};
  auto endpoint = foreign::Endpoint::create().value();
  endpoint.expose<Job>("jobs", jobs.sender()).value();
  ::zmq::context_t context{1};
  ::zmq::socket_t client{context, ::zmq::socket_type::dealer};
  client.set(::zmq::sockopt::linger, 0);
  client.connect(endpoint.address());
  const auto ask = [&](std::string_view request) {
    client.send(::zmq::buffer(request));
    ::zmq::message_t reply;
    const TimePoint deadline = deadline_in(patience);
    while (!client.recv(reply, ::zmq::recv_flags::dontwait) && Clock::now() < deadline)
      EXPECT_TRUE(endpoint.serve(std::chrono::milliseconds{1}));
    return reply.to_string();
  };
  EXPECT_EQ(ask(R"({"id":"1","to":"jobs","type":"Job","body":{"name":"dig"}})"), R"({"id":"1","ok":true})");
  EXPECT_NE(ask(R"({"id":"2","to":"jobs","type":"Job","body":{"name":"dig"}})").find(R"("kind":"full")"),
            std::string::npos);
  auto receiver = jobs.receiver();
  auto job = receiver.get(patience);
  ASSERT_TRUE(job);
  EXPECT_EQ((*job)->name, "dig");
  EXPECT_EQ(endpoint.counts().full, 1U);
}

}  // namespace
}  // namespace troupe::test
