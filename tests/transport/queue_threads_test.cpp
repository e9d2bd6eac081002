// SPDX-License-Identifier: MIT
// A queue between threads, so that the thread sanitizer sees both sides of every word. Each has an end of its
// own, as processes would.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <troupe/transport/queue.hpp>
#include <vector>

#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 100s;
constexpr int senders = 2;
constexpr int receivers = 2;
constexpr int items_each = 100'000;

struct Item {
  int sender = 0;
  int number = 0;
};

class QueueThreads : public test::NothingLeft {};

TEST_F(QueueThreads, CarryEachItemOnceThoughSomeAreGivenBack) {
  Queue<Item> queue{{.items_max = 64, .attempts_max = 3}};
  std::vector<std::atomic<int>> handled(senders * items_each);
  const auto send = [&](int me, Sender<Item> out) {
    for (int n = 0; n < items_each; ++n)
      if (!out.put({me, n}, patience)) return;
  };
  const auto receive = [&](Receiver<Item> in) {
    while (auto item = in.get(patience)) {
      if (item->attempt() == 1 && (*item)->number % 100 == 0) {
        item->give_back();
        continue;
      }
      ++handled.at(static_cast<std::size_t>((*item)->sender * items_each + (*item)->number));
      item->acknowledge();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < senders; ++i) threads.emplace_back(send, i, queue.sender());
  for (int i = 0; i < receivers; ++i) threads.emplace_back(receive, queue.receiver());
  for (int i = 0; i < senders; ++i) threads[static_cast<std::size_t>(i)].join();
  queue.close();
  for (std::size_t i = senders; i < threads.size(); ++i) threads[i].join();

  std::size_t wrong = 0;
  for (const auto& times : handled) wrong += times == 1 ? 0 : 1;
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_TRUE(queue.quarantine().empty());
}

}  // namespace
}  // namespace troupe
