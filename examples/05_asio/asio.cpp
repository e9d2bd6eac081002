// SPDX-License-Identifier: MIT
// A queue and an actor's reply inside somebody else's event loop: what Troupe gives to wait for is a
// descriptor.
#include <array>
#include <asio.hpp>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <troupe/actors/troupe.hpp>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/queue.hpp>

using namespace std::chrono_literals;

constexpr int orders_in_all = 3;
constexpr int numbers_an_order = 500;

/// The child: for each order a batch of numbers, until nobody can order any more.
void count(troupe::Receiver<int> orders, troupe::Sender<int> numbers) {
  int next = 0;
  for (auto& order : orders) {
    for (int i = 0; i < *order; ++i) numbers.put(++next).value();
    order.acknowledge();
  }
}

/// The actor: says what it thinks of a result.
struct Check {
  using reply = bool;
  int items = 0;
  long sum = 0;
};
struct Auditor {
  using accepts = troupe::messages<Check>;
  bool on(const Check& result) { return result.sum == result.items * (result.items + 1L) / 2; }
};

/// Waits for what a Waitable tells of, in an io_context. One thread: the loop's.
class Watch {
 public:
  Watch(asio::io_context& loop, troupe::Waitable ready)
      : ready_{std::move(ready)}, descriptor_{loop, ready_.descriptor} {}
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { descriptor_.release(); }  // it is its owner's, and asio would close it

  /// Announces the sleep and looks once more, each time; then the descriptor will tell.
  void wait(const std::function<void()>& then) {
    if (ready_.arm()) return again(then);
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, [then](const asio::error_code& error) {
      if (!error) then();
    });
  }
  void again(const std::function<void()>& then) { asio::post(descriptor_.get_executor(), then); }

 private:
  troupe::Waitable ready_;
  asio::posix::stream_descriptor descriptor_;
};

/// Takes what comes out of a queue, and at its end has it checked.
class Intake {
 public:
  Intake(asio::io_context& loop, troupe::Receiver<int> in, troupe::Ref<Auditor> auditor)
      : loop_{loop}, in_{std::move(in)}, numbers_{loop, in_.readable()}, auditor_{auditor} {
    take();
  }

  int items = 0;
  long sum = 0;

 private:
  static constexpr int items_a_turn_max = 64;  // then the others of the loop have theirs

  void take() {
    for (int i = 0; i < items_a_turn_max; ++i) {
      auto item = in_.get_nowait();
      if (!item && item.error().kind == troupe::ErrorKind::timed_out)
        return numbers_.wait([this] { take(); });
      if (!item && item.error().kind == troupe::ErrorKind::closed) return check();  // the end of the stream
      sum += *item.value();
      ++items;
      item->acknowledge();
    }
    numbers_.again([this] { take(); });
  }
  void check() {
    answer_.emplace(auditor_.start_ask(Check{items, sum}, 5s).value());
    reply_ = std::make_unique<Watch>(loop_, answer_->readable());
    hear();
  }
  void hear() {
    const auto right = answer_->result();
    if (!right) return reply_->wait([this] { hear(); });
    std::cout << "the auditor says: " << (right->value() ? "right" : "wrong") << '\n';
  }

  asio::io_context& loop_;
  troupe::Receiver<int> in_;
  Watch numbers_;
  troupe::Ref<Auditor> auditor_;
  std::optional<troupe::PendingReply<bool>> answer_{};
  std::unique_ptr<Watch> reply_{};
};

/// Orders a batch at every tick; after the last one nobody can order any more.
class Orders {
 public:
  Orders(asio::io_context& loop, troupe::Sender<int> out) : timer_{loop}, out_{std::move(out)} { tick(); }
  void stop() { timer_.cancel(); }

 private:
  void tick() {
    timer_.expires_after(20ms);
    timer_.async_wait([this](const asio::error_code& error) {
      if (error) return;
      out_.put(numbers_an_order).value();
      std::cout << "tick " << ++ticks_ << ": ordered " << numbers_an_order << '\n';
      if (ticks_ < orders_in_all) return tick();
      out_ = {};
    });
  }

  asio::steady_timer timer_;
  troupe::Sender<int> out_;
  int ticks_ = 0;
};

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Queue<int> orders;
  troupe::Queue<int> numbers;
  troupe::Process child{count, orders.receiver(), numbers.sender()};
  child.start().value();

  troupe::Node node;
  const auto auditor = node.spawn<Auditor>("auditor").value();

  asio::io_context loop;
  Orders timed{loop, orders.sender()};
  Intake intake{loop, numbers.receiver(), auditor};
  orders.close();
  numbers.close();
  asio::posix::stream_descriptor sentinel{loop, child.sentinel()};
  sentinel.async_wait(asio::posix::stream_descriptor::wait_read,
                      [&](const asio::error_code& /*error*/) { timed.stop(); });
  loop.run();  // until the child has ended, and the last of what it sent has been taken and checked
  sentinel.release();

  std::cout << "items " << intake.items << ", sum " << intake.sum << '\n';
  const auto report = child.join().value();
  std::cout << report.reason << '\n';
  return troupe::is_normal(report.reason.cause) ? 0 : 1;
}
