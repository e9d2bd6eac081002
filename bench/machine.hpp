// SPDX-License-Identifier: MIT
#pragma once
// What every measurement stands on: the time, where a process runs, peers, and memory that they share.

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace troupe::bench {

[[nodiscard]] std::int64_t now_ns() noexcept;  ///< CLOCK_MONOTONIC, the same in every process
[[nodiscard]] double median(std::vector<double> values);
[[nodiscard]] double per_second(std::size_t count, std::int64_t since);

/// `result`, or an exception that says what failed.
int checked(int result, const char* what);
/// What a loop does between two looks.
inline void relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  asm volatile("" ::: "memory");
#endif
}
/// Something that the compiler must have made: a handler could look at it.
inline void keep(const void* value) noexcept { asm volatile("" ::"r"(value) : "memory"); }

/// Where the program and its peer run.
enum class Placement { across_cores, same_core };
struct Cores {
  int program = 0;
  int peer = 0;
};
[[nodiscard]] Cores cores(Placement placement);  ///< the first two that this process may use
inline constexpr int any_core = -1;
void run_on(int core);  ///< any_core: leaves it as it is

/// Keeps this process on one core for one scope.
class Pinned {
 public:
  explicit Pinned(int core);
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  ~Pinned();

 private:
  cpu_set_t before_{};
};

/// Lets the peer fall asleep while the program stays awake: without it a round trip meets a reader that is
/// still busy with the end of the last one.
void pause_for(std::chrono::nanoseconds duration);

/// The median of so many rounds, `pause` before each.
template <class Round>
[[nodiscard]] double median_round(std::size_t rounds, std::chrono::nanoseconds pause, Round&& round) {
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

/// Words of different processes lie this far apart.
inline constexpr std::size_t lines_apart = 128;

/// Zeroed memory that a fork shares.
class SharedBytes {
 public:
  explicit SharedBytes(std::size_t bytes);
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;
  ~SharedBytes();
  [[nodiscard]] std::byte* data() const noexcept { return at_; }

 private:
  std::byte* at_ = nullptr;
  std::size_t bytes_;
};

/// A forked child that runs `body`; killed and reaped with this object.
class Peer {
 public:
  template <class Body>
  Peer(int core, Body&& body) : pid_{checked(::fork(), "fork")} {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    run_on(core);
    body();
    ::_exit(0);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer();
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  pid_t pid_;
};

/// Many processes that are to begin together.
class Gate {
 public:
  Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate();
  void pass() const;  ///< in each of them: sleeps until the gate is open
  void wait_for(std::size_t count) const;
  void open(std::size_t count) const;

 private:
  std::array<int, 2> arrived_{-1, -1};
  std::array<int, 2> open_{-1, -1};
};

/// One moment, written by another process of this user that opens `path()`.
class Stamp {
 public:
  Stamp();
  Stamp(const Stamp&) = delete;
  Stamp& operator=(const Stamp&) = delete;
  ~Stamp();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  static void write(const std::string& path, std::int64_t moment);
  void set(std::int64_t moment) noexcept { word_->store(moment); }
  [[nodiscard]] std::int64_t take();  ///< waits until it has been written

 private:
  int fd_ = -1;
  std::string path_{};
  std::atomic<std::int64_t>* word_ = nullptr;
};

/// Private memory of 4 KiB pages, each written once: what a fork has to copy the page tables of.
class Ballast {
 public:
  explicit Ballast(std::size_t bytes);
  Ballast(const Ballast&) = delete;
  Ballast& operator=(const Ballast&) = delete;
  ~Ballast();

 private:
  void* at_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace troupe::bench
