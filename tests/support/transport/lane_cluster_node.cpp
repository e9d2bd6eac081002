// SPDX-License-Identifier: MIT
#include "lane_cluster_node.hpp"

#include <algorithm>
#include <memory>

#include "transport/lane_ends.hpp"

namespace troupe::test {
namespace {

constexpr int in_time = 0;
constexpr int too_late = 2;

class NodeProcess {
 public:
  explicit NodeProcess(const NodeSeed& seed) : seed_{seed}, world_{*seed.world}, in_(seed.in.size()) {
    if (!seed.in.empty())
      words_ = ReaderFile::create(seed.reader_file, seed.in.size() * slots_per_edge).value();
    for (std::size_t place = 0; place < seed.in.size(); ++place)
      for (const auto& lane : seed.in[place].lanes) add_lane(place, lane.spec, lane.file);
    if (seed.out) open_out(*seed.out);
    constexpr std::byte mapped{1};
    seed.control->send(std::span{&mapped, 1}, {}, seed.deadline).value();
    waiter_.watch(seed.control->descriptor()).value();
  }

  int run() {
    while (!world_.done) {
      if (step()) continue;
      announce();
      const auto woken = step() || world_.done ? BellWaiter::Woken::bell : waiter_.wait(seed_.deadline);
      retract();
      if (woken == BellWaiter::Woken::deadline) return too_late;
      if (woken == BellWaiter::Woken::watched) hear();
    }
    return in_time;
  }

 private:
  void open_out(const NodeSeed::Out& out) {
    writer_ = LaneWriter::create(out.file, out.spec).value();
    next_number_ = out.next_number;
    if (out.reader_file != -1) writer_->attach_reader(view_of(out.reader_file, out.slots), out.bell);
  }

  void add_lane(std::size_t place, const LaneSpec& spec, int file) {
    in_.at(place).push_back(
        LaneReader::create(file, spec, words_.slot(spec.slot), seed_.in[place].bell).value());
  }

  /// Something of all that can be done now; false if there is nothing.
  bool step() {
    bool moved = false;
    for (std::size_t place = 0; place < in_.size(); ++place) moved |= take_from(place);
    if (seed_.generates) moved |= generate();
    return moved;
  }

  bool take_from(std::size_t place) {
    auto& lanes = in_[place];
    if (lanes.empty()) return false;
    LaneReader& lane = lanes.front();
    if (lane.pending()) return take(lane, world_.seen[seed_.in[place].edge]);
    lane.settle();
    if (lanes.size() == 1) return false;
    lanes.pop_front();  // its sender is dead, so that it stays empty
    return true;
  }

  bool take(LaneReader& lane, Witness& witness) {
    const auto frame = lane.peek(buffer_).value();
    const auto number = frame.info.sequence;
    const bool passes_on = writer_ && !seed_.generates && number >= next_number_;
    if (passes_on && writer_->reserve(frame.payload.size()).value().empty()) return false;
    witness.see(number, lane.begin_attempt());
    const auto sent = payload_of(number);
    if (!std::equal(sent.begin(), sent.end(), frame.payload.begin(), frame.payload.end())) ++witness.torn;
    if (passes_on) publish(frame.payload, number);
    lane.acknowledge(frame);
    return true;
  }

  void publish(std::span<const std::byte> payload, std::uint64_t number) {
    if (!send(*writer_, payload, {.type = 1, .sequence = number}))
      throw Failure{{ErrorKind::full, 0, "the room is gone"}};
    next_number_ = number + 1;
  }

  bool generate() {
    constexpr int at_a_time = 8;
    int sent = 0;
    for (; sent < at_a_time && !world_.stop_sending && window_is_open(); ++sent) {
      const auto payload = payload_of(next_number_);
      if (!send(*writer_, payload, {.type = 1, .sequence = next_number_})) break;
      ++next_number_;
    }
    if (world_.stop_sending) world_.sent[seed_.out->edge] = next_number_ - 1;
    return sent > 0;
  }

  /// Only a node that receives what it sent knows how many are on their way.
  [[nodiscard]] bool window_is_open() const {
    return seed_.in.empty() || next_number_ - world_.seen[seed_.in.front().edge].last <= seed_.window;
  }

  void announce() {
    if (!in_.empty()) words_.announce_sleep();
    if (writer_) writer_->announce_wait();
  }
  void retract() {
    if (!in_.empty()) words_.end_sleep();
    if (writer_) writer_->end_wait();
  }

  void hear() {
    ClusterNews news;
    const auto packet =
        seed_.control->receive(std::as_writable_bytes(std::span{&news, 1}), seed_.deadline).value();
    const int file = packet.descriptors.at(0).get();
    switch (news.kind) {
      case ClusterNews::Kind::lane: return add_lane(news.edge, news.spec, file);
      case ClusterNews::Kind::reader:
        return writer_->attach_reader(view_of(file, seed_.out->slots), seed_.out->bell);
    }
  }

  const NodeSeed& seed_;
  ClusterWorld& world_;
  ReaderFile words_;
  std::vector<std::deque<LaneReader>> in_;
  std::optional<LaneWriter> writer_;
  std::uint64_t next_number_ = 1;
  BellWaiter waiter_ = BellWaiter::create(seed_.bell).value();
  std::vector<std::byte> buffer_;
};

}  // namespace

std::vector<std::byte> payload_of(std::uint64_t number) {
  return pattern(number, number % 5 == 0 ? number * 37 % 1500 : number * 7 % 100);
}

int run_node(const NodeSeed& seed) { return NodeProcess{seed}.run(); }

}  // namespace troupe::test
