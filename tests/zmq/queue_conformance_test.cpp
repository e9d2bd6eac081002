// SPDX-License-Identifier: MIT
#include <troupe/zmq/queue.hpp>

#include "transport/queue_cases.hpp"

namespace troupe::test {
namespace {

QueueKind zmq_kind(std::string name, const char* endpoint) {
  return {.name = std::move(name),
          .create =
              [endpoint](const QueueOptions& options) { return zmq::QueueServer::create(endpoint, options); },
          .way_to =
              [](detail::QueueAccess& queue) {
                return QueueKind::Way{zmq::endpoint_of(queue), {}};
              },
          .find = [](const QueueKind::Way& way) { return zmq::connect_queue(way.text, {}, 20s).value(); },
          .exempt = {{"EndsWhenItsOwnerDies", "its items die with its owner: down, not closed"}}};
}

INSTANTIATE_TEST_SUITE_P(Zmq, QueueConformance,
                         testing::Values(zmq_kind("zmq_ipc", "ipc://*"),
                                         zmq_kind("zmq_tcp", "tcp://127.0.0.1:*")),
                         queue_name);

}  // namespace
}  // namespace troupe::test
