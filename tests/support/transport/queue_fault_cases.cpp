// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <thread>
#include <troupe/transport/queue.hpp>

#include "transport/attached_queue.hpp"
#include "transport/fault_case.hpp"
#include "transport/forked.hpp"
#include "transport/lane_ends.hpp"
#include "transport/shared_value.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

constexpr Duration patience = 3s;
const QueueOptions small{
    .items_max = 4, .bytes_max = 8U << 10U, .senders_max = 2, .ends_max = 8, .attempts_max = 2};

QueueOptions with_items(std::size_t items) {
  auto options = small;
  options.items_max = items;
  options.attempts_max = 60;
  return options;
}

template <class T>
Queue<T> another(Queue<T>& queue) {
  return Queue<T>::attach(queue.descriptors().value()).value();
}

void take_one(Receiver<std::string>& in, const std::string& expected, std::uint32_t attempt,
              void (Item<std::string>::*settle)()) {
  auto item = in.get(patience).value();
  require(*item == expected, "another item");
  require(item.attempt() == attempt, "another attempt");
  (item.*settle)();
}

/// An item of each fate, and the end.
Result<void> use_a_queue() {
  using Item = Item<std::string>;
  auto queue = Queue<std::string>::create(small).value();
  auto attached = another(queue);
  auto out = queue.try_sender().value();
  auto in = attached.try_receiver().value();
  for (const char* const text : {"done", "back", "up"}) out.put(text, patience).value();
  take_one(in, "done", 1, &Item::acknowledge);
  take_one(in, "back", 1, &Item::give_back);
  take_one(in, "back", 2, &Item::acknowledge);
  take_one(in, "up", 1, &Item::give_up);
  // Where there was no memory for it, the next look moves what was given up.
  const auto none = in.get_nowait();
  require(!none, "an item from nowhere");
  if (none.error().kind != ErrorKind::timed_out) return tl::unexpected<Error>{none.error()};
  queue.drain(patience).value();
  require(queue.counts().acknowledged == 2, "not two were done");
  require(queue.quarantine().size() == 1, "none was given up");
  queue.close();
  out = {};
  const auto end = in.get(patience);
  require(!end, "an item after the last");
  return end.error().kind == ErrorKind::closed ? Result<void>{} : tl::unexpected<Error>{end.error()};
}

/// Room that is written in place, and overflow in each way.
Result<void> overflow_a_queue() {
  for (const auto overflow : {Overflow::fail, Overflow::drop_new, Overflow::drop_old, Overflow::latest}) {
    auto options = small;
    options.overflow = overflow;
    options.items_max = 1;
    auto queue = Queue<Bytes>::create(options).value();
    auto out = queue.try_sender().value();
    auto in = queue.try_receiver().value();
    {
      auto room = out.reserve(100, patience).value();
      std::ranges::fill(room.bytes(), std::byte{1});
      std::move(room).commit(100).value();
    }
    const auto second = out.put(Bytes{std::byte{2}}, patience);
    require(second || second.error().kind == ErrorKind::full, "an overflow that is none");
    const bool keeps_the_first = overflow == Overflow::fail || overflow == Overflow::drop_new;
    auto view = in.view(patience).value();
    require(view.bytes().size() == (keeps_the_first ? 100 : 1), "the other one is left");
    view.item().acknowledge();
  }
  return {};
}

/// Both ends as they come in a message, to a process that has nothing of the queue yet.
Result<void> pass_a_queues_ends() {
  auto queue = Queue<int>::create(small).value();
  const auto pass = [](const auto& end) {
    std::vector<std::byte> bytes(encoded_size(end));
    DescriptorList list{16};
    encode(end, bytes, &list).value();
    DescriptorList arrived{std::move(list).take()};
    return decode<std::decay_t<decltype(end)>>(bytes, &arrived).value();
  };
  auto out = pass(queue.try_sender().value());
  auto in = pass(queue.try_receiver().value());
  out.put(7, patience).value();
  auto item = in.get(patience).value();
  require(*item == 7, "another number");
  item.acknowledge();
  return {};
}

/// Puts into a queue of the test's, whose receiver finds whole items in order, wherever the sender dies.
class PutsItems : public FaultCase {
 public:
  [[nodiscard]] Result<void> run() override {
    auto out = attached<Bytes>(descriptors_).try_sender().value();
    for (std::uint64_t number = 0; number < items; ++number)
      out.put(pattern(number, bytes(number)), patience).value();
    return {};
  }
  [[nodiscard]] std::string after_death() override {
    queue_.close();
    auto in = queue_.receiver();
    for (std::uint64_t number = 0;; ++number) {
      auto item = in.get(patience);
      if (!item) return item.error().kind == ErrorKind::closed ? "" : "its receiver: " + item.error().text;
      if (**item != pattern(number % items, bytes(number % items))) return "a torn item";
      item->acknowledge();
    }
  }

 private:
  static constexpr std::uint64_t items = 3;
  static std::size_t bytes(std::uint64_t number) { return number * 700; }
  Queue<Bytes> queue_{with_items(3 * items)};
  std::vector<OwnedFd> descriptors_ = queue_.descriptors().value();
};

/// Takes out of a queue of the test's. Wherever it dies, what it has not acknowledged is there for the next.
class TakesItems : public FaultCase {
 public:
  TakesItems() {
    auto out = queue_.sender();
    for (int number = 0; number < items; ++number) out.put(number).value();
    queue_.close();
  }
  [[nodiscard]] Result<void> run() override {
    auto in = attached<int>(descriptors_).try_receiver().value();
    auto first = in.get(patience).value();
    ++*begun_;
    first.acknowledge();
    ++*done_;
    auto second = in.get(patience).value();
    second.give_back();
    return {};
  }
  [[nodiscard]] std::string after_death() override {
    auto in = queue_.receiver();
    int left = 0;
    for (;; ++left) {
      auto item = in.get(patience);
      if (!item && item.error().kind == ErrorKind::closed) break;
      if (!item) return "the next receiver: " + item.error().text;
      item->acknowledge();
    }
    const bool all = left <= items - *done_ && left >= items - *begun_;
    return all ? "" : "the next receiver found " + std::to_string(left) + " items";
  }

 private:
  static constexpr int items = 8;
  Queue<int> queue_{with_items(items)};
  std::vector<OwnedFd> descriptors_ = queue_.descriptors().value();
  SharedValue<int> begun_;
  SharedValue<int> done_;
};

/// Asks another process through one queue and is answered through another; both wait for each other asleep.
class SleepsInQueues : public FaultCase {
 public:
  [[nodiscard]] Result<void> run() override {
    auto out = attached<int>(questions_fds_).try_sender().value();
    auto in = attached<int>(answers_fds_).try_receiver().value();
    const int first = 2 * run_++;
    // One more than there is room for: a put that sleeps. And answers that take a while: a get that does.
    for (int number = first; number < first + 2; ++number) out.put(number, patience).value();
    for (int number = first; number < first + 2;) {
      auto answer = in.get(patience).value();
      require(*answer <= number, "another answer");
      number += *answer == number ? 1 : 0;  // older ones were for a run that failed
      answer.acknowledge();
    }
    return {};
  }
  [[nodiscard]] std::string after_death() override {
    questions_.close();
    const auto code = peer_.exit_code(deadline_in(patience));
    return code == 0 ? "" : "its peer ended with " + std::to_string(code);
  }

 private:
  /// A ring that the kernel refuses is lost: so this one looks again from time to time.
  template <class Act>
  static auto again_and_again(Act act) {
    auto result = act(20ms);
    while (!result && result.error().kind == ErrorKind::timed_out) result = act(20ms);
    return result;
  }
  int answer_all() const {
    auto in = attached<int>(questions_fds_).receiver();
    auto out = attached<int>(answers_fds_).sender();
    for (;;) {
      auto question = again_and_again([&](Duration within) { return in.get(within); });
      if (!question) return question.error().kind == ErrorKind::closed ? 0 : 1;
      std::this_thread::sleep_for(1ms);  // longer than anybody spins
      const int number = **question;
      question->acknowledge();
      if (!out.put(number, Duration::zero())) return 2;  // room for all that a case can leave
    }
  }

  Queue<int> questions_{with_items(1)};
  Queue<int> answers_{with_items(64)};
  std::vector<OwnedFd> questions_fds_ = questions_.descriptors().value();
  std::vector<OwnedFd> answers_fds_ = answers_.descriptors().value();
  int run_ = 0;
  Forked peer_{[this] { return answer_all(); }};
};

}  // namespace

std::vector<NamedCase> queue_fault_cases() {
  return {simple_case("Queue", use_a_queue),
          simple_case("QueueOverflow", overflow_a_queue),
          simple_case("QueueEndsPassed", pass_a_queues_ends),
          case_of<PutsItems>("QueueSender"),
          case_of<TakesItems>("QueueReceiver"),
          case_of<SleepsInQueues>("QueueSleepers")};
}

}  // namespace troupe::test
