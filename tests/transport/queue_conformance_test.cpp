// SPDX-License-Identifier: MIT
// A queue in shared memory passes the suite of queues; other targets add theirs.
#include <troupe/transport/shared_queue.hpp>

#include "transport/attached_queue.hpp"
#include "transport/queue_cases.hpp"

namespace troupe::test {
namespace {

QueueKind shared_memory() {
  return {.name = "shared_memory",
          .create = detail::make_shared_queue,
          .way_to =
              [](detail::QueueAccess& queue) {
                return QueueKind::Way{{}, queue.descriptors().value()};
              },
          .find =
              [](const QueueKind::Way& way) {
                return detail::attach_shared_queue(copies_of(way.descriptors)).value();
              }};
}

INSTANTIATE_TEST_SUITE_P(Transport, QueueConformance, testing::Values(shared_memory()), queue_name);

}  // namespace
}  // namespace troupe::test
