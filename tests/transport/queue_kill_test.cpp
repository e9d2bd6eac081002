// SPDX-License-Identifier: MIT
// Four senders and four receivers of one queue that are killed and stopped again and again, and started anew.
//
// Nobody but the ends themselves puts anything back: there is no keeper here. `TROUPE_QUEUE_KILLS`: how many
// deaths; `TROUPE_QUEUE_SEED`: another sequence of them, each run's is printed.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <troupe/transport/queue.hpp>
#include <utility>

#include "transport/attached_queue.hpp"
#include "transport/forked.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::attached;
using test::Forked;

constexpr std::size_t senders = 4;
constexpr std::size_t receivers = 4;
constexpr std::size_t items_a_kill = 4000;  ///< room for what one sender puts between two deaths

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Item {
  std::uint32_t sender = 0;
  std::uint32_t life =
      0;  ///< of the process that put it: order is that of one sender, and the next is another
  std::uint32_t number = 0;
  Bytes payload{};
};
Bytes payload_of(std::uint32_t sender, std::uint32_t number) {
  return test::pattern(sender * 1'000'003ULL + number,
                       number % 3 == 0 ? number * 37 % 3000 : number * 7 % 100);
}

/// What the world outside has seen: effects, which no death undoes.
struct World {
  std::array<std::atomic<std::uint32_t>, senders> put{};  ///< puts that have returned
  std::atomic<std::uint64_t> torn{0};
  std::atomic<std::uint64_t> out_of_order{0};
  std::atomic<std::uint64_t> offered_again{0};  ///< with an attempt beyond the first
  std::atomic<std::uint64_t> stuck{0};          ///< a put or get that took as long as the whole test may
  std::atomic<bool> stop{false};
};

/// That, and how often each item was handled, in memory that a fork shares.
class SharedWorld {
 public:
  explicit SharedWorld(std::size_t items) : items_{items}, bytes_{sizeof(World) + senders * items} {
    at_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at_ == MAP_FAILED) throw Failure{{ErrorKind::system, errno, "mmap"}};
    new (at_) World{};
  }
  SharedWorld(const SharedWorld&) = delete;
  SharedWorld& operator=(const SharedWorld&) = delete;
  ~SharedWorld() { ::munmap(at_, bytes_); }
  World* operator->() const { return static_cast<World*>(at_); }
  [[nodiscard]] std::size_t items() const { return items_; }
  [[nodiscard]] std::atomic<std::uint8_t>& handled(std::size_t sender, std::size_t number) const {
    return *(reinterpret_cast<std::atomic<std::uint8_t>*>(static_cast<std::byte*>(at_) + sizeof(World)) +
             sender * items_ + number);
  }

 private:
  std::size_t items_;
  std::size_t bytes_;
  void* at_ = nullptr;
};

int run_sender(const SharedWorld& world, const std::vector<OwnedFd>& descriptors, std::uint32_t me,
               std::uint32_t life, TimePoint deadline) {
  auto out = attached<Item>(descriptors).sender();
  while (!world->stop) {
    const std::uint32_t number = world->put[me];
    if (number == world.items()) break;
    const auto put = out.put({me, life, number, payload_of(me, number)}, deadline - Clock::now());
    if (!put) {
      ++world->stuck;
      return 1;
    }
    world->put[me] = number + 1;
  }
  return 0;
}

/// The last number that a receiver has had of each life of each sender, at its first attempt: later ones come
/// later. What is offered again comes out of turn.
using LastOf = std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t>;

void handle(const SharedWorld& world, const Item& item, std::uint32_t attempt, LastOf& last) {
  const bool whole = item.sender < senders && item.number < world.items() &&
                     item.payload == payload_of(item.sender, item.number);
  if (!whole) {
    ++world->torn;
    return;
  }
  ++world.handled(item.sender, item.number);
  if (attempt > 1) {
    ++world->offered_again;
    return;
  }
  const auto [at, first] = last.try_emplace({item.sender, item.life}, item.number);
  if (!first && item.number <= std::exchange(at->second, item.number)) ++world->out_of_order;
}

int run_receiver(const SharedWorld& world, const std::vector<OwnedFd>& descriptors, TimePoint deadline) {
  auto in = attached<Item>(descriptors).receiver();
  LastOf last;
  for (;;) {
    auto item = in.get(deadline - Clock::now());
    if (!item && item.error().kind == ErrorKind::closed) return 0;
    if (!item) {
      ++world->stuck;
      return 1;
    }
    handle(world, **item, item->attempt(), last);
    item->acknowledge();
  }
}

class QueueKill : public test::NothingLeft {};

TEST_F(QueueKill, EverythingThatWasPutIsHandledWhoeverIsKilledOrStopped) {
  const std::size_t kills = number_from("TROUPE_QUEUE_KILLS", 2000);
  const auto seed = static_cast<std::uint32_t>(number_from("TROUPE_QUEUE_SEED", std::random_device{}()));
  std::cout << "TROUPE_QUEUE_SEED=" << seed << '\n';
  const TimePoint deadline = deadline_in(60s + kills * 50ms);
  const SharedWorld world{items_a_kill * (kills + 100)};
  Queue<Item> queue{{.items_max = 64, .bytes_max = 64U << 10U, .attempts_max = 60}};
  const auto descriptors = queue.descriptors().value();
  std::uint32_t lives = 0;
  const auto start = [&](std::size_t i) {
    const std::uint32_t life = lives++;
    return i < senders ? Forked{[&, i, life] {
      return run_sender(world, descriptors, static_cast<std::uint32_t>(i), life, deadline);
    }}
                       : Forked{[&] { return run_receiver(world, descriptors, deadline); }};
  };
  std::vector<Forked> ends;
  for (std::size_t i = 0; i < senders + receivers; ++i) ends.push_back(start(i));

  std::mt19937 random{seed};
  std::size_t receiver_kills = 0;
  std::size_t stops = 0;
  for (std::size_t killed = 0; killed < kills;) {
    const std::size_t victim = random() % ends.size();
    if (random() % 8 == 0) {  // stays so until somebody else's turn has come
      ::kill(ends[victim].pid(), SIGSTOP);
      ++stops;
    }
    const Waitable moment{ends[victim].descriptor(), {}};
    [[maybe_unused]] const auto ended = select({moment}, std::chrono::microseconds{random() % 1500});
    const std::size_t next = random() % ends.size();
    ends[next].kill();
    ends[next] = start(next);
    receiver_kills += next < senders ? 0 : 1;
    ++killed;
    ::kill(ends[victim].pid(), SIGCONT);
  }
  world->stop = true;
  for (std::size_t i = 0; i < senders; ++i) EXPECT_EQ(ends[i].exit_code(deadline), 0);
  queue.close();
  for (std::size_t i = senders; i < ends.size(); ++i) EXPECT_EQ(ends[i].exit_code(deadline), 0);

  std::uint64_t put = 0;
  std::uint64_t lost = 0;
  std::uint64_t again = 0;
  for (std::size_t s = 0; s < senders; ++s) {
    put += world->put[s];
    for (std::uint32_t n = 0; n < world->put[s]; ++n) {
      const std::uint8_t times = world.handled(s, n);
      lost += times == 0 ? 1 : 0;
      again += times > 1 ? times - 1U : 0U;
    }
  }
  std::cout << kills << " kills (" << receiver_kills << " of receivers), " << stops << " stops, " << put
            << " items: " << lost << " lost, " << world->torn << " torn, " << world->out_of_order
            << " out of order, " << world->offered_again << " offered again, " << again << " handled again\n";
  EXPECT_EQ(lost, 0U);
  EXPECT_EQ(world->torn, 0U);
  EXPECT_EQ(world->out_of_order, 0U);
  EXPECT_EQ(world->stuck, 0U);
  EXPECT_LE(world->offered_again, receiver_kills) << "a receiver has one item in hand";
  EXPECT_LE(again, kills) << "and a sender that dies right behind a put puts that one anew";
  EXPECT_GT(put, kills) << "they worked in between";
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_TRUE(queue.quarantine().empty());
}

}  // namespace
}  // namespace troupe
