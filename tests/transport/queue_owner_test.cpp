// SPDX-License-Identifier: MIT
// The owner of a queue is killed by SIGKILL: docs/queue.md, "The end".

#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>
#include <troupe/transport/queue.hpp>
#include <troupe/transport/queue_file.hpp>
#include <troupe/transport/socket_channel.hpp>

#include "transport/attached_queue.hpp"
#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::attached;
using test::Forked;

constexpr auto patience = 20s;

/// Owns a queue, puts some items, gives its descriptors away, and is there until it is killed.
int own(const QueueOptions& options, int items, const SocketChannel& to) {
  Queue<int> queue{options};
  auto out = queue.sender();
  for (int i = 0; i < items; ++i) out.put(i).value();
  out = {};
  const auto descriptors = queue.descriptors().value();
  std::vector<int> numbers;
  for (const OwnedFd& fd : descriptors) numbers.push_back(fd.get());
  to.send(std::as_bytes(std::span{&items, 1}), numbers, deadline_in(patience)).value();
  return test::wait_to_be_killed();
}

struct OwnedQueue {
  Forked owner;
  std::vector<OwnedFd> descriptors;
};
OwnedQueue start_owner(const QueueOptions& options, int items) {
  const auto [here, there] = SocketChannel::create_pair().value();
  Forked owner{[&, &to = there] { return own(options, items, to); }};
  int word = 0;
  auto packet = here.receive(std::as_writable_bytes(std::span{&word, 1}), deadline_in(patience)).value();
  return {std::move(owner), std::move(packet.descriptors)};
}

template <class Condition>
bool comes_true(Condition condition) {
  for (const auto deadline = deadline_in(patience); Clock::now() < deadline; std::this_thread::yield())
    if (condition()) return true;
  return false;
}

/// Of a process with one thread: the kernel has taken it off its core until an event.
bool is_asleep(pid_t pid) {
  std::string stat;
  std::getline(std::ifstream{"/proc/" + std::to_string(pid) + "/stat"}, stat);
  const auto name_end = stat.rfind(") ");
  return name_end != std::string::npos && stat.at(name_end + 2) == 'S';
}

/// The words by which ends say that they are about to sleep.
class Words {
 public:
  explicit Words(const std::vector<OwnedFd>& descriptors) {
    std::vector<OwnedFd> copies;
    for (const OwnedFd& fd : descriptors) copies.push_back(detail::copied(fd.get(), "copy").value());
    file_ = detail::QueueFile::open(std::move(copies), "queue").value();
  }
  [[nodiscard]] bool receiver_sleeps(pid_t pid) const {
    return file_->page().announced.load() != 0 && is_asleep(pid);
  }
  [[nodiscard]] bool sender_sleeps(pid_t pid) const {
    for (std::size_t lane = 0; lane < file_->bounds().senders; ++lane)
      if (file_->lane(lane).waiting.load() % 2 != 0) return is_asleep(pid);
    return false;
  }

 private:
  std::shared_ptr<detail::QueueFile> file_;
};

class KilledQueueOwner : public test::NothingLeft {};

TEST_F(KilledQueueOwner, LeavesWhatWasPutAndThenTheEnd) {
  auto [owner, descriptors] = start_owner({}, 3);
  auto queue = attached<int>(descriptors);
  auto in = queue.receiver();
  owner.kill();
  for (int number = 0; number < 3; ++number) {
    auto item = in.get(patience).value();
    EXPECT_EQ(*item, number);
    item.acknowledge();
  }
  EXPECT_EQ(in.get(patience).error().kind, ErrorKind::closed);
  EXPECT_EQ(queue.try_sender().error().kind, ErrorKind::closed) << "nobody new may put";
}

TEST_F(KilledQueueOwner, EndsTheStreamForReceiversThatSleep) {
  auto [owner, descriptors] = start_owner({}, 0);
  const Words words{descriptors};
  Forked receiver{[&, &fds = descriptors] {
    auto in = attached<int>(fds).receiver();
    return in.get(Duration::max()).error().kind == ErrorKind::closed ? 0 : 1;
  }};
  ASSERT_TRUE(comes_true([&] { return words.receiver_sleeps(receiver.pid()); }));
  owner.kill();
  EXPECT_EQ(receiver.exit_code(deadline_in(patience)), 0);
}

TEST_F(KilledQueueOwner, IsNotTheEndWhileASenderIsThere) {
  auto [owner, descriptors] = start_owner({}, 0);
  auto queue = attached<int>(descriptors);
  auto out = queue.sender();
  auto in = queue.receiver();
  owner.kill();
  EXPECT_EQ(out.put(7, patience).value(), Placed::queued);
  in.get(patience).value().acknowledge();
  EXPECT_EQ(in.get(10ms).error().kind, ErrorKind::timed_out) << "the sender may still put";
  out = {};
  EXPECT_EQ(in.get(patience).error().kind, ErrorKind::closed);
}

/// An item is in hand, a sender sleeps for its room, and another receiver for the next item.
TEST_F(KilledQueueOwner, LeavesSleepersOfBothKindsToEachOther) {
  auto [owner, descriptors] = start_owner({.items_max = 1, .senders_max = 1}, 1);
  const Words words{descriptors};
  auto queue = attached<int>(descriptors);
  auto in = queue.receiver();
  auto in_hand = in.get(patience).value();
  Forked sender{
      [&, &fds = descriptors] { return attached<int>(fds).sender().put(7, Duration::max()) ? 0 : 1; }};
  Forked receiver{[&, &fds = descriptors] {
    auto own_end = attached<int>(fds).receiver();
    auto item = own_end.get(Duration::max()).value();
    if (*item != 7) return 1;
    item.acknowledge();
    return own_end.get(Duration::max()).error().kind == ErrorKind::closed ? 0 : 2;
  }};
  ASSERT_TRUE(
      comes_true([&] { return words.sender_sleeps(sender.pid()) && words.receiver_sleeps(receiver.pid()); }));
  owner.kill();
  in_hand.acknowledge();
  EXPECT_EQ(sender.exit_code(deadline_in(patience)), 0);
  EXPECT_EQ(receiver.exit_code(deadline_in(patience)), 0);
  EXPECT_EQ(queue.try_sender().error().kind, ErrorKind::closed);
}

}  // namespace
}  // namespace troupe
