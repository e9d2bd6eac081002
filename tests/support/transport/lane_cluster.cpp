// SPDX-License-Identifier: MIT
#include "lane_cluster.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/lane_cluster_node.hpp"
#include "transport/lane_ends.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t undrained_max = 2;

std::uint64_t tail_of(int file) {
  std::uint64_t tail = 0;
  if (::pread(file, &tail, sizeof tail, offsetof(lane::WriterPage, tail)) != sizeof tail)
    throw Failure{detail::system_error("pread", errno)};
  return tail;
}

/// Number of the last frame between `head` and the tail; 0 if there is none.
std::uint64_t last_number_in(int file, const LaneSpec& spec, std::uint64_t head) {
  lane::ReaderSlot place{};
  place.head = head;
  auto walker = LaneReader::create(file, spec, place, -1).value();
  std::uint64_t number = 0;
  for (const auto& frame : receive_all(walker)) number = frame.info.sequence;
  return number;
}

}  // namespace

Topology Topology::pair() { return {"pair", 2, {{0, 1}}}; }

Topology Topology::fan_in(std::size_t senders) {
  Topology made{"fan-in", senders + 1};
  for (std::size_t sender = 1; sender <= senders; ++sender) made.edges.push_back({sender, 0});
  return made;
}

Topology Topology::chain(std::size_t nodes) {
  Topology made{"chain", nodes};
  for (std::size_t node = 1; node < nodes; ++node) made.edges.push_back({node - 1, node});
  return made;
}

Topology Topology::ring(std::size_t nodes) {
  auto made = chain(nodes);
  made.name = "ring";
  made.edges.push_back({nodes - 1, 0});
  made.window = 4;
  return made;
}

LaneCluster::LaneCluster(const Topology& topology, TimePoint deadline)
    : topology_{topology}, deadline_{deadline}, nodes_(topology.nodes) {
  for (auto& node : nodes_) node.bell = create_bell().value();
  for (const auto& ends : topology.edges) {
    const auto edge = edges_.size();
    edges_.push_back({ends, nodes_[ends.to].in.size()});
    nodes_[ends.to].in.push_back(edge);
    nodes_[ends.from].out = edge;
  }
  start_all();
}

void LaneCluster::start_all() {
  for (std::size_t node = 0; node < nodes_.size(); ++node)
    if (!nodes_[node].process) static_cast<void>(start(node));
}

/// False while too many of its predecessors' lanes are not drained.
bool LaneCluster::start(std::size_t index) {
  Node& node = nodes_[index];
  NodeSeed seed{
      .world = &*world_, .window = topology_.window, .bell = node.bell.get(), .deadline = deadline_};
  if (node.out) {
    Edge& edge = edges_[*node.out];
    drop_drained(edge);
    if (edge.lanes.size() > undrained_max) return false;
    const auto next = next_number(*node.out);
    make_lane(edge);
    const Node& reader = nodes_[edge.ends.to];
    seed.out = NodeSeed::Out{.edge = *node.out,
                             .bell = reader.bell.get(),
                             .slots = slots_of(reader),
                             .spec = edge.lanes.back().spec,
                             .file = edge.lanes.back().file.get(),
                             .reader_file = reader.reader_known ? reader.reader_file.get() : -1,
                             .next_number = next};
    seed.generates = node.in.empty() || index == 0;  // a ring begins and ends at the first
  }
  if (!node.in.empty()) {
    node.reader_file = node.reader_file ? next_reader_file(node.reader_file.get(), slots_of(node))
                                        : new_reader_file(slots_of(node));
    node.reader_known = false;
    seed.reader_file = node.reader_file.get();
  }
  for (const auto in : node.in) {
    const Edge& edge = edges_[in];
    NodeSeed::In end{.edge = in, .bell = nodes_[edge.ends.from].bell.get()};
    for (std::size_t i = 0; i < edge.lanes.size(); ++i)
      if (i + 1 < edge.lanes.size() || edge.announced)
        end.lanes.push_back({edge.lanes[i].spec, edge.lanes[i].file.get()});
    seed.in.push_back(std::move(end));
  }
  auto [ours, theirs] = SocketChannel::create_pair().value();
  node.control = std::move(ours);
  seed.control = &theirs;
  node.process.emplace([&seed] { return run_node(seed); });
  return true;
}

void LaneCluster::make_lane(Edge& edge) {
  const auto taken = [&edge](const KeptLane& lane) {
    return lane.spec.slot == edge.place * slots_per_edge + edge.next_slot;
  };
  do edge.next_slot = (edge.next_slot + 1) % slots_per_edge;
  while (std::any_of(edge.lanes.begin(), edge.lanes.end(), taken));
  LaneSpec spec{.id = ++edge.last_id,
                .slot = static_cast<std::uint32_t>(edge.place * slots_per_edge + edge.next_slot)};
  spec.base = head_of(edge, spec);
  edge.lanes.push_back({spec, new_writer_file(spec)});
  edge.announced = false;
}

void LaneCluster::serve(TimePoint until) {
  std::vector<pollfd> polled;
  do {
    start_all();
    polled.clear();
    for (const Node& node : nodes_)
      polled.push_back({node.process ? node.control.descriptor() : -1, POLLIN, 0});
    const auto left = std::max(std::min(until, deadline_) - Clock::now(), Duration::zero());
    const timespec time{static_cast<time_t>(left / 1s), static_cast<long>((left % 1s).count())};
    if (::ppoll(polled.data(), polled.size(), &time, nullptr) <= 0) continue;
    for (std::size_t node = 0; node < nodes_.size(); ++node) {
      if (polled[node].revents == 0) continue;
      if ((polled[node].revents & POLLIN) == 0)
        throw Failure{{ErrorKind::down, 0, "node " + std::to_string(node) + " has ended by itself"}};
      hear(node);
    }
  } while (!late() && Clock::now() < until);
}

void LaneCluster::kill(std::size_t index) {
  Node& node = nodes_[index];
  node.process->kill();
  hear(index);  // what it had said before counts
  node.process.reset();
  node.reader_known = false;
  if (node.out && !edges_[*node.out].announced) edges_[*node.out].lanes.pop_back();  // nobody ever saw it
  if (node.out) edges_[*node.out].announced = true;
  knock(node);
  static_cast<void>(start(index));
}

void LaneCluster::knock(const Node& node) const {
  if (node.out) ring(nodes_[edges_[*node.out].ends.to].bell.get());
  for (const auto in : node.in) ring(nodes_[edges_[in].ends.from].bell.get());
}

void LaneCluster::hear(std::size_t index) {
  Node& node = nodes_[index];
  std::byte mapped{};
  while (node.control.receive(std::span{&mapped, 1}, TimePoint{})) {
    if (node.out) {
      Edge& edge = edges_[*node.out];
      edge.announced = true;
      tell_reader(edge, edge.lanes.back());
    }
    node.reader_known = !node.in.empty();
    for (const auto in : node.in) tell_writer(edges_[in]);
  }
}

/// To a dead one it does not come through; its successor is told everything.
void LaneCluster::tell_reader(const Edge& edge, const KeptLane& lane) const {
  const ClusterNews news{ClusterNews::Kind::lane, static_cast<std::uint32_t>(edge.place), lane.spec};
  const int file = lane.file.get();
  const Node& reader = nodes_[edge.ends.to];
  if (reader.process)
    static_cast<void>(
        reader.control.send(std::as_bytes(std::span{&news, 1}), std::span{&file, 1}, deadline_));
}

void LaneCluster::tell_writer(const Edge& edge) const {
  const ClusterNews news{.kind = ClusterNews::Kind::reader};
  const int file = nodes_[edge.ends.to].reader_file.get();
  const Node& writer = nodes_[edge.ends.from];
  if (writer.process)
    static_cast<void>(
        writer.control.send(std::as_bytes(std::span{&news, 1}), std::span{&file, 1}, deadline_));
}

/// A lane whose sender is dead and whose frames are all acknowledged is done.
void LaneCluster::drop_drained(Edge& edge) const {
  auto& lanes = edge.lanes;
  while (!lanes.empty() && tail_of(lanes.front().file.get()) == head_of(edge, lanes.front().spec))
    lanes.pop_front();
}

/// The number after the last one that was published, as the files of the dead say it. Where they are drained,
/// all of it has been seen.
std::uint64_t LaneCluster::next_number(std::size_t index) const {
  const Edge& edge = edges_[index];
  for (auto lane = edge.lanes.rbegin(); lane != edge.lanes.rend(); ++lane) {
    const auto number = last_number_in(lane->file.get(), lane->spec, head_of(edge, lane->spec));
    if (number != 0) return number + 1;
  }
  return world_->seen[index].last + 1;
}

std::uint64_t LaneCluster::head_of(const Edge& edge, const LaneSpec& spec) const {
  const Node& reader = nodes_[edge.ends.to];
  std::uint64_t head = 0;
  const auto at = lane::page_bytes + spec.slot * sizeof(lane::ReaderSlot) + offsetof(lane::ReaderSlot, head);
  if (reader.reader_file &&
      ::pread(reader.reader_file.get(), &head, sizeof head, static_cast<off_t>(at)) != sizeof head)
    throw Failure{detail::system_error("pread", errno)};
  return head;
}

std::size_t LaneCluster::slots_of(const Node& node) const { return node.in.size() * slots_per_edge; }

bool LaneCluster::all_arrived() const {
  return std::all_of(nodes_.begin(), nodes_.end(), [this](const Node& node) {
    if (!node.out) return true;
    // What a node passes on is as much as the one before it sends, back to where it began.
    std::size_t begin = *node.out;
    while (!nodes_[edges_[begin].ends.from].in.empty() && edges_[begin].ends.from != 0)
      begin = nodes_[edges_[begin].ends.from].in.front();
    return world_->sent[begin] != 0 && world_->seen[*node.out].last == world_->sent[begin];
  });
}

bool LaneCluster::finish() {
  world_->stop_sending = true;
  while (!late() && !all_arrived()) {
    for (const Node& node : nodes_) ring(node.bell.get());
    serve(deadline_in(5ms));
  }
  if (!all_arrived()) return false;
  world_->done = true;
  for (const Node& node : nodes_) ring(node.bell.get());
  return std::all_of(nodes_.begin(), nodes_.end(),
                     [this](Node& node) { return !node.process || node.process->exit_code(deadline_) == 0; });
}

}  // namespace troupe::test
