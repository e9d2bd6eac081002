// SPDX-License-Identifier: MIT
#include "machine.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <stdexcept>

namespace troupe::bench {

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

double per_second(std::size_t count, std::int64_t since) {
  return static_cast<double>(count) * 1e9 / static_cast<double>(now_ns() - since);
}

int checked(int result, const char* what) {
  if (result == -1) throw std::runtime_error{what};
  return result;
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
  if (core == any_core) return;
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

// ---- SharedBytes, Peer -----------------------------------------------------------------------------------

SharedBytes::SharedBytes(std::size_t bytes) : bytes_{bytes} {
  void* const at =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (at == MAP_FAILED) throw std::runtime_error{"mmap"};
  at_ = static_cast<std::byte*>(at);
}
SharedBytes::~SharedBytes() { ::munmap(at_, bytes_); }

Peer::~Peer() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

// ---- Gate -------------------------------------------------------------------------------------------------

namespace {

void give(int fd) {
  if (const char byte = 0; ::write(fd, &byte, 1) != 1) throw std::runtime_error{"write to a gate"};
}
void take(int fd) {
  if (char byte = 0; ::read(fd, &byte, 1) != 1) throw std::runtime_error{"read from a gate"};
}

}  // namespace

Gate::Gate() {
  checked(::pipe2(arrived_.data(), O_CLOEXEC), "pipe2");
  checked(::pipe2(open_.data(), O_CLOEXEC), "pipe2");
}
Gate::~Gate() {
  for (const int fd : {arrived_[0], arrived_[1], open_[0], open_[1]}) ::close(fd);
}
void Gate::pass() const {
  give(arrived_[1]);
  take(open_[0]);
}
void Gate::wait_for(std::size_t count) const {
  for (std::size_t i = 0; i < count; ++i) take(arrived_[0]);
}
void Gate::open(std::size_t count) const {
  for (std::size_t i = 0; i < count; ++i) give(open_[1]);
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

}  // namespace troupe::bench
