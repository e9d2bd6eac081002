// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "reference.hpp"

namespace troupe::bench::bare {
namespace {

using std::memory_order_acquire;
using std::memory_order_release;
using std::memory_order_seq_cst;

constexpr std::size_t line_bytes = 64;

/// The bare ring: slots of one size, one writer, one reader.
class Ring {
 public:
  explicit Ring(std::size_t bytes)
      : bytes_{bytes},
        slot_bytes_{(bytes + line_bytes - 1) / line_bytes * line_bytes},
        slots_{std::bit_floor(std::max<std::size_t>(8, ring_bytes / slot_bytes_))},
        memory_{sizeof(Words) + slots_ * slot_bytes_},
        words_{new (memory_.data()) Words} {}

  void send(const std::byte* message) noexcept {
    while (sent_ - known_head_ == slots_) {
      known_head_ = words_->head.load(memory_order_acquire);
      if (sent_ - known_head_ == slots_) relax();
    }
    std::memcpy(slot(sent_), message, bytes_);
    words_->tail.store(++sent_, memory_order_seq_cst);
    if (words_->asleep.load(memory_order_seq_cst) != 0)
      std::abort();  // here it would ring: this reader only spins
  }
  void receive(std::byte* message) noexcept {
    while (known_tail_ == received_) {
      known_tail_ = words_->tail.load(memory_order_acquire);
      if (known_tail_ == received_) relax();
    }
    std::memcpy(message, slot(received_), bytes_);
    keep(message);
    words_->head.store(++received_, memory_order_release);
  }
  [[nodiscard]] bool drained() const noexcept { return words_->head.load(memory_order_acquire) == sent_; }

 private:
  static constexpr std::size_t ring_bytes = 128 * std::size_t{1024};
  struct Words {
    alignas(line_bytes) std::atomic<std::uint64_t> tail{0};
    alignas(line_bytes) std::atomic<std::uint64_t> head{0};
    alignas(line_bytes) std::atomic<std::uint32_t> asleep{0};
  };
  [[nodiscard]] std::byte* slot(std::uint64_t number) const noexcept {
    return memory_.data() + sizeof(Words) + (number & (slots_ - 1)) * slot_bytes_;
  }

  std::size_t bytes_;
  std::size_t slot_bytes_;
  std::size_t slots_;
  SharedBytes memory_;
  Words* words_;
  std::uint64_t sent_ = 0;        // the writer's own
  std::uint64_t known_head_ = 0;  // the writer's own
  std::uint64_t received_ = 0;    // the reader's own
  std::uint64_t known_tail_ = 0;  // the reader's own
};

class Pipe {
 public:
  Pipe() { checked(::pipe2(ends_.data(), O_CLOEXEC), "pipe2"); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    for (const int fd : ends_) ::close(fd);
  }
  void send(const std::byte* bytes, std::size_t count) const {
    while (count != 0) {
      const ssize_t written = ::write(ends_[1], bytes, count);
      if (written <= 0) throw std::runtime_error{"write to a pipe"};
      bytes += written;
      count -= static_cast<std::size_t>(written);
    }
  }
  std::size_t receive_some(std::byte* bytes, std::size_t count) const {
    const ssize_t got = ::read(ends_[0], bytes, count);
    if (got <= 0) throw std::runtime_error{"read from a pipe"};
    return static_cast<std::size_t>(got);
  }
  void receive(std::byte* bytes, std::size_t count) const {
    for (std::size_t got = 0; got < count;) got += receive_some(bytes + got, count - got);
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

/// An eventfd that is never read, slept on with epoll, edge-triggered: the cheapest bell that has a deadline.
class Bell {
 public:
  Bell()
      : bell_{checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")},
        epoll_{checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")} {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    checked(::epoll_ctl(epoll_, EPOLL_CTL_ADD, bell_, &event), "epoll_ctl");
  }
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;
  ~Bell() {
    ::close(epoll_);
    ::close(bell_);
  }
  void ring() const noexcept {
    constexpr std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(bell_, &one, sizeof one);
  }
  void wait() const noexcept {
    epoll_event event{};
    const timespec deadline{10, 0};
    while (::epoll_pwait2(epoll_, &event, 1, &deadline, nullptr) != 1) {}
  }

 private:
  int bell_;
  int epoll_;
};

}  // namespace

double ring_one_way(std::size_t bytes, std::size_t count) {
  const Cores where = cores(Placement::across_cores);
  const Pinned here{where.program};
  Ring ring{bytes};
  std::vector<std::byte> buffer(bytes);
  const Peer reader{where.peer, [&] {
                      for (;;) ring.receive(buffer.data());
                    }};
  ring.send(buffer.data());
  while (!ring.drained()) relax();
  const std::int64_t before = now_ns();
  for (std::size_t i = 0; i < count; ++i) ring.send(buffer.data());
  while (!ring.drained()) relax();
  return per_second(count, before);
}

double pipe_one_way(std::size_t bytes, std::size_t count) {
  constexpr std::size_t gulp_bytes = 64 * std::size_t{1024};
  const Cores where = cores(Placement::across_cores);
  const Pinned here{where.program};
  const Pipe there;
  const Pipe back;
  std::vector<std::byte> buffer(std::max(bytes, gulp_bytes));
  const Peer reader{where.peer, [&] {
                      std::byte done{};
                      there.receive(buffer.data(), bytes);
                      back.send(&done, 1);
                      for (std::size_t left = bytes * count; left != 0;)
                        left -= there.receive_some(buffer.data(), gulp_bytes);
                      back.send(&done, 1);
                    }};
  std::byte done{};
  there.send(buffer.data(), bytes);
  back.receive(&done, 1);
  const std::int64_t before = now_ns();
  for (std::size_t i = 0; i < count; ++i) there.send(buffer.data(), bytes);
  back.receive(&done, 1);
  return per_second(count, before);
}

namespace {

double memcpy_twice_here(std::size_t bytes, std::size_t count) {
  const Pinned here{cores(Placement::same_core).program};
  std::vector<std::byte> first(bytes);
  std::vector<std::byte> second(bytes);
  std::vector<std::byte> third(bytes);
  const std::int64_t before = now_ns();
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(second.data(), first.data(), bytes);
    keep(second.data());
    std::memcpy(third.data(), second.data(), bytes);
    keep(third.data());
  }
  return per_second(count, before);
}

double memcpy_twice_across(std::size_t bytes, std::size_t count) {
  const Cores where = cores(Placement::across_cores);
  const Pinned here{where.program};
  const SharedBytes shared{bytes};
  const SharedBytes word{lines_apart};
  auto& turn = *new (word.data()) std::atomic<std::uint64_t>{0};  // odd: the peer's
  std::vector<std::byte> buffer(bytes);
  const auto wait_for = [&](std::uint64_t mine) {
    while (turn.load(memory_order_acquire) != mine) relax();
  };
  const Peer peer{where.peer, [&] {
                    for (std::uint64_t mine = 1;; mine += 2) {
                      wait_for(mine);
                      std::memcpy(buffer.data(), shared.data(), bytes);
                      keep(buffer.data());
                      turn.store(mine + 1, memory_order_release);
                    }
                  }};
  std::int64_t before = 0;
  for (std::uint64_t i = 0; i <= count; ++i) {
    if (i == 1) before = now_ns();  // the first one meets a peer that is still being born
    std::memcpy(shared.data(), buffer.data(), bytes);
    turn.store(2 * i + 1, memory_order_release);
    wait_for(2 * i + 2);
  }
  return per_second(count, before);
}

}  // namespace

double memcpy_twice(std::size_t bytes, std::size_t count, Placement placement) {
  return placement == Placement::same_core ? memcpy_twice_here(bytes, count)
                                           : memcpy_twice_across(bytes, count);
}

double ring_round_trip(std::size_t bytes, std::size_t rounds) {
  const Cores where = cores(Placement::across_cores);
  const Pinned here{where.program};
  Ring there{bytes};
  Ring back{bytes};
  std::vector<std::byte> buffer(bytes);
  const Peer echo{where.peer, [&] {
                    for (;;) {
                      there.receive(buffer.data());
                      back.send(buffer.data());
                    }
                  }};
  return median_round(rounds, {}, [&] {
    there.send(buffer.data());
    back.receive(buffer.data());
  });
}

double pipe_round_trip(std::size_t bytes, std::size_t rounds, Placement placement,
                       std::chrono::nanoseconds pause) {
  const Cores where = cores(placement);
  const Pinned here{where.program};
  const Pipe there;
  const Pipe back;
  std::vector<std::byte> buffer(bytes);
  const Peer echo{where.peer, [&] {
                    for (;;) {
                      there.receive(buffer.data(), bytes);
                      back.send(buffer.data(), bytes);
                    }
                  }};
  return median_round(rounds, pause, [&] {
    there.send(buffer.data(), bytes);
    back.receive(buffer.data(), bytes);
  });
}

double bell_round_trip(std::size_t bytes, std::size_t rounds, Placement placement,
                       std::chrono::nanoseconds pause) {
  const Cores where = cores(placement);
  const Pinned here{where.program};
  const Bell there;
  const Bell back;
  const SharedBytes question{bytes};
  const SharedBytes answer{bytes};
  std::vector<std::byte> buffer(bytes);
  const Peer echo{where.peer, [&] {
                    for (;;) {
                      there.wait();
                      std::memcpy(buffer.data(), question.data(), bytes);
                      std::memcpy(answer.data(), buffer.data(), bytes);
                      back.ring();
                    }
                  }};
  return median_round(rounds, pause, [&] {
    std::memcpy(question.data(), buffer.data(), bytes);
    there.ring();
    back.wait();
    std::memcpy(buffer.data(), answer.data(), bytes);
  });
}

}  // namespace troupe::bench::bare
