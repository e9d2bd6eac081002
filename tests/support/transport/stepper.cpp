// SPDX-License-Identifier: MIT
#include "stepper.hpp"

#include <elf.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {
namespace {

#if defined(__x86_64__)
constexpr bool has_breakpoints = true;
std::uintptr_t counter_of(const user_regs_struct& registers) { return registers.rip; }
void set_counter(user_regs_struct& registers, std::uintptr_t value) { registers.rip = value; }
constexpr long breakpoint_mask = 0xFF;
constexpr long breakpoint_code = 0xCC;
unsigned long long& result_in(user_regs_struct& registers) { return registers.rax; }
unsigned long long& third_argument_in(user_regs_struct& registers) { return registers.rdx; }
#elif defined(__aarch64__)
constexpr bool has_breakpoints = false;
std::uintptr_t counter_of(const user_regs_struct& registers) { return registers.pc; }
void set_counter(user_regs_struct& registers, std::uintptr_t value) { registers.pc = value; }
constexpr long breakpoint_mask = 0;
constexpr long breakpoint_code = 0;
unsigned long long& result_in(user_regs_struct& registers) { return registers.regs[0]; }
unsigned long long& third_argument_in(user_regs_struct& registers) { return registers.regs[2]; }
#else
#error "the stepper does not know this processor's registers"
#endif

bool stepped = false;  // only in the child

user_regs_struct registers_of(pid_t pid) {
  user_regs_struct registers{};
  iovec room{&registers, sizeof registers};
  ::ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &room);
  return registers;
}

void set_registers(pid_t pid, user_regs_struct registers) {
  iovec room{&registers, sizeof registers};
  ::ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &room);
}

#if defined(__x86_64__)
void set_call_number(pid_t pid, long number) {
  auto registers = registers_of(pid);
  registers.orig_rax = static_cast<unsigned long>(number);
  set_registers(pid, registers);
}
#else
void set_call_number(pid_t pid, long number) {
  auto word = static_cast<int>(number);
  iovec room{&word, sizeof word};
  ::ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &room);
}
#endif

void set_alarm(TimePoint deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now()).count();
  const auto bounded = std::max<long>(left, 1);
  const itimerval timer{{}, {bounded / 1'000'000, bounded % 1'000'000}};
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

[[noreturn]] void run_child(const std::function<void()>& body, TimePoint deadline) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  set_alarm(deadline);
  ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  stepped = true;
  try {
    body();
  } catch (...) {
    ::_exit(EXIT_FAILURE);
  }
  ::_exit(EXIT_SUCCESS);
}

}  // namespace

void mark() noexcept {
  if (stepped) ::syscall(SYS_tgkill, ::getpid(), ::gettid(), SIGSTOP);
}

bool can_step() noexcept {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return false;
#else
  return true;
#endif
#else
  return true;
#endif
}

void Trace::add(std::uintptr_t counter) {
  constexpr std::size_t steps_per_hit = 4;  // to come by a breakpoint takes about as long
  const auto hits = ++visits_[counter];
  const auto at = points_.size();
  if (points_.empty()) {
    points_.push_back({counter, {}, 0});
  } else if (const auto cost = points_.back().cost + 1; !has_breakpoints || cost <= hits * steps_per_hit) {
    points_.push_back({counter, points_.back().way, cost});
  } else {
    points_.push_back({counter, {at, hits}, hits * steps_per_hit});
  }
}

void Trace::forget_breakpoints() {
  for (auto& point : points_) point.way = {};
}

Result<SteppedChild> SteppedChild::create(const std::function<void()>& body, TimePoint deadline) {
  const auto pid = ::fork();
  if (pid == -1) return detail::system_failure("fork of a child to step");
  if (pid == 0) run_child(body, deadline);
  SteppedChild child{pid};
  const auto stop = child.wait();
  if (!stop) return tl::unexpected<Error>{stop.error()};
  if (*stop != Stop::mark)
    return failure(ErrorKind::malformed, "stepped child: it ended before its first mark");
  ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
  return child;
}

Result<SteppedChild::Stop> SteppedChild::wait() {
  int status = 0;
  if (detail::retried([&] { return ::waitpid(pid_, &status, __WALL); }) == -1)
    return detail::system_failure("waitpid of a stepped child");
  if (WIFEXITED(status) || WIFSIGNALED(status)) {
    pid_ = 0;
    if (WIFSIGNALED(status))
      return failure(ErrorKind::down, "stepped child: killed by signal " + std::to_string(WTERMSIG(status)));
    if (WEXITSTATUS(status) != EXIT_SUCCESS) return failure(ErrorKind::down, "stepped child: its body threw");
    return Stop::ended;
  }
  switch (WSTOPSIG(status)) {
    case SIGTRAP: return Stop::instruction;
    case SIGTRAP | 0x80: return Stop::call;
    case SIGSTOP: return Stop::mark;
    case SIGALRM: kill(); return failure(ErrorKind::timed_out, "stepped child: not done at the deadline");
    default: break;
  }
  const auto number = WSTOPSIG(status);
  kill();
  return failure(ErrorKind::down, "stepped child: signal " + std::to_string(number));
}

Result<SteppedChild::Stop> SteppedChild::resume(int request) {
  if (pid_ == 0) return failure(ErrorKind::down, "stepped child: it has ended");
  if (::ptrace(static_cast<__ptrace_request>(request), pid_, nullptr, nullptr) == -1)
    return detail::system_failure("ptrace of a stepped child");
  return wait();
}

Result<SteppedChild::Stop> SteppedChild::step() { return resume(PTRACE_SINGLESTEP); }

Result<SteppedChild::Stop> SteppedChild::run() { return resume(PTRACE_CONT); }

Result<SteppedChild::Stop> SteppedChild::run_to_call() { return resume(PTRACE_SYSCALL); }

Result<SteppedChild::Call> SteppedChild::call() const {
  __ptrace_syscall_info info{};
  if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof info, &info) == -1)
    return detail::system_failure("looking at a stepped child's system call");
  if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return Call{};
  Call found{true, static_cast<long>(info.entry.nr), {}};
  std::copy_n(std::begin(info.entry.args), found.arguments.size(), found.arguments.begin());
  return found;
}

void SteppedChild::skip_call() { set_call_number(pid_, -1); }

void SteppedChild::set_result(long value) {
  auto registers = registers_of(pid_);
  result_in(registers) = static_cast<unsigned long>(value);
  set_registers(pid_, registers);
}

void SteppedChild::set_third_argument(std::uint64_t value) {
  auto registers = registers_of(pid_);
  third_argument_in(registers) = value;
  set_registers(pid_, registers);
}

pid_t SteppedChild::leave_stopped() noexcept {
  ::ptrace(PTRACE_DETACH, pid_, nullptr, SIGSTOP);
  return std::exchange(pid_, 0);
}

std::uintptr_t SteppedChild::program_counter() const { return counter_of(registers_of(pid_)); }

Result<void> SteppedChild::run_to(std::uintptr_t address, std::size_t hits) {
  // The word belongs to the child alone: a fork's code pages are copied when they are written.
  errno = 0;
  const auto code = ::ptrace(PTRACE_PEEKTEXT, pid_, address, nullptr);
  if (errno != 0) return detail::system_failure("reading a stepped child's code");
  for (;;) {
    if (program_counter() == address) {
      if (--hits == 0) return {};
      // A repeated string instruction is still there after one round: that is another hit.
      if (const auto stop = step(); !stop) return tl::unexpected<Error>{stop.error()};
      continue;
    }
    ::ptrace(PTRACE_POKETEXT, pid_, address, (code & ~breakpoint_mask) | breakpoint_code);
    const auto stop = run();
    if (!stop) return tl::unexpected<Error>{stop.error()};
    if (*stop != Stop::instruction)
      return failure(ErrorKind::refused, "stepped child: this run did not come by here");
    ::ptrace(PTRACE_POKETEXT, pid_, address, code);
    auto registers = registers_of(pid_);
    set_counter(registers, address);
    set_registers(pid_, registers);
  }
}

Result<void> SteppedChild::advance(const Trace& trace, std::size_t at) {
  auto [from, hits] = trace.way_to(at);
  if (hits > 0) {
    if (auto there = run_to(trace.counter(from), hits); !there) return there;
  }
  for (; from < at; ++from) {
    const auto stop = step();
    if (!stop) return tl::unexpected<Error>{stop.error()};
    if (*stop != Stop::instruction)
      return failure(ErrorKind::refused, "stepped child: this run is shorter than the recorded one");
  }
  if (program_counter() != trace.counter(at))
    return failure(ErrorKind::refused, "stepped child: this run went another way");
  return {};
}

void SteppedChild::kill() noexcept {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  do status = 0;  // a stop may have been reported before the kill took effect
  while (detail::retried([&] { return ::waitpid(pid_, &status, __WALL); }) != -1 && WIFSTOPPED(status));
  pid_ = 0;
}

Result<Trace> record(const std::function<void()>& body, TimePoint deadline) {
  auto child = SteppedChild::create(body, deadline);
  if (!child) return failure(std::move(child));
  Trace trace;
  while (true) {
    trace.add(child->program_counter());
    const auto stop = child->step();
    if (!stop) return tl::unexpected<Error>{stop.error()};
    if (*stop == SteppedChild::Stop::mark) return trace;
    if (*stop == SteppedChild::Stop::ended)
      return failure(ErrorKind::malformed, "stepped child: it ended before its second mark");
  }
}

std::size_t step_stride(std::size_t otherwise) {
  const char* const text = std::getenv("TROUPE_STEP_STRIDE");
  const auto value = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return value == 0 ? otherwise : value;
}

}  // namespace troupe::test
