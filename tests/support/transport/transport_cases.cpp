// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <troupe/transport/kept_file.hpp>
#include <troupe/transport/liveness.hpp>
#include <troupe/transport/select.hpp>
#include <troupe/transport/socket_channel.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/fault_case.hpp"
#include "transport/lane_ends.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

constexpr Duration patience = 15s;

Result<void> make_and_map_memory() {
  constexpr std::size_t bytes = 3 * lane::page_bytes;
  const auto file = create_memory("test", bytes).value();
  const auto writer = MemoryMap::create(file.get(), bytes, Access::read_write).value();
  seal_against_writers(file.get()).value();
  check_sealed(file.get(), bytes).value();
  const auto reader =
      MemoryMap::create_ring(file.get(), lane::page_bytes, 2 * lane::page_bytes, Access::read).value();
  writer.data()[lane::page_bytes] = std::byte{7};
  require(reader.data()[bytes] == std::byte{7}, "the ring is not mapped twice");
  return {};
}

/// Both ends of a lane, a reader's death, and a second epoch of it.
Result<void> use_a_lane() {
  Lane lane;
  lane.words.announce_sleep();
  require(send(lane.writer, pattern(1, 100), {.type = 1, .sequence = 1}), "no room in a new lane");
  if (!was_rung(lane.reader_bell.get())) return failure(ErrorKind::exhausted, "a ring was lost");
  lane.restart_reader();
  lane.attach();
  require(receive_all(lane.reader).at(0).payload == pattern(1, 100), "another frame");
  const LaneSpec next{.id = 8, .base = lane.reader.head()};
  const auto file = new_writer_file(next);
  auto writer = LaneWriter::create(file.get(), next).value();
  auto reader = LaneReader::create(file.get(), next, lane.words.slot(0), lane.credit_bell.get()).value();
  writer.attach_reader(view_of(lane.reader_file.get(), Lane::slots), lane.reader_bell.get());
  require(send(writer, pattern(2, 1000), {.type = 1, .sequence = 2}), "no room in a new epoch");
  require(receive_all(reader).at(0).payload == pattern(2, 1000), "another frame in the new epoch");
  return {};
}

Result<void> wait_for_a_bell() {
  const auto bell = create_bell().value();
  const auto other = create_bell().value();
  auto waiter = BellWaiter::create(bell.get()).value();
  waiter.watch(other.get()).value();
  // A ring that the kernel refuses is one that is lost; whoever waits has a deadline for that.
  ring(bell.get());
  if (waiter.wait(deadline_in(10ms)) == BellWaiter::Woken::deadline)
    return failure(ErrorKind::exhausted, "a ring was lost");
  return {};
}

Result<void> pass_descriptors() {
  const auto [left, right] = SocketChannel::create_pair().value();
  const auto file = create_memory("test", 1).value();
  const auto bytes = pattern(1, 100);
  const std::array both{file.get(), file.get()};
  left.send(bytes, both, deadline_in(patience)).value();
  std::array<std::byte, 200> room{};
  const auto packet = right.receive(room, deadline_in(patience)).value();
  require(packet.bytes == bytes.size() && std::equal(bytes.begin(), bytes.end(), room.begin()),
          "other bytes");
  require(packet.descriptors.size() == 2, "not both descriptors");
  struct stat sent {};
  struct stat received {};
  if (::fstat(file.get(), &sent) == -1 || ::fstat(packet.descriptors[1].get(), &received) == -1)
    return detail::system_failure("fstat");
  require(sent.st_ino == received.st_ino, "another file");
  return {};
}

Result<void> keep_a_state() {
  constexpr std::size_t slot_bytes = 1000;
  const auto file = create_memory("test", KeptFile::file_bytes(slot_bytes)).value();
  auto kept = KeptFile::create(file.get(), slot_bytes).value();
  const auto state = pattern(1, slot_bytes);
  std::copy(state.begin(), state.end(), kept.next().begin());
  kept.commit(state.size());
  const auto again = KeptFile::create(file.get(), slot_bytes).value();
  require(std::equal(state.begin(), state.end(), again.committed().begin()), "another state");
  return {};
}

Result<void> wait_for_a_timer() {
  auto timer = Timer::create().value();
  auto later = Timer::create().value();
  timer.set(Clock::now()).value();
  later.set(never).value();
  const auto ready = select({later.waitable(), timer.waitable()}, patience).value();
  require(ready == std::vector<std::size_t>{1}, "the other timer");
  timer.stop();
  return {};
}

Result<void> watch_a_process() {
  const auto mark = own_mark().value();
  const auto watched = watch_process(mark);
  require(watched || watched.error().kind != ErrorKind::down, "a living process is said to be dead");
  return watched ? Result<void>{} : tl::unexpected<Error>{watched.error()};
}

/// Sends packets to the test, which sees whole ones and then the end, wherever the sender dies.
class SendsPackets : public FaultCase {
 public:
  [[nodiscard]] Result<void> run() override {
    for (std::uint64_t number = 0; number < packets; ++number)
      own_.send(pattern(number, bytes), {}, deadline_in(patience)).value();
    return {};
  }
  [[nodiscard]] std::string after_death() override {
    own_ = {};
    std::array<std::byte, bytes> room{};
    for (std::uint64_t number = 0;; ++number) {
      const auto packet = peer_.receive(room, deadline_in(patience));
      if (!packet) return packet.error().kind == ErrorKind::closed ? "" : "its peer: " + packet.error().text;
      const auto sent = pattern(number % packets, bytes);
      if (packet->bytes != bytes || !std::equal(sent.begin(), sent.end(), room.begin()))
        return "a torn packet";
    }
  }

 private:
  static constexpr std::uint64_t packets = 3;
  static constexpr std::size_t bytes = 500;
  SendsPackets(std::pair<SocketChannel, SocketChannel> both)
      : own_{std::move(both.first)}, peer_{std::move(both.second)} {}
  SocketChannel own_;
  SocketChannel peer_;

 public:
  SendsPackets() : SendsPackets{SocketChannel::create_pair().value()} {}
};

/// Makes a lane, gives it to the test and sends on it: what the test was given it can read.
class HandsOverALane : public FaultCase {
 public:
  HandsOverALane() : HandsOverALane{SocketChannel::create_pair().value()} {}
  [[nodiscard]] Result<void> run() override {
    const LaneSpec spec{.id = 7};
    const auto file = new_writer_file(spec);
    auto writer = LaneWriter::create(file.get(), spec).value();
    const int number = file.get();
    own_.send(std::as_bytes(std::span{&spec, 1}), std::span{&number, 1}, deadline_in(patience)).value();
    const auto bell = create_bell().value();
    const auto words_file = new_reader_file(slots);
    auto words = ReaderFile::create(words_file.get(), slots).value();
    words.announce_sleep();
    writer.attach_reader(view_of(words_file.get(), slots), bell.get());
    for (std::uint64_t i = 1; i <= frames; ++i)
      require(send(writer, pattern(i, i * 100), {.type = 1, .sequence = i}), "no room");
    return {};
  }
  [[nodiscard]] std::string after_death() override {
    own_ = {};
    LaneSpec spec;
    const auto file = new_reader_file(slots);
    for (;;) {
      const auto packet = peer_.receive(std::as_writable_bytes(std::span{&spec, 1}), deadline_in(patience));
      if (!packet) return packet.error().kind == ErrorKind::closed ? "" : "its peer: " + packet.error().text;
      lane::ReaderSlot slot{};
      auto reader = LaneReader::create(packet->descriptors.at(0).get(), spec, slot, -1);
      if (!reader) return reader.error().text;
      std::uint64_t number = 0;
      for (const auto& frame : receive_all(*reader))
        if (frame.info.sequence != ++number || frame.payload != pattern(number, number * 100))
          return "a torn frame";
    }
  }

 private:
  static constexpr std::size_t slots = 1;
  static constexpr std::uint64_t frames = 3;
  explicit HandsOverALane(std::pair<SocketChannel, SocketChannel> both)
      : own_{std::move(both.first)}, peer_{std::move(both.second)} {}
  SocketChannel own_;
  SocketChannel peer_;
};

}  // namespace

std::vector<NamedCase> transport_cases() {
  std::vector<NamedCase> all{
      simple_case("Memory", make_and_map_memory),  simple_case("Lane", use_a_lane),
      simple_case("Bell", wait_for_a_bell),        simple_case("Descriptors", pass_descriptors),
      simple_case("KeptState", keep_a_state),      simple_case("Timer", wait_for_a_timer),
      simple_case("Liveness", watch_a_process),    case_of<SendsPackets>("Packets"),
      case_of<HandsOverALane>("LaneOfADeadSender")};
  for (const auto cases : {channel_fault_cases, queue_fault_cases, blob_fault_cases})
    for (auto& one : cases()) all.push_back(std::move(one));
  return all;
}

}  // namespace troupe::test
