// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <chrono>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/pipe.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/carriers.hpp"
#include "transport/fault_case.hpp"
#include "transport/lane_ends.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

constexpr Duration patience = 15s;
/// A pipe holds that many of them at the least.
constexpr std::size_t frame_bytes = 3'000;

TimePoint soon() { return deadline_in(patience); }

void pass(Channel& from, Channel& to, std::size_t bytes) {
  const auto sent = pattern(bytes, bytes);
  from.send(sent, {}, soon()).value();
  std::vector<std::byte> buffer;
  const auto frame = to.receive(buffer, soon()).value();
  require(std::equal(sent.begin(), sent.end(), frame.bytes.begin(), frame.bytes.end()), "another frame");
}

void pass_a_descriptor(Channel& from, Channel& to) {
  if (from.descriptors_max() == 0) return;
  const auto file = create_memory("test", 1).value();
  const int number = file.get();
  from.send({}, std::span{&number, 1}, soon()).value();
  std::vector<std::byte> buffer;
  require(to.receive(buffer, soon()).value().descriptors.size() == 1, "a descriptor is missing");
}

/// Everything that a channel does, between two ends in one process.
Result<void> use_both_ends(Carrier carrier) {
  auto [near, far] = create_channel({.carrier = carrier, .frame_bytes_max = frame_bytes}).value();
  far = channel_from(far->take_parts().value()).value();
  pass(*near, *far, 0);
  pass(*near, *far, frame_bytes);
  pass(*far, *near, 100);
  pass_a_descriptor(*near, *far);
  const std::array all{far->readable()};
  if (const auto early = select(all, Duration::zero()); early || early.error().kind != ErrorKind::timed_out)
    return early ? Result<void>{}
                 : tl::unexpected<Error>{early.error()};  // it may say so too early, by its contract
  near->send(pattern(1, 10), {}, soon()).value();
  select(all, patience).value();
  near->close();
  near.reset();
  std::vector<std::byte> buffer;
  far->receive(buffer, soon()).value();
  const auto end = far->receive(buffer, soon());
  require(!end, "a frame from nowhere");
  if (end.error().kind == ErrorKind::closed) return {};
  // Who closes reports nothing, so a word that the kernel did not take, or not show, is one that was not
  // heard.
  if (end.error().kind != ErrorKind::down) return tl::unexpected<Error>{end.error()};
  return failure(ErrorKind::exhausted, "the orderly end was not heard");
}

/// Sends to the test, which sees whole frames in order and then a death, wherever the sender dies.
class SendsFrames : public FaultCase {
 public:
  explicit SendsFrames(Carrier carrier) {
    auto [near, far] = create_channel({.carrier = carrier}).value();
    peer_ = std::move(near);
    parts_ = far->take_parts().value();
  }
  [[nodiscard]] Result<void> run() override {
    if (!own_) own_ = channel_from(std::move(parts_)).value();
    for (std::uint64_t number = 0; number < frames; ++number)
      own_->send(pattern(number, number * 700), {}, soon()).value();
    return {};
  }
  [[nodiscard]] std::string after_death() override {
    parts_ = {};
    std::vector<std::byte> buffer;
    for (std::uint64_t number = 0;; ++number) {
      const auto frame = peer_->receive(buffer, soon());
      if (!frame) return frame.error().kind == ErrorKind::down ? "" : "its peer: " + frame.error().text;
      const auto sent = pattern(number % frames, number % frames * 700);
      if (!std::equal(sent.begin(), sent.end(), frame->bytes.begin(), frame->bytes.end()))
        return "a torn frame";
    }
  }

 private:
  static constexpr std::uint64_t frames = 3;
  std::unique_ptr<Channel> peer_;
  ChannelParts parts_;
  std::unique_ptr<Channel> own_;
};

Result<void> use_a_typed_pipe() {
  auto [near, far] = Pipe<int, std::string>::create({.carrier = Carrier::packet}).value();
  near.send(7).value();
  require(far.receive(patience).value() == 7, "another number");
  far.send("seven").value();
  require(near.receive(patience).value() == "seven", "another text");
  return {};
}

/// An end that arrives in a message, while what was sent from the other already waits for it.
Result<void> pass_an_end() {
  using Travelling = Pipe<std::string, int>;
  for (const auto carrier : carriers) {
    auto [near, far] = Pipe<int, std::string>::create({.carrier = carrier, .frame_bytes_max = 1000}).value();
    near.send(7, patience).value();
    auto [sends, receives] = Pipe<Travelling, void>::create({.carrier = Carrier::packet}).value();
    sends.send(far, patience).value();
    far = {};
    auto arrived = receives.receive(patience).value();
    require(arrived.receive(patience).value() == 7, "another number");
    arrived.send("seven", patience).value();
    require(near.receive(patience).value() == "seven", "another text");
  }
  return {};
}

NamedCase both_ends(const char* name, Carrier carrier) {
  return simple_case(name, [carrier] { return use_both_ends(carrier); });
}

}  // namespace

std::vector<NamedCase> channel_fault_cases() {
  return {both_ends("LaneChannel", Carrier::shared_memory),
          both_ends("PipeChannel", Carrier::pipe),
          both_ends("StreamChannel", Carrier::stream),
          both_ends("PacketChannel", Carrier::packet),
          case_of<SendsFrames>("LaneChannelSender", Carrier::shared_memory),
          case_of<SendsFrames>("PipeChannelSender", Carrier::pipe),
          case_of<SendsFrames>("StreamChannelSender", Carrier::stream),
          case_of<SendsFrames>("PacketChannelSender", Carrier::packet),
          simple_case("TypedPipe", use_a_typed_pipe),
          simple_case("PassedPipeEnd", pass_an_end)};
}

}  // namespace troupe::test
