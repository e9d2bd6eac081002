// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/queue.hpp>
#include <troupe/transport/syscall.hpp>
#include <troupe/zmq/channel.hpp>
#include <troupe/zmq/queue.hpp>
#include <vector>

#include "transport/answered_child.hpp"
#include "transport/fault_case.hpp"
#include "transport/lane_ends.hpp"
#include "transport/shared_value.hpp"

// Two processes at something over ZeroMQ: a child in which a system call fails, and a peer whose calls do not
// and which lives on. What it is that must hold of either is here; who lets what fail, in
// failing_calls_test.cpp.
namespace troupe::zmq {

// Of each of its calls. A write that has failed is repeated after a second; what libzmq swallows is waited
// out.
inline constexpr Duration child_patience = std::chrono::seconds{3};
// It has to see an end of some kind, so it waits long.
inline constexpr Duration peer_patience = std::chrono::seconds{20};
inline constexpr Duration hang = std::chrono::seconds{60};
inline constexpr std::uint64_t items = 6;

/// Something that one process tells another once.
class Gate {
 public:
  void open() const { ring(bell_.get()); }
  void wait() const {
    if (!troupe::detail::wait_readable(bell_.get(), deadline_in(hang)))
      throw Failure{{ErrorKind::timed_out, 0, "a gate"}};
  }

 private:
  OwnedFd bell_ = create_bell().value();
};

/// The number of a message is told by its length, and the rest of it by that.
inline std::vector<std::byte> message(std::uint64_t number) { return test::pattern(number, 100 * number); }
inline std::uint64_t number_of(const std::vector<std::byte>& bytes) {
  const std::uint64_t number = bytes.size() / 100;
  test::require(number > 0 && bytes == message(number), "a torn message");
  return number;
}

/// What the two processes and the test know of each other, in shared memory.
struct Known {
  std::array<char, 200> endpoint{};
  std::atomic<bool> joined{false};             ///< the child's end has been welcomed
  std::atomic<std::uint64_t> puts{0};          ///< of the child, returned ok
  std::atomic<std::uint64_t> acknowledged{0};  ///< by the child, a bit for each
  test::Outcome child{};
  test::Outcome peer{};
  std::array<char, 200> left{};  ///< the first thing that one of them left behind
};

/// Two processes at something: one whose calls fail, and its peer, whose do not.
class Pair {
 public:
  Pair() = default;
  Pair(const Pair&) = delete;
  virtual ~Pair() = default;

  /// In the child, counted; an Error is thrown as a Failure.
  virtual void work(test::CountedCalls& calls) = 0;
  /// In the peer: to its end, whatever becomes of the child. What it throws is wrong, Failures too.
  virtual void live_on() = 0;
  /// Comes in the child's place, if that has ended before it was anybody's peer. In a process of its own.
  virtual void come_instead() {}
  [[nodiscard]] virtual bool makes_the_place() const { return false; }

  Known& known() { return *known_; }
  /// The peer, or a child that makes the place, has told its endpoint; or will not any more.
  Gate found{};
  Gate child_ended{};
  Gate peer_ended{};

 protected:
  void tell(const std::string& endpoint) {
    endpoint.copy(known_->endpoint.data(), known_->endpoint.size() - 1);
    found.open();
  }
  [[nodiscard]] std::string endpoint() { return known_->endpoint.data(); }

 private:
  test::SharedValue<Known> known_;
};

// --- channels

template <Delivery delivery>
class ChannelPair final : public Pair {
  using End = ZmqChannel<delivery>;
  static constexpr std::uint64_t frames = 3;

  void work(test::CountedCalls& /*calls*/) override {
    auto end =
        End::connect(endpoint(), {.close_within = child_patience}, deadline_in(child_patience)).value();
    known().joined = true;
    std::vector<std::byte> buffer;
    for (std::uint64_t number = 1; number <= frames; ++number) {
      end->send(message(number), {}, deadline_in(child_patience)).value();
      static_cast<void>(end->receive(buffer, deadline_in(child_patience)).value());
      test::require(number_of(buffer) == number, "another frame");
    }
    end->close();
    const auto after = end->receive(buffer, deadline_in(child_patience));
    test::require(!after, "a frame after the last");
    if (after.error().kind != ErrorKind::closed) throw Failure{after.error()};
  }

  void live_on() override {
    auto end = End::listen("ipc://*").value();
    tell(end->endpoint());
    std::vector<std::byte> buffer;
    for (std::uint64_t last = 0;;) {
      const auto frame = end->receive(buffer, deadline_in(peer_patience));
      if (!frame) return require_end(frame.error());
      const auto number = number_of(buffer);
      test::require(number > last, "a frame twice");
      test::require(number == last + 1 || delivery == Delivery::at_most_once, "a frame is lost");
      last = number;
      if (const auto sent = end->send(buffer, {}, deadline_in(peer_patience)); !sent)
        return require_end(sent.error());
    }
  }
  static void require_end(const Error& error) {
    if (error.kind != ErrorKind::down && error.kind != ErrorKind::closed) throw Failure{error};
  }

  void come_instead() override {
    test::CountedCalls uncounted;
    work(uncounted);
  }
};

// --- queues

using Items = Queue<troupe::Bytes>;

inline Items found_queue(const std::string& endpoint, Duration within) {
  return Items::over(connect_queue(endpoint, {}, within).value());
}

/// The peer owns the queue.
class OwnedPair : public Pair {
 protected:
  Items make() {
    auto access = QueueServer::create("ipc://*").value();
    const auto endpoint = endpoint_of(*access);
    auto queue = Items::over(std::move(access));
    tell(endpoint);
    return queue;
  }
  /// All that is still in it, once the child has ended; a bit for each.
  static std::uint64_t take_the_rest(Items& queue) {
    std::uint64_t taken = 0;
    auto in = queue.receiver();
    queue.close();
    for (;;) {
      auto item = in.get(peer_patience);
      if (!item && item.error().kind == ErrorKind::closed) return taken;
      const auto bit = std::uint64_t{1} << number_of(*item.value());
      test::require((taken & bit) == 0, "an item twice");
      test::require(taken < bit, "items out of order");
      taken |= bit;
      item->acknowledge();
    }
  }
};

class ReceiverPair final : public OwnedPair {
  void work(test::CountedCalls& /*calls*/) override {
    auto in = found_queue(endpoint(), child_patience).try_receiver().value();
    known().joined = true;
    for (std::uint64_t number = 1; number <= items; ++number) {
      auto item = in.get(child_patience).value();
      test::require(number_of(*item) == number, "another item");
      item.acknowledge();
      known().acknowledged |= std::uint64_t{1} << number;
    }
  }
  void live_on() override {
    auto queue = make_filled();
    child_ended.wait();
    const auto rest = take_the_rest(queue);
    constexpr std::uint64_t all = (std::uint64_t{2} << items) - 2;
    test::require((rest | known().acknowledged) == all, "an item is lost");
    test::require(queue.quarantine().empty(), "an item in the quarantine");
  }
  Items make_filled() {
    auto queue = make();
    auto out = queue.sender();
    for (std::uint64_t number = 1; number <= items; ++number) out.put(message(number), peer_patience).value();
    return queue;
  }
};

class SenderPair final : public OwnedPair {
  void work(test::CountedCalls& /*calls*/) override {
    auto out = found_queue(endpoint(), child_patience).try_sender().value();
    known().joined = true;
    for (std::uint64_t number = 1; number <= items; ++number) {
      out.put(message(number), child_patience).value();
      ++known().puts;
    }
  }
  void live_on() override {
    auto queue = make();
    child_ended.wait();
    const auto there = take_the_rest(queue);
    const auto sure =
        (std::uint64_t{2} << known().puts.load()) - 2;  // and the next one may have come as well
    test::require(there == sure || there == (sure | (sure + 2)), "an item whose put returned is lost");
  }
};

class OwnerPair final : public Pair {
  void work(test::CountedCalls& calls) override {
    auto access = QueueServer::create("ipc://*").value();
    {
      const test::CountedCalls::Excuse none_of_its_business{calls};
      tell(endpoint_of(*access));
    }
    const auto queue = Items::over(std::move(access));
    const test::CountedCalls::Excuse none_of_its_business{calls};
    peer_ended.wait();
  }
  void live_on() override {
    found.wait();
    if (const auto used = use(endpoint()); !used) {
      const bool its_end = used.error().kind == ErrorKind::down || used.error().kind == ErrorKind::closed;
      if (known().joined && !its_end) throw Failure{used.error()};
    }
    peer_ended.open();
  }
  Result<void> use(const std::string& endpoint) {
    if (endpoint.empty()) return failure(ErrorKind::down, "it ended before it had made a queue");
    try {
      auto queue = found_queue(endpoint, child_patience);
      auto out = queue.try_sender().value();
      auto in = queue.try_receiver().value();
      known().joined = true;
      for (std::uint64_t number = 1; number <= items; ++number) {
        out.put(message(number), peer_patience).value();
        auto item = in.get(peer_patience).value();
        test::require(number_of(*item) == number, "another item");
        item.acknowledge();
      }
    } catch (const Failure& failed) {
      return tl::unexpected<Error>{failed.error};
    }
    return {};
  }
  [[nodiscard]] bool makes_the_place() const override { return true; }
};

}  // namespace troupe::zmq
