// SPDX-License-Identifier: MIT
// What is so of a queue in shared memory alone; the rest is queue_conformance_test.cpp's.
#include <troupe/transport/queue.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/shared_queue.hpp>

#include "transport/attached_queue.hpp"
#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;

class QueueTest : public test::NothingLeft {};

TEST_F(QueueTest, RefusesBoundsThatItsPageHasNoPlaceFor) {
  for (const QueueOptions& wrong : {QueueOptions{.senders_max = 65}, QueueOptions{.ends_max = 1000}})
    EXPECT_EQ(Queue<int>::create(wrong).error().kind, ErrorKind::invalid);
}

TEST_F(QueueTest, AFileThatCouldBeCutShortIsRefused) {
  Queue<int> queue{{.items_max = 4, .bytes_max = 4096, .senders_max = 1, .ends_max = 4}};
  auto descriptors = queue.descriptors().value();
  struct stat status {};
  ASSERT_EQ(::fstat(descriptors[0].get(), &status), 0);
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  ASSERT_EQ(::pread(descriptors[0].get(), bytes.data(), bytes.size(), 0), status.st_size);
  auto forged = create_memory("forged", bytes.size()).value();
  ASSERT_EQ(::pwrite(forged.get(), bytes.data(), bytes.size(), 0), status.st_size);
  descriptors[0] = std::move(forged);
  const auto attached = Queue<int>::attach(std::move(descriptors));
  ASSERT_FALSE(attached) << "the same bytes, but not sealed";
  EXPECT_EQ(attached.error().kind, ErrorKind::refused);
}

TEST_F(QueueTest, ADeadSendersLaneIsTakenOverByTheNextAtOnce) {
  Queue<int> queue{{.senders_max = 1}};
  const auto descriptors = queue.descriptors().value();
  for (int i = 0; i < 5; ++i) {
    test::Forked sender{[&] {
      test::attached<int>(descriptors).sender().put(i, 20s).value();
      ::_exit(0);
      return 0;
    }};
    ASSERT_EQ(sender.exit_code(deadline_in(20s)), 0);
  }
  auto in = queue.receiver();
  for (int i = 0; i < 5; ++i) {
    auto item = in.get(20s).value();
    EXPECT_EQ(*item, i);
    item.acknowledge();
  }
}

TEST_F(QueueTest, APassedSenderThatIsGivenUpHoldsNoStreamOpen) {
  auto queue = detail::SharedQueue::create({}).value();
  Receiver<int> in{queue->receiver().value()};
  { const auto pass = queue->pass(detail::QueueAccess::End::sender).value(); }
  queue->close();
  EXPECT_EQ(in.get(20s).error().kind, ErrorKind::closed);
}

}  // namespace
}  // namespace troupe
