// SPDX-License-Identifier: MIT
#include "lane_subject.hpp"

#include <array>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/lane.hpp>

#include "spinning.hpp"

namespace troupe::bench::lanes {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 10s;
constexpr std::size_t capacity_largest = lane::capacity_max;

struct Block {
  std::array<std::uint8_t, 64> bytes{};
};

/// What whoever makes a reader holds: its C-file and its bell.
struct Home {
  explicit Home(std::size_t lanes)
      : slots{lanes},
        file{create_memory("bench-reader", lane::reader_file_bytes(lanes)).value()},
        bell{create_bell().value()} {
    const auto bytes = ReaderFile::initial(lanes);
    if (::pwrite(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      throw std::runtime_error{"write a reader's file"};
  }
  std::size_t slots;
  OwnedFd file;
  OwnedFd bell;
};

/// What whoever makes a lane holds: the P-file, and the bell of its sender.
struct Files {
  explicit Files(const LaneSpec& lane_spec)
      : spec{lane_spec},
        file{create_memory("bench-writer", lane::writer_file_bytes(spec.capacity)).value()},
        credit_bell{create_bell().value()} {}
  LaneSpec spec;
  OwnedFd file;
  OwnedFd credit_bell;
};

std::size_t capacity_for(std::size_t bytes) {
  std::size_t capacity = ring_bytes;
  while (capacity < capacity_largest && capacity / lane::frame_share < lane::frame_bytes(bytes))
    capacity *= 2;
  return capacity;
}

/// The sending end, in the process that sends.
class Sender {
 public:
  Sender(const Files& files, const Home& home)
      : writer_{LaneWriter::create(files.file.get(), files.spec).value()},
        waiter_{BellWaiter::create(files.credit_bell.get()).value()} {
    writer_.attach_reader(
        std::make_shared<const ReaderView>(
            ReaderView::create(home.file.get(), home.slots, ReaderView::Seals::not_yet).value()),
        home.bell.get());
  }

  void send(const Block& block) { publish(type_id<Block>, encode(block, room_awake(sizeof block)).value()); }
  void send(std::span<const std::byte> bytes) {
    std::memcpy(room_awake(bytes.size()).data(), bytes.data(), bytes.size());
    publish(0, bytes.size());
  }
  void send_or_sleep(const Block& block) {
    publish(type_id<Block>, encode(block, room_asleep(sizeof block)).value());
  }
  void send_or_sleep(std::span<const std::byte> bytes) {
    std::memcpy(room_asleep(bytes.size()).data(), bytes.data(), bytes.size());
    publish(0, bytes.size());
  }
  void wait_until_handled() const {
    while (!writer_.drained()) relax();
  }

 private:
  std::span<std::byte> room_awake(std::size_t bytes) {
    for (;; relax())
      if (const auto room = writer_.reserve(bytes).value(); !room.empty()) return room;
  }
  std::span<std::byte> room_asleep(std::size_t bytes) {
    for (;;) {
      if (const auto room = writer_.reserve(bytes).value(); !room.empty()) return room;
      writer_.announce_wait();
      if (const auto room = writer_.reserve(bytes).value(); !room.empty()) {
        writer_.end_wait();
        return room;
      }
      [[maybe_unused]] const auto woken = waiter_.wait(deadline_in(patience));
    }
  }
  void publish(std::uint64_t type, std::size_t bytes) { writer_.publish({type, ++sequence_}, bytes); }

  LaneWriter writer_;
  BellWaiter waiter_;
  std::uint64_t sequence_ = 0;
};

/// The receiving end, in the process that receives: of as many lanes as its home has slots.
class Receiver {
 public:
  Receiver(const Home& home, std::span<const std::unique_ptr<Files>> lanes)
      : words_{ReaderFile::create(home.file.get(), home.slots).value()},
        waiter_{BellWaiter::create(home.bell.get()).value()} {
    for (const auto& one : lanes)
      readers_.push_back(
          LaneReader::create(one->file.get(), one->spec, words_.slot(one->spec.slot), one->credit_bell.get())
              .value());
  }

  /// One message of the first lane; spins until it is there.
  Block receive_awake() {
    while (!spin_.until([&] { return readers_.front().pending(); })) {}
    return take(readers_.front());
  }
  Block receive_asleep() {
    while (!readers_.front().pending()) sleep();
    return take(readers_.front());
  }
  void receive_bytes() {
    LaneReader& reader = readers_.front();
    while (!spin_.until([&] { return reader.pending(); })) {}
    take_bytes(reader);
  }
  /// What the lanes hold, each in its turn; sleeps if that is nothing. Returns how many messages.
  template <class Message>
  std::size_t receive_all() {
    constexpr std::size_t burst = 32;
    std::size_t all = 0;
    for (LaneReader& reader : readers_) {
      std::size_t taken = 0;
      for (; taken < burst && reader.pending(); ++taken) {
        if constexpr (std::is_same_v<Message, Block>)
          take(reader);
        else
          take_bytes(reader);
      }
      if (taken != 0) reader.settle();
      all += taken;
    }
    if (all == 0) sleep();
    return all;
  }

 private:
  Block take(LaneReader& reader) {
    const auto frame = reader.peek(buffer_).value();
    reader.begin_attempt();
    const Block block = decode<Block>(frame.payload).value();
    keep(&block);
    reader.acknowledge(frame);
    return block;
  }
  void take_bytes(LaneReader& reader) {
    const auto frame = reader.peek(buffer_).value();
    reader.begin_attempt();
    keep(frame.payload.data());
    reader.acknowledge(frame);
  }
  void sleep() {
    words_.announce_sleep();
    bool pending = false;
    for (const LaneReader& reader : readers_) pending = pending || reader.pending();
    if (!pending) [[maybe_unused]]
      const auto woken = waiter_.wait(deadline_in(patience));
    words_.end_sleep();
  }

  ReaderFile words_;
  BellWaiter waiter_;
  detail::Spin spin_;
  std::vector<LaneReader> readers_{};
  std::vector<std::byte> buffer_{};
};

std::vector<std::unique_ptr<Files>> make_lanes(std::size_t count, std::size_t capacity) {
  std::vector<std::unique_ptr<Files>> lanes;
  for (std::size_t i = 0; i < count; ++i)
    lanes.push_back(std::make_unique<Files>(
        LaneSpec{.id = i + 1, .capacity = capacity, .slot = static_cast<std::uint32_t>(i)}));
  return lanes;
}

/// One lane from this process, and the child that reads it.
template <class Message, class Receive>
double measure_one_way(const Message& message, std::size_t capacity, std::size_t count, Receive receive) {
  count_cores();
  const Cores where = cores(Placement::across_cores);
  const Pinned here{where.program};
  const Home home{1};
  const auto lanes = make_lanes(1, capacity);
  Sender sender{*lanes.front(), home};
  const Peer peer{where.peer, [&] {
                    for (Receiver receiver{home, lanes};;) receive(receiver);
                  }};
  sender.send(message);
  sender.wait_until_handled();
  const std::int64_t before = now_ns();
  for (std::size_t i = 0; i < count; ++i) sender.send(message);
  sender.wait_until_handled();
  return per_second(count, before);
}

/// Many lanes from as many children to this process; whoever has to wait sleeps.
template <class Message>
double measure_fan_in(const Message& message, std::size_t capacity, std::size_t senders, std::size_t count,
                      Placement placement) {
  count_cores();
  const Cores where = cores(placement);
  const Pinned here{where.program};
  const Home home{senders};
  const auto lanes = make_lanes(senders, capacity);
  const std::size_t each = count / senders;
  const Gate gate;
  std::vector<std::unique_ptr<Peer>> peers;
  for (const auto& one : lanes)
    peers.push_back(std::make_unique<Peer>(where.peer, [&] {
      Sender sender{*one, home};
      gate.pass();
      for (std::size_t i = 0; i < each; ++i) sender.send_or_sleep(message);
    }));
  gate.wait_for(senders);
  Receiver receiver{home, lanes};
  const std::int64_t before = now_ns();
  gate.open(senders);
  for (std::size_t left = each * senders; left != 0;) left -= receiver.receive_all<Message>();
  return per_second(each * senders, before);
}

/// There and back; `receive` says how either end waits.
template <class Receive>
double measure_round_trip(std::size_t rounds, Placement placement, std::chrono::nanoseconds pause,
                          Receive receive) {
  count_cores();
  const Cores where = cores(placement);
  const Pinned here{where.program};
  const Home there_home{1};
  const Home back_home{1};
  const auto there = make_lanes(1, ring_bytes);
  const auto back = make_lanes(1, ring_bytes);
  const Peer peer{where.peer, [&] {
                    Sender answers{*back.front(), back_home};
                    for (Receiver questions{there_home, there};;) answers.send(receive(questions));
                  }};
  Sender questions{*there.front(), there_home};
  // The echo's end of the way back is made by the child: its file is not sealed before.
  std::optional<Receiver> answers;
  for (const auto until = deadline_in(patience); !answers;) {
    if (check_sealed(back.front()->file.get(), lane::writer_file_bytes(ring_bytes)))
      answers.emplace(back_home, back);
    else if (Clock::now() > until)
      throw std::runtime_error{"the echo does not come up"};
  }
  return median_round(rounds, pause, [&] {
    questions.send(Block{});
    receive(*answers);
  });
}

/// Voluntary and involuntary context switches of a process so far.
std::uint64_t switches_of(pid_t pid) {
  std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
  std::uint64_t sum = 0;
  for (std::string line; std::getline(status, line);)
    if (line.find("ctxt_switches:") != std::string::npos) sum += std::stoull(line.substr(line.find(':') + 1));
  return sum;
}

}  // namespace

double one_way(std::size_t count) {
  return measure_one_way(Block{}, ring_bytes, count, [](Receiver& receiver) { receiver.receive_awake(); });
}

double one_way(std::size_t bytes, std::size_t count) {
  const std::vector<std::byte> payload(bytes);
  return measure_one_way(std::span{payload}, capacity_for(bytes), count,
                         [](Receiver& receiver) { receiver.receive_bytes(); });
}

double round_trip_awake(std::size_t rounds) {
  return measure_round_trip(rounds, Placement::across_cores, {},
                            [](Receiver& receiver) { return receiver.receive_awake(); });
}

double round_trip_asleep(std::size_t rounds, Placement placement, std::chrono::nanoseconds pause) {
  return measure_round_trip(rounds, placement, pause,
                            [](Receiver& receiver) { return receiver.receive_asleep(); });
}

double fan_in(std::size_t senders, std::size_t count) {
  return measure_fan_in(Block{}, ring_bytes, senders, count, Placement::across_cores);
}

double one_way_on_one_core(std::size_t bytes, std::size_t count) {
  const std::vector<std::byte> payload(bytes);
  return measure_fan_in(std::span{payload}, capacity_largest, 1, count, Placement::same_core);
}

double wake_ups_idle() {
  const Home home{1};
  const auto lanes = make_lanes(1, ring_bytes);
  const Sender sender{*lanes.front(), home};
  const Peer peer{cores(Placement::across_cores).peer, [&] { Receiver{home, lanes}.receive_asleep(); }};
  const auto seen = ReaderView::create(home.file.get(), home.slots, ReaderView::Seals::not_yet).value();
  while (seen.page().asleep.load() % 2 == 0) ::sched_yield();
  std::this_thread::sleep_for(10ms);  // from announcing its sleep to sleeping
  const std::uint64_t before = switches_of(peer.pid());
  std::this_thread::sleep_for(1s);
  return static_cast<double>(switches_of(peer.pid()) - before);
}

}  // namespace troupe::bench::lanes
