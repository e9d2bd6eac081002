// SPDX-License-Identifier: MIT
// A sender and a receiver that are killed again and again, whatever they are doing, and started anew.
//
// The test itself keeps the files and carries the news: a new sender has a new lane, a new receiver has a new
// C-file. Nothing survives a death but what lies in those files. `TROUPE_LANE_KILLS`: how many deaths.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <optional>
#include <random>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/lane.hpp>
#include <troupe/transport/socket_channel.hpp>

#include "transport/forked.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Forked;
using test::pattern;

constexpr std::size_t slots = 4;
constexpr std::size_t undrained_max = 2;
constexpr std::uint64_t messages_min = 100'000;

std::size_t wanted_kills() {
  const char* const text = std::getenv("TROUPE_LANE_KILLS");
  return text == nullptr ? 300 : std::strtoull(text, nullptr, 10);
}

/// What the world outside has seen: a handler's effects, which no death undoes.
struct World {
  std::atomic<std::uint64_t> last{0};  ///< number of the last message whose handler had its effect
  std::atomic<std::uint64_t> repeated{0};
  std::atomic<std::uint64_t> unmarked{0};  ///< repeated without an attempt count that says so
  std::atomic<std::uint64_t> skipped{0};
  std::atomic<std::uint64_t> reordered{0};
  std::atomic<std::uint64_t> torn{0};
  std::atomic<bool> stop_sending{false};
  std::atomic<std::uint64_t> sent{0};  ///< how many there are in all; 0 while that is open
};

std::vector<std::byte> payload_of(std::uint64_t number) {
  return pattern(number, number % 5 == 0 ? number * 37 % 1500 : number * 7 % 100);
}

constexpr std::byte mapped_my_file{1};

/// What an end is born with: its control channel's far end is the keeper's.
struct Ends {
  World& world;
  int reader_bell;
  int credit_bell;
};

// --- the sender

int run_sender(const Ends& ends, const SocketChannel& control, int file, const LaneSpec& spec,
               std::uint64_t number, TimePoint deadline) {
  auto writer = LaneWriter::create(file, spec).value();
  control.send(std::span{&mapped_my_file, 1}, {}, deadline).value();
  auto bell = BellWaiter::create(ends.credit_bell).value();
  bell.watch(control.descriptor()).value();
  for (; !ends.world.stop_sending; ++number) {
    const auto payload = payload_of(number);
    while (!test::send(writer, payload, {.type = 1, .sequence = number})) {
      writer.announce_wait();
      const bool full = writer.reserve(payload.size()).value().empty();
      const auto woken = full ? bell.wait(deadline) : BellWaiter::Woken::bell;
      writer.end_wait();
      if (woken == BellWaiter::Woken::deadline) return 2;
      if (woken == BellWaiter::Woken::watched) {
        std::byte news{};
        const auto packet = control.receive(std::span{&news, 1}, deadline).value();
        writer.attach_reader(test::view_of(packet.descriptors.at(0).get(), slots), ends.reader_bell);
      }
    }
  }
  ends.world.sent = number - 1;
  return 0;
}

// --- the receiver

/// The effect comes first and the long part last, so that deaths in between are frequent: they repeat a
/// message.
void handle(World& world, const Frame& frame, std::uint32_t attempt) {
  const auto number = frame.info.sequence;
  const auto last = world.last.load();
  if (number == last) {
    ++world.repeated;
    if (attempt < 2) ++world.unmarked;
  } else if (number < last) {
    ++world.reordered;
  } else if (number > last + 1) {
    ++world.skipped;
  }
  world.last = number;
  const auto expected = payload_of(number);
  if (!std::equal(expected.begin(), expected.end(), frame.payload.begin(), frame.payload.end())) ++world.torn;
}

int run_receiver(const Ends& ends, const SocketChannel& control, int file, TimePoint deadline) {
  auto words = ReaderFile::create(file, slots).value();
  control.send(std::span{&mapped_my_file, 1}, {}, deadline).value();
  auto bell = BellWaiter::create(ends.reader_bell).value();
  bell.watch(control.descriptor()).value();
  std::deque<LaneReader> lanes;
  std::vector<std::byte> buffer;
  const auto finished = [&] { return ends.world.sent != 0 && ends.world.last == ends.world.sent; };
  while (!finished()) {
    if (!lanes.empty() && lanes.front().pending()) {
      auto& lane = lanes.front();
      const auto frame = lane.peek(buffer).value();
      handle(ends.world, frame, lane.begin_attempt());
      lane.acknowledge(frame);
      continue;
    }
    if (lanes.size() > 1) {  // the sender of the oldest is dead, so that it stays empty
      lanes.pop_front();
      continue;
    }
    if (!lanes.empty()) lanes.front().settle();
    words.announce_sleep();
    const bool idle = (lanes.empty() || !lanes.front().pending()) && !finished();
    const auto woken = idle ? bell.wait(deadline) : BellWaiter::Woken::bell;
    words.end_sleep();
    if (woken == BellWaiter::Woken::deadline) return 2;
    if (woken == BellWaiter::Woken::watched) {
      LaneSpec spec;
      const auto packet = control.receive(std::as_writable_bytes(std::span{&spec, 1}), deadline).value();
      lanes.push_back(
          LaneReader::create(packet.descriptors.at(0).get(), spec, words.slot(spec.slot), ends.credit_bell)
              .value());
    }
  }
  return 0;
}

// --- who keeps the files

class Keeper {
 public:
  explicit Keeper(TimePoint deadline) : deadline_{deadline} {
    void* const at =
        ::mmap(nullptr, sizeof(World), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw Failure{{ErrorKind::system, errno, "mmap"}};
    world_ = new (at) World{};
    start_receiver();
    start_sender();
  }
  Keeper(const Keeper&) = delete;
  ~Keeper() { ::munmap(world_, sizeof(World)); }

  [[nodiscard]] World& world() const { return *world_; }
  [[nodiscard]] bool late() const { return Clock::now() >= deadline_; }

  /// Carries news until `until`, or until somebody has ended by himself.
  void serve(TimePoint until) {
    while (!late() && until > Clock::now()) {
      if (!sender_ && !stopping()) start_sender();
      if (waiter_.wait(std::min(until, deadline_)) != BellWaiter::Woken::watched) continue;
      hear_sender();
      hear_receiver();
      if (sender_ && stopping() && world_->sent != 0) return;
    }
  }

  void kill_sender() {
    if (!sender_) return;
    sender_->kill();
    hear_sender();  // what it had said before counts
    sender_.reset();
    if (!announced_) lanes_.pop_back();  // it never had a lane that anybody saw
    ring(reader_bell_.get());
  }

  void kill_receiver() {
    receiver_->kill();
    hear_receiver();
    ring(credit_bell_.get());
    start_receiver();
  }

  [[nodiscard]] bool sender_runs() const { return sender_.has_value(); }

  /// Lets both come to an end. True if both say that they are done.
  bool finish() {
    world_->stop_sending = true;
    // A sender that died just now may not have said how many there are: one more incarnation does.
    if (!sender_) start_sender(Urgent::yes);
    ring(credit_bell_.get());
    while (!late() && world_->sent == 0) serve(deadline_in(10ms));
    const bool sent = sender_ && sender_->exit_code(deadline_) == 0;
    ring(reader_bell_.get());
    return sent && receiver_->exit_code(deadline_) == 0;
  }

 private:
  struct KeptLane {
    LaneSpec spec;
    OwnedFd file;
  };
  enum class Urgent { no, yes };

  [[nodiscard]] bool stopping() const { return world_->stop_sending; }
  [[nodiscard]] std::uint64_t head_of(const LaneSpec& spec) const {
    return test::view_of(reader_file_.get(), slots, ReaderView::Seals::not_yet)->slot(spec.slot).head.load();
  }

  void start_sender(Urgent urgent = Urgent::no) {
    drop_drained();
    while (urgent == Urgent::yes && lanes_.size() > undrained_max && !late()) {
      hear_receiver();
      drop_drained();
    }
    if (lanes_.size() > undrained_max) return;
    const auto number = next_number();
    LaneSpec spec{.id = ++last_id_, .slot = free_slot()};
    spec.base = head_of(spec);
    lanes_.push_back({spec, test::new_writer_file(spec)});
    announced_ = false;
    auto [ours, theirs] = SocketChannel::create_pair().value();
    sender_control_ = std::move(ours);
    if (receiver_known_) tell_sender();
    const int file = lanes_.back().file.get();
    sender_.emplace(
        [&, control = &theirs] { return run_sender(ends(), *control, file, spec, number, deadline_); });
    waiter_.watch(sender_control_.descriptor()).value();
  }

  void start_receiver() {
    reader_file_ =
        reader_file_ ? test::next_reader_file(reader_file_.get(), slots) : test::new_reader_file(slots);
    receiver_known_ = false;
    auto [ours, theirs] = SocketChannel::create_pair().value();
    receiver_control_ = std::move(ours);
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      if (i + 1 < lanes_.size() || announced_) tell_receiver(lanes_[i]);
    }
    receiver_.emplace(
        [&, control = &theirs] { return run_receiver(ends(), *control, reader_file_.get(), deadline_); });
    waiter_.watch(receiver_control_.descriptor()).value();
  }

  /// A lane whose sender is dead and whose frames are all acknowledged is done. The newest may still be in
  /// use.
  void drop_drained() {
    while (!lanes_.empty() && tail_of(lanes_.front()) == head_of(lanes_.front().spec)) lanes_.pop_front();
  }

  /// The next slot whose last lane is drained; fewer are undrained than there are slots.
  std::uint32_t free_slot() {
    const auto taken = [&](const KeptLane& lane) { return lane.spec.slot == next_slot_; };
    do next_slot_ = (next_slot_ + 1) % slots;
    while (std::any_of(lanes_.begin(), lanes_.end(), taken));
    return next_slot_;
  }

  /// The number after the last one that was published, as the files of the dead say it.
  [[nodiscard]] std::uint64_t next_number() const {
    for (auto lane = lanes_.rbegin(); lane != lanes_.rend(); ++lane) {
      lane::ReaderSlot place{};
      place.head = head_of(lane->spec);
      auto walker = LaneReader::create(lane->file.get(), lane->spec, place, -1).value();
      std::uint64_t number = 0;
      std::vector<std::byte> buffer;
      while (walker.pending()) {
        const auto frame = walker.peek(buffer).value();
        number = frame.info.sequence;
        walker.acknowledge(frame);
      }
      if (number != 0) return number + 1;
    }
    return world_->last + 1;
  }

  static std::uint64_t tail_of(const KeptLane& lane) {
    std::uint64_t tail = 0;
    if (::pread(lane.file.get(), &tail, sizeof tail, offsetof(lane::WriterPage, tail)) != sizeof tail)
      throw Failure{{ErrorKind::system, errno, "pread"}};
    return tail;
  }

  void hear_sender() {
    std::byte news{};
    while (sender_control_ && sender_control_.receive(std::span{&news, 1}, TimePoint{})) {
      announced_ = true;
      tell_receiver(lanes_.back());
    }
  }

  void hear_receiver() {
    std::byte news{};
    while (receiver_control_.receive(std::span{&news, 1}, TimePoint{})) {
      receiver_known_ = true;
      if (sender_) tell_sender();
    }
  }

  /// To a dead one it does not come through; his successor is told everything.
  void tell_sender() const {
    const int file = reader_file_.get();
    static_cast<void>(sender_control_.send(std::span{&mapped_my_file, 1}, std::span{&file, 1}, deadline_));
  }
  void tell_receiver(const KeptLane& lane) const {
    const int file = lane.file.get();
    static_cast<void>(
        receiver_control_.send(std::as_bytes(std::span{&lane.spec, 1}), std::span{&file, 1}, deadline_));
  }

  [[nodiscard]] Ends ends() const { return {*world_, reader_bell_.get(), credit_bell_.get()}; }

  TimePoint deadline_;
  World* world_ = nullptr;
  OwnedFd reader_bell_ = create_bell().value();
  OwnedFd credit_bell_ = create_bell().value();
  OwnedFd own_bell_ = create_bell().value();
  BellWaiter waiter_ = BellWaiter::create(own_bell_.get()).value();
  std::deque<KeptLane> lanes_;  ///< oldest first; those that are not drained
  std::uint64_t last_id_ = 0;
  std::uint32_t next_slot_ = 0;
  bool announced_ = false;  ///< the newest lane's sender has mapped it
  bool receiver_known_ = false;
  OwnedFd reader_file_;
  SocketChannel sender_control_;
  SocketChannel receiver_control_;
  std::optional<Forked> sender_;
  std::optional<Forked> receiver_;
};

class LaneKill : public test::NothingLeft {};

TEST_F(LaneKill, LosesTearsAndReordersNothingAndRepeatsAtMostOneMessageADeath) {
  const auto kills = wanted_kills();
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random{seed};
  Keeper keeper{deadline_in(60s + std::chrono::milliseconds{20 * kills})};

  std::size_t receivers = 0;
  std::size_t senders = 0;
  while (!keeper.late() && (receivers + senders < kills || keeper.world().last < messages_min)) {
    keeper.serve(deadline_in(std::chrono::microseconds{random() % 3000}));
    if (receivers + senders >= kills) continue;
    if (random() % 2 == 0) {
      keeper.kill_receiver();
      ++receivers;
    } else if (keeper.sender_runs()) {
      keeper.kill_sender();
      ++senders;
    }
  }
  ASSERT_FALSE(keeper.late()) << "stuck at message " << keeper.world().last << " after "
                              << receivers + senders << " kills";
  EXPECT_TRUE(keeper.finish()) << "one of them did not come to its end, at message " << keeper.world().last
                               << " of " << keeper.world().sent;

  const auto& world = keeper.world();
  const std::uint64_t lost = world.sent - world.last + world.skipped;
  std::cout << "lane: " << senders << " senders and " << receivers << " receivers killed, " << world.last
            << " messages: " << lost << " lost, " << world.torn << " torn, " << world.reordered
            << " out of order, " << world.repeated << " repeated\n";
  EXPECT_GE(world.last, messages_min);
  EXPECT_EQ(world.last, world.sent);
  EXPECT_EQ(world.skipped, 0U);
  EXPECT_EQ(world.torn, 0U);
  EXPECT_EQ(world.reordered, 0U);
  EXPECT_EQ(world.unmarked, 0U) << "a message came again as if for the first time";
  EXPECT_LE(world.repeated, receivers);
}

}  // namespace
}  // namespace troupe
