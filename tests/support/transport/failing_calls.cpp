// SPDX-License-Identifier: MIT
#include "failing_calls.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <troupe/transport/syscall.hpp>

#include "transport/nothing_left.hpp"
#include "transport/shared_value.hpp"
#include "transport/stepper.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;
using Call = SteppedChild::Call;
using Stop = SteppedChild::Stop;

struct Fault {
  enum class Kind { error, short_count, kill };
  Kind kind = Kind::error;
  int errnum = 0;

  [[nodiscard]] std::string to_string() const {
    if (kind == Kind::short_count) return "a short count";
    return kind == Kind::kill ? "SIGKILL" : ::strerrorname_np(errnum);
  }
};

constexpr auto error = Fault::Kind::error;
constexpr std::array faults{
    Fault{error, EINTR},      Fault{error, EAGAIN}, Fault{error, EMFILE},
    Fault{error, ENFILE},     Fault{error, ENOMEM}, Fault{error, ENOSPC},
    Fault{error, EPERM},      Fault{error, EIO},    Fault{Fault::Kind::short_count},
    Fault{Fault::Kind::kill},
};

template <std::size_t size>
bool is_one_of(long number, const std::array<long, size>& list) {
  return std::find(list.begin(), list.end(), number) != list.end();
}

/// mark() itself, what cannot fail, brk (which reports by another way), and futex (glibc aborts, rightly).
bool is_left_alone(long number) {
  constexpr std::array<long, 9> list{SYS_tgkill, SYS_getpid,     SYS_gettid, SYS_getuid,      SYS_brk,
                                     SYS_futex,  SYS_exit_group, SYS_exit,   SYS_rt_sigreturn};
  return is_one_of(number, list);
}

/// Those that free what they are given, whatever they return.
bool frees_anyway(long number) { return number == SYS_close || number == SYS_munmap; }

/// Those that a signal can interrupt: then nobody may notice.
bool is_interruptible(long number) {
  constexpr std::array<long, 18> list{
      SYS_read,    SYS_write,     SYS_readv,        SYS_writev,   SYS_pread64, SYS_pwrite64,
      SYS_sendmsg, SYS_recvmsg,   SYS_sendto,       SYS_recvfrom, SYS_ppoll,   SYS_epoll_pwait,
      SYS_waitid,  SYS_fallocate, SYS_epoll_pwait2, SYS_openat,   SYS_connect, SYS_accept4};
#if defined(SYS_poll)
  if (number == SYS_poll || number == SYS_epoll_wait) return true;
#endif
  return is_one_of(number, list);
}

// --- short counts

/// A child's memory as its tracer sees it.
template <class T>
T peek(pid_t pid, std::uint64_t at) {
  T value{};
  const iovec here{&value, sizeof value};
  const iovec there{reinterpret_cast<void*>(at), sizeof value};
  if (::process_vm_readv(pid, &here, 1, &there, 1, 0) != static_cast<ssize_t>(sizeof value))
    throw Failure{detail::system_error("process_vm_readv", errno)};
  return value;
}
template <class T>
void poke(pid_t pid, std::uint64_t at, T value) {
  const iovec here{&value, sizeof value};
  const iovec there{reinterpret_cast<void*>(at), sizeof value};
  if (::process_vm_writev(pid, &here, 1, &there, 1, 0) != static_cast<ssize_t>(sizeof value))
    throw Failure{detail::system_error("process_vm_writev", errno)};
}

/// Pipes and stream sockets: nothing else ever passes on a part of what it could.
bool is_stream(pid_t pid, int fd) {
  const auto pidfd = detail::open_pidfd(pid).value();
  const OwnedFd copy{static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), fd, 0))};
  struct stat status {};
  if (!copy || ::fstat(copy.get(), &status) == -1) return false;
  int type = 0;
  socklen_t length = sizeof type;
  return S_ISFIFO(status.st_mode) ||
         (::getsockopt(copy.get(), SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM);
}

/// Where a call's number of bytes is: an argument, or the first of a list in memory.
std::optional<std::uint64_t> first_part_of(pid_t pid, const Call& call) {
  if (call.number == SYS_readv || call.number == SYS_writev) return call.arguments[1];
  if (call.number != SYS_sendmsg && call.number != SYS_recvmsg) return std::nullopt;
  const auto message = peek<msghdr>(pid, call.arguments[1]);
  return message.msg_iovlen == 0 ? 0 : reinterpret_cast<std::uint64_t>(message.msg_iov);
}

bool has_count(long number) {
  return is_one_of(number, std::array<long, 8>{SYS_read, SYS_write, SYS_sendto, SYS_recvfrom, SYS_readv,
                                               SYS_writev, SYS_sendmsg, SYS_recvmsg});
}

/// One byte instead of many, for as long as this lives: until the call has returned.
class Shortened {
 public:
  Shortened(SteppedChild& child, const Call& call) : child_{child}, part_{first_part_of(child.pid(), call)} {
    const bool is_message = call.number == SYS_sendmsg || call.number == SYS_recvmsg;
    if (!is_message) child.set_third_argument(1);  // of bytes, or of parts
    if (part_) whole_ = peek<iovec>(child.pid(), *part_);
    if (part_) poke(child.pid(), *part_, iovec{whole_.iov_base, 1});
    if (!is_message) return;
    count_at_ = call.arguments[1] + offsetof(msghdr, msg_iovlen);
    count_ = peek<std::size_t>(child.pid(), count_at_);
    poke(child.pid(), count_at_, std::size_t{1});
  }
  Shortened(const Shortened&) = delete;
  ~Shortened() {
    if (part_) poke(child_.pid(), *part_, whole_);
    if (count_at_ != 0) poke(child_.pid(), count_at_, count_);
  }
  [[nodiscard]] static bool possible(pid_t pid, const Call& call) {
    if (!has_count(call.number) || !is_stream(pid, static_cast<int>(call.arguments[0]))) return false;
    const auto part = first_part_of(pid, call);
    if (!part) return call.arguments[2] > 1;
    return *part != 0 && peek<iovec>(pid, *part).iov_len > 1;
  }

 private:
  SteppedChild& child_;
  std::optional<std::uint64_t> part_;
  iovec whole_{};
  std::uint64_t count_at_ = 0;
  std::size_t count_ = 0;
};

// --- one run

struct Outcomes {
  Outcome first{};   ///< as it is
  Outcome failed{};  ///< with the fault
  Outcome again{};
};

/// What a case holds outside of itself, and its address space as far as it is not the heap's.
struct Left {
  explicit Left(pid_t pid) : holdings{Holdings::of(pid)}, reserved{reserved_addresses(pid)} {}
  Holdings holdings;
  std::size_t reserved;
};

class Run {
 public:
  Run(const NamedCase& named, const Fault& fault, std::size_t at)
      : case_{named.make()}, fault_{fault}, at_{at}, child_{start()} {}

  /// False if there were fewer calls: the clean run.
  [[nodiscard]] bool go(CallTally& tally) {
    const Left before{child_.pid()};
    const auto stop = run_with_fault();
    if (!hit_) {
      if (!stop || *stop != Stop::mark || outcomes_->failed.kind != Outcome::Kind::ok)
        tally.wrong.push_back("the clean run: " + (stop ? outcomes_->failed.to_string() : stop.error().text));
      if (fault_.kind == Fault::Kind::kill) tally.calls = seen_;
      return false;
    }
    ++tally.runs;
    if (fault_.kind == Fault::Kind::kill) {
      ++tally.killed;
      child_.kill();
      note(tally, case_->after_death());
      return true;
    }
    if (!stop || *stop != Stop::mark) {
      note(tally, stop ? "ended the process" : stop.error().text);
      return true;
    }
    ++(outcomes_->failed.kind == Outcome::Kind::ok ? tally.absorbed : tally.reported);
    if (!fits(outcomes_->failed)) note(tally, outcomes_->failed.to_string());
    compare(tally, before, "");
    try_again(tally, before);
    return true;
  }

 private:
  SteppedChild start() {
    return SteppedChild::create(
               [this] {
                 outcomes_->first = outcome_of(*case_);
                 mark();
                 outcomes_->failed = outcome_of(*case_);
                 mark();
                 outcomes_->again = outcome_of(*case_);
                 mark();
               },
               deadline_in(20s))
        .value();
  }

  [[nodiscard]] bool applies(const Call& call) const {
    if (is_left_alone(call.number)) return false;
    return fault_.kind != Fault::Kind::short_count || Shortened::possible(child_.pid(), call);
  }

  /// To the second mark, or to the death.
  Result<Stop> run_with_fault() {
    if (outcomes_->first.kind != Outcome::Kind::ok)
      throw Failure{{ErrorKind::malformed, 0, "without any fault: " + outcomes_->first.to_string()}};
    for (;;) {
      const auto stop = child_.run_to_call();
      if (!stop || *stop != Stop::call) return stop;
      const auto call = child_.call().value();
      if (!call.entered || !applies(call) || ++seen_ != at_) continue;
      hit_ = call;
      if (fault_.kind == Fault::Kind::kill) return Stop::call;
      if (const auto left = let_fail(call); !left || *left != Stop::call) return left;
      return child_.run();
    }
  }

  Result<Stop> let_fail(const Call& call) {
    if (fault_.kind == Fault::Kind::short_count) {
      const Shortened shortened{child_, call};
      return child_.run_to_call();
    }
    if (!frees_anyway(call.number)) child_.skip_call();
    auto left = child_.run_to_call();
    if (left && *left == Stop::call) child_.set_result(-fault_.errnum);
    return left;
  }

  /// Whether that is a right answer to the fault.
  [[nodiscard]] bool fits(const Outcome& outcome) const {
    using Kind = Outcome::Kind;
    if (outcome.kind == Kind::ok) return true;
    if (fault_.kind == Fault::Kind::short_count) return false;
    if (fault_.errnum == EINTR && is_interruptible(hit_->number)) return false;
    if (outcome.kind == Kind::no_heap) return hit_->number == SYS_mmap;
    if (outcome.kind != Kind::error || outcome.text[0] == '\0') return false;
    if (outcome.error == ErrorKind::timed_out) return false;  // nothing there has to be waited for
    const bool limit = detail::system_error("", fault_.errnum).kind == ErrorKind::exhausted;
    return !limit || outcome.error == ErrorKind::exhausted;
  }

  void try_again(CallTally& tally, const Left& before) {
    const auto stop = child_.run();
    if (!stop || *stop != Stop::mark)
      return note(tally, "the next run: " + (stop ? "ended" : stop.error().text));
    if (outcomes_->again.kind != Outcome::Kind::ok)
      note(tally, "the next run: " + outcomes_->again.to_string());
    compare(tally, before, "after the next run: ");
  }

  void compare(CallTally& tally, const Left& before, const std::string& when) const {
    const Left after{child_.pid()};
    for (const auto& line : left_over(before.holdings, after.holdings)) note(tally, when + "left " + line);
    if (after.reserved > before.reserved) note(tally, when + "left reserved addresses");
  }

  void note(CallTally& tally, const std::string& what) const {
    if (what.empty()) return;
    tally.wrong.push_back("call " + std::to_string(at_) + " (number " + std::to_string(hit_->number) + "), " +
                          fault_.to_string() + ": " + what);
  }

  std::unique_ptr<FaultCase> case_;
  Fault fault_;
  std::size_t at_;
  SharedValue<Outcomes> outcomes_;
  SteppedChild child_;
  std::size_t seen_ = 0;
  std::optional<Call> hit_;
};

}  // namespace

void CallTally::print(const char* what) const {
  std::printf("calls of %-22s %3zu: %4zu faults, %4zu absorbed, %4zu reported, %3zu killed, %zu wrong\n",
              what, calls, runs, absorbed, reported, killed, wrong.size());
  std::fflush(stdout);
}

CallTally fail_each_call(const NamedCase& one) {
  CallTally tally;
  for (const Fault& fault : faults)
    for (std::size_t at = 1; Run{one, fault, at}.go(tally); ++at) {}
  return tally;
}

}  // namespace troupe::test
