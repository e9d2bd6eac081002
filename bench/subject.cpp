// SPDX-License-Identifier: MIT
#include "subject.hpp"

#include <csignal>
#include <stdexcept>

namespace troupe::bench {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 10s;

template <std::size_t size>
struct Block {
  std::array<std::uint8_t, size> bytes{};
  [[nodiscard]] static Block make(std::size_t /*payload_bytes*/) { return {}; }
};
struct Bytes {
  std::vector<std::uint8_t> bytes{};
  [[nodiscard]] static Bytes make(std::size_t payload_bytes) {
    return {std::vector<std::uint8_t>(payload_bytes)};
  }
};

template <class M>
struct Echo {
  using reply = M;
  M message{};
};
struct Done {
  using reply = bool;
};
struct MoveTo {
  using reply = bool;
  int core = any_core;
};

template <class M>
struct Sink {
  using accepts = messages<M, Echo<M>, Done, MoveTo>;
  int core = any_core;

  void start(Self& /*self*/) const { run_on(core); }
  void on(const M& /*message*/) {}
  M on(const Echo<M>& question) { return question.message; }
  bool on(const Done& /*question*/) { return true; }
  bool on(const MoveTo& question) {
    run_on(question.core);
    return true;
  }
};

/// An actor that finds itself on one core does not spin when it is idle. Across cores it is to behave like
/// one that has two, so it is moved there only after it has counted them, in its first sleep.
template <class M>
Ref<Sink<M>> spawn_at(Node& node, const std::string& name, Placement placement) {
  const int core = cores(placement).peer;
  auto sink = node.spawn<Sink<M>>(name, {}, placement == Placement::same_core ? core : any_core).value();
  if (placement == Placement::same_core) return sink;
  pause_for(5ms);
  if (!sink.ask(MoveTo{core}, patience)) throw std::runtime_error{"the actor did not move"};
  return sink;
}

template <class M>
double one_way(const Ref<Sink<M>>& sink, const M& message, std::size_t count, int core) {
  const Pinned here{core};
  if (!sink.ask(Done{}, patience)) throw std::runtime_error{"the actor does not answer"};
  const std::int64_t before = now_ns();
  for (std::size_t i = 0; i < count; ++i)
    if (sink.send(message) != Sent::queued) throw std::runtime_error{"a message was not queued"};
  if (!sink.ask(Done{}, patience)) throw std::runtime_error{"the actor does not answer"};
  return static_cast<double>(count) * 1e9 / static_cast<double>(now_ns() - before);
}

template <class M>
double round_trip(const Ref<Sink<M>>& sink, const M& message, std::size_t rounds,
                  std::chrono::nanoseconds pause, int core) {
  const Pinned here{core};
  const Echo<M> question{message};
  std::vector<double> times;
  times.reserve(rounds);
  for (std::size_t i = 0; i < rounds; ++i) {
    pause_for(pause);
    const std::int64_t before = now_ns();
    if (!sink.ask(question, patience)) throw std::runtime_error{"the actor does not answer"};
    times.push_back(static_cast<double>(now_ns() - before));
  }
  return median(std::move(times));
}

template <class M>
Link link_with(Node& node, std::size_t bytes, Placement placement) {
  const std::string name =
      std::to_string(bytes) + (placement == Placement::same_core ? " same core" : " across cores");
  const auto sink = spawn_at<M>(node, name, placement);
  const int core = cores(placement).program;
  return {[=, message = M::make(bytes)](std::size_t count) { return one_way(sink, message, count, core); },
          [=, message = M::make(bytes)](std::size_t rounds, std::chrono::nanoseconds pause) {
            return round_trip(sink, message, rounds, pause, core);
          }};
}

void stamp_first_line(const std::string& path) {
  const std::int64_t now = now_ns();
  Stamp::write(path, now);
}

}  // namespace

Link link(Node& node, std::size_t bytes, Placement placement) {
  switch (bytes) {
    case 8: return link_with<Block<8>>(node, bytes, placement);
    case 64: return link_with<Block<64>>(node, bytes, placement);
    case 512: return link_with<Block<512>>(node, bytes, placement);
    case 4096:
    case 65536: return link_with<Bytes>(node, bytes, placement);
    default: throw std::invalid_argument{"no message of that size"};
  }
}

double process_start(Stamp& stamp) {
  Process process{stamp_first_line, stamp.path()};
  const std::int64_t before = now_ns();
  process.start().value();
  const auto taken = static_cast<double>(stamp.take() - before);
  process.join().value();
  return taken;
}

void Victim::Worker::on(const Moment& moment) {
  const std::int64_t now = now_ns();
  Stamp::write(moment.path, now);
}

Victim::Victim(Node& node, Stamp& stamp)
    : node_{node}, stamp_{stamp}, worker_{node.spawn<Worker>("victim", {.restarts_max = unlimited}).value()} {
  worker_.send(Moment{stamp.path()});
  [[maybe_unused]] const auto handled = stamp_.take();
}

double Victim::restart() {
  pause_for(1ms);
  const std::int64_t before = now_ns();
  node_.signal("victim", SIGKILL).value();
  worker_.send(Moment{stamp_.path()});
  return static_cast<double>(stamp_.take() - before);
}

}  // namespace troupe::bench
