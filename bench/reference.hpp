// SPDX-License-Identifier: MIT
#pragma once
// What this machine gives to anybody, written raw and small: the figures that ours stand beside.

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace troupe::bench {

[[nodiscard]] std::int64_t now_ns() noexcept;  ///< CLOCK_MONOTONIC, the same in every process
[[nodiscard]] double median(std::vector<double> values);

/// Where the program and its peer run.
enum class Placement { across_cores, same_core };
struct Cores {
  int program = 0;
  int peer = 0;
};
[[nodiscard]] Cores cores(Placement placement);  ///< the first two that this process may use
void run_on(int core);

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

namespace bare {

/// Messages a second into a forked child that copies each one out, until it has the last. The ring publishes
/// every message and then looks whether its reader sleeps; both sides spin.
[[nodiscard]] double ring_one_way(std::size_t bytes, std::size_t count);
[[nodiscard]] double pipe_one_way(std::size_t bytes, std::size_t count);

/// Median nanoseconds until the same bytes are back. The ring's ends spin, those of the others sleep: in a
/// blocking read, or in epoll with a deadline on an eventfd (the payload then lies in shared memory).
[[nodiscard]] double ring_round_trip(std::size_t bytes, std::size_t rounds);
[[nodiscard]] double pipe_round_trip(std::size_t bytes, std::size_t rounds, Placement placement,
                                     std::chrono::nanoseconds pause);
[[nodiscard]] double bell_round_trip(std::size_t bytes, std::size_t rounds, Placement placement,
                                     std::chrono::nanoseconds pause);

/// Nanoseconds from the call to the child's first line.
[[nodiscard]] double fork_start(Stamp& stamp);
[[nodiscard]] double spawn_start(Stamp& stamp);  ///< posix_spawn of this program
/// In main, after troupe::init: a process that spawn_start made stamps the time and ends here.
void end_if_spawned(int argc, char** argv);

/// Nanoseconds from SIGKILL to the first line of the replacement: pidfd, waitid, fork.
[[nodiscard]] double fork_restart(Stamp& stamp);

}  // namespace bare
}  // namespace troupe::bench
