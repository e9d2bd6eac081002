// SPDX-License-Identifier: MIT
// A queue inside somebody else's event loop: what Troupe gives to wait for is a descriptor.
#include <array>
#include <asio.hpp>
#include <iostream>
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

/// Takes what comes out of a queue, in an io_context. One thread: the loop's.
class Intake {
 public:
  Intake(asio::io_context& loop, troupe::Receiver<int> in)
      : in_{std::move(in)}, ready_{in_.readable()}, descriptor_{loop, ready_.descriptor} {
    take();
  }
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;
  ~Intake() { descriptor_.release(); }  // it is the receiver's, and asio would close it

  int items = 0;
  long sum = 0;

 private:
  static constexpr int items_a_turn_max = 64;  // then the others of the loop have theirs

  void take() {
    for (int i = 0; i < items_a_turn_max; ++i) {
      auto item = in_.get_nowait();
      if (!item && item.error().kind == troupe::ErrorKind::timed_out) return wait();
      if (!item && item.error().kind == troupe::ErrorKind::closed) return;  // the end of the stream
      sum += *item.value();
      ++items;
      item->acknowledge();
    }
    again();
  }
  /// Announces the sleep and looks once more, each time; then the descriptor will tell.
  void wait() {
    if (ready_.arm()) return again();
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
      if (!error) take();
    });
  }
  void again() {
    asio::post(descriptor_.get_executor(), [this] { take(); });
  }

  troupe::Receiver<int> in_;
  troupe::Waitable ready_;
  asio::posix::stream_descriptor descriptor_;
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

  asio::io_context loop;
  Orders timed{loop, orders.sender()};
  Intake intake{loop, numbers.receiver()};
  orders.close();
  numbers.close();
  asio::posix::stream_descriptor sentinel{loop, child.sentinel()};
  sentinel.async_wait(asio::posix::stream_descriptor::wait_read,
                      [&](const asio::error_code& /*error*/) { timed.stop(); });
  loop.run();  // until the child has ended and the last of what it sent has been taken
  sentinel.release();

  std::cout << "items " << intake.items << ", sum " << intake.sum << '\n';
  const auto report = child.join().value();
  std::cout << report.reason << '\n';
  return troupe::is_normal(report.reason.cause) ? 0 : 1;
}
