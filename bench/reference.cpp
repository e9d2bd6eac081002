// SPDX-License-Identifier: MIT
#include "reference.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace troupe::bench {
namespace {

using std::memory_order_acquire;
using std::memory_order_release;
using std::memory_order_seq_cst;

constexpr std::size_t line_bytes = 64;
constexpr char spawned_mark[] = "bench:stamp";

int checked(int result, const char* what) {
  if (result == -1) throw std::runtime_error{what};
  return result;
}

void relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  asm volatile("" ::: "memory");
#endif
}

/// Zeroed memory that a fork shares.
class SharedBytes {
 public:
  explicit SharedBytes(std::size_t bytes) : bytes_{bytes} {
    void* const at =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED) throw std::runtime_error{"mmap"};
    at_ = static_cast<std::byte*>(at);
  }
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;
  ~SharedBytes() { ::munmap(at_, bytes_); }
  [[nodiscard]] std::byte* data() const noexcept { return at_; }

 private:
  std::byte* at_ = nullptr;
  std::size_t bytes_;
};

/// A forked child that runs `body`; killed and reaped with this object.
class Peer {
 public:
  template <class Body>
  explicit Peer(int core, Body&& body) : pid_{checked(::fork(), "fork")} {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    run_on(core);
    body();
    ::_exit(0);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

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
    asm volatile("" ::"r"(message) : "memory");  // a handler could have looked at it
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

double per_second(std::size_t count, std::int64_t since) {
  return static_cast<double>(count) * 1e9 / static_cast<double>(now_ns() - since);
}

template <class Round>
double median_round(std::size_t rounds, std::chrono::nanoseconds pause, Round&& round) {
  std::vector<double> times;
  times.reserve(rounds);
  round();  // the first one meets a peer that is still being born
  for (std::size_t i = 0; i < rounds; ++i) {
    pause_for(pause);
    const std::int64_t before = now_ns();
    round();
    times.push_back(static_cast<double>(now_ns() - before));
  }
  return median(std::move(times));
}

[[noreturn]] void sleep_for_ever() {
  for (;;) ::pause();
}

}  // namespace

std::int64_t now_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// ---- placement --------------------------------------------------------------------------------------------

Cores cores(Placement placement) {
  static const std::vector<int> allowed = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    checked(::sched_getaffinity(0, sizeof set, &set), "sched_getaffinity");
    std::vector<int> all;
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) all.push_back(core);
    return all;
  }();
  return {allowed.front(),
          placement == Placement::same_core || allowed.size() == 1 ? allowed.front() : allowed[1]};
}

void run_on(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  checked(::sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

Pinned::Pinned(int core) {
  checked(::sched_getaffinity(0, sizeof before_, &before_), "sched_getaffinity");
  run_on(core);
}
Pinned::~Pinned() { ::sched_setaffinity(0, sizeof before_, &before_); }

void pause_for(std::chrono::nanoseconds duration) {
  if (duration == std::chrono::nanoseconds::zero()) return;
  for (const std::int64_t until = now_ns() + duration.count(); now_ns() < until;)
    ::sched_yield();  // the peer may need this core
}

// ---- Stamp, Ballast ---------------------------------------------------------------------------------------

Stamp::Stamp() : fd_{checked(::memfd_create("bench-stamp", MFD_CLOEXEC), "memfd_create")} {
  checked(::ftruncate(fd_, sizeof *word_), "ftruncate");
  void* const at = ::mmap(nullptr, sizeof *word_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (at == MAP_FAILED) throw std::runtime_error{"mmap"};
  word_ = new (at) std::atomic<std::int64_t>{0};
  path_ = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_);
}

Stamp::~Stamp() {
  ::munmap(word_, sizeof *word_);
  ::close(fd_);
}

void Stamp::write(const std::string& path, std::int64_t moment) {
  const int fd = checked(::open(path.c_str(), O_WRONLY | O_CLOEXEC), "open the stamp");
  const ssize_t written = ::pwrite(fd, &moment, sizeof moment, 0);
  ::close(fd);
  if (written != sizeof moment) throw std::runtime_error{"write the stamp"};
}

std::int64_t Stamp::take() {
  constexpr std::int64_t patience = 10'000'000'000;
  for (const std::int64_t until = now_ns() + patience; now_ns() < until; ::sched_yield())
    if (const std::int64_t moment = word_->exchange(0); moment != 0) return moment;
  throw std::runtime_error{"the stamp was never written"};
}

Ballast::Ballast(std::size_t bytes) : bytes_{bytes} {
  at_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at_ == MAP_FAILED) throw std::runtime_error{"mmap"};
  ::madvise(at_, bytes, MADV_NOHUGEPAGE);
  constexpr std::size_t page_bytes = 4096;
  for (std::size_t i = 0; i < bytes; i += page_bytes) static_cast<volatile char*>(at_)[i] = 1;
}
Ballast::~Ballast() { ::munmap(at_, bytes_); }

namespace bare {

// ---- messages ---------------------------------------------------------------------------------------------

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

// ---- starts -----------------------------------------------------------------------------------------------

double fork_start(Stamp& stamp) {
  const std::int64_t before = now_ns();
  const pid_t pid = checked(::fork(), "fork");
  if (pid == 0) {
    stamp.set(now_ns());
    ::_exit(0);
  }
  ::waitpid(pid, nullptr, 0);
  return static_cast<double>(stamp.take() - before);
}

double spawn_start(Stamp& stamp) {
  std::string path = stamp.path();
  std::string mark = spawned_mark;
  std::string name = "bench";
  std::array<char*, 4> arguments{name.data(), mark.data(), path.data(), nullptr};
  pid_t pid = -1;
  const std::int64_t before = now_ns();
  if (::posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments.data(), ::environ) != 0)
    throw std::runtime_error{"posix_spawn"};
  ::waitpid(pid, nullptr, 0);
  return static_cast<double>(stamp.take() - before);
}

void end_if_spawned(int argc, char** argv) {
  const std::int64_t now = now_ns();
  if (argc != 3 || std::string_view{argv[1]} != spawned_mark) return;
  Stamp::write(argv[2], now);
  ::_exit(0);
}

double fork_restart(Stamp& stamp) {
  const pid_t first = checked(::fork(), "fork");
  if (first == 0) sleep_for_ever();
  pollfd ended{static_cast<int>(::syscall(SYS_pidfd_open, first, 0)), POLLIN, 0};
  checked(ended.fd, "pidfd_open");
  pause_for(std::chrono::milliseconds{1});
  const std::int64_t before = now_ns();
  ::kill(first, SIGKILL);
  ::poll(&ended, 1, -1);
  ::waitpid(first, nullptr, 0);
  const pid_t second = checked(::fork(), "fork");
  if (second == 0) {
    stamp.set(now_ns());
    ::_exit(0);
  }
  ::waitpid(second, nullptr, 0);
  ::close(ended.fd);
  return static_cast<double>(stamp.take() - before);
}

}  // namespace bare
}  // namespace troupe::bench
