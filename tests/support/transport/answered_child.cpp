// SPDX-License-Identifier: MIT
#include "answered_child.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <system_error>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {
namespace {

constexpr int threw = 99;

/// What the kernel does not ask about: what cannot fail (getrandom, of so few bytes), what frees anyway, and
/// brk, which reports by another way.
constexpr std::array left_alone{SYS_futex,           SYS_exit,         SYS_exit_group,
                                SYS_close,           SYS_munmap,       SYS_brk,
                                SYS_getpid,          SYS_gettid,       SYS_getppid,
                                SYS_getuid,          SYS_tgkill,       SYS_rt_sigreturn,
                                SYS_rt_sigprocmask,  SYS_rt_sigaction, SYS_rseq,
                                SYS_set_robust_list, SYS_sched_yield,  SYS_restart_syscall,
                                SYS_getrandom};

template <std::size_t size>
bool is_one_of(long number, const std::array<long, size>& list) noexcept {
  return std::find(list.begin(), list.end(), number) != list.end();
}

bool moves_bytes(long number) noexcept {
  constexpr std::array<long, 11> list{SYS_read,    SYS_write,    SYS_readv,     SYS_writev,
                                      SYS_pread64, SYS_pwrite64, SYS_sendto,    SYS_recvfrom,
                                      SYS_sendmsg, SYS_recvmsg,  SYS_getdents64};
  return is_one_of(number, list);
}

bool waits(long number) noexcept {
#if defined(SYS_poll)
  if (number == SYS_poll || number == SYS_epoll_wait) return true;
#endif
  constexpr std::array<long, 7> list{SYS_ppoll,  SYS_epoll_pwait, SYS_epoll_pwait2, SYS_waitid,
                                     SYS_openat, SYS_connect,     SYS_accept4};
  return is_one_of(number, list) || number == SYS_accept;
}

bool makes_descriptors(long number) noexcept {
  constexpr std::array<long, 12> list{SYS_openat,     SYS_socket,   SYS_socketpair,    SYS_accept,
                                      SYS_accept4,    SYS_fcntl,    SYS_dup,           SYS_pipe2,
                                      SYS_pidfd_open, SYS_eventfd2, SYS_epoll_create1, SYS_memfd_create};
  return is_one_of(number, list);
}

bool is_of_sockets(long number) noexcept {
  constexpr std::array<long, 11> list{SYS_socket,  SYS_bind,     SYS_listen,    SYS_accept,
                                      SYS_accept4, SYS_connect,  SYS_sendmsg,   SYS_recvmsg,
                                      SYS_sendto,  SYS_recvfrom, SYS_setsockopt};
  return is_one_of(number, list);
}

bool makes_threads(long number) noexcept { return number == SYS_clone || number == SYS_clone3; }

/// Asks about everything but left_alone.
std::vector<sock_filter> filter_program() {
  std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const long number : left_alone) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  return program;
}

/// For all threads of this process from now on. The listener's number, or -errno.
int install_filter() {
  const rlimit no_cores{};
  ::setrlimit(RLIMIT_CORE, &no_cores);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1) return -errno;
  auto program = filter_program();
  const sock_fprog whole{static_cast<unsigned short>(program.size()), program.data()};
  const long listener =
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &whole);
  return listener == -1 ? -errno : static_cast<int>(listener);
}

/// Whether it rings an eventfd, of the calling thread's own table: the kernel has no way to refuse that, but
/// to those that ring it 2^64 times.
bool is_ring(const seccomp_notif& asked) {
  if (asked.data.nr != SYS_write) return false;
  const auto link = "/proc/" + std::to_string(asked.pid) + "/fd/" + std::to_string(asked.data.args[0]);
  std::error_code gone;
  return std::filesystem::read_symlink(link, gone) == "anon_inode:[eventfd]";
}

/// What a thread is about to write to its standard error; empty for another call.
std::string words_in(const seccomp_notif& asked) {
  constexpr std::size_t text_bytes_max = 500;
  if (asked.data.nr != SYS_write || asked.data.args[0] != STDERR_FILENO) return {};
  std::string text(std::min<std::size_t>(asked.data.args[2], text_bytes_max), '\0');
  const iovec here{text.data(), text.size()};
  const iovec there{reinterpret_cast<void*>(asked.data.args[1]), text.size()};
  const auto read = ::process_vm_readv(static_cast<pid_t>(asked.pid), &here, 1, &there, 1, 0);
  text.resize(read == -1 ? 0 : static_cast<std::size_t>(read));
  return text;
}

}  // namespace

CountedCalls::Excuse::Excuse(CountedCalls& calls) noexcept : calls_{calls} { calls_.excused_ = ::gettid(); }

bool can_fail_with(long number, int errnum) noexcept {
  if (std::find(left_alone.begin(), left_alone.end(), number) != left_alone.end()) return false;
  switch (errnum) {
    case EINTR: return moves_bytes(number) || waits(number);
    case EAGAIN: return moves_bytes(number) || makes_threads(number);
    case EMFILE:
    case ENFILE: return makes_descriptors(number);
    case ENOBUFS: return is_of_sockets(number);
    case EIO: return moves_bytes(number) || number == SYS_openat;
    default: return true;
  }
}

int AnsweredChild::begin(Told& told, OwnedFd& gate, const std::function<int(CountedCalls&)>& body) {
  told.listener = install_filter();
  gate.reset();  // which is none of the calls that the test is asked about
  if (told.listener < 0) return threw;
  ::getpgid(0);  // answered once the test has the listener, which it cannot get from a process that has ended
  return body(told.calls);
}

Result<AnsweredChild> AnsweredChild::create(const std::function<int(CountedCalls&)>& body,
                                            TimePoint deadline) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) == -1) return detail::system_failure("pipe2");
  const OwnedFd opened{ends[0]};
  OwnedFd gate{ends[1]};
  auto told = std::make_unique<SharedValue<Told>>();
  Forked child{[&] { return begin(**told, gate, body); }};
  AnsweredChild made{std::move(told), std::move(child)};
  gate.reset();
  if (!detail::wait_readable(opened.get(), deadline)) return failure(ErrorKind::timed_out, "a filter");
  const int listener = (*made.told_)->listener;
  if (listener < 0)
    return failure(ErrorKind::refused, "seccomp: " + detail::system_error("", -listener).text);
  made.listener_ =
      OwnedFd{static_cast<int>(::syscall(SYS_pidfd_getfd, made.child_.descriptor(), listener, 0))};
  if (!made.listener_) return failure(ErrorKind::refused, detail::system_error("pidfd_getfd", errno).text);
  return made;
}

AnsweredChild::End AnsweredChild::run(const Fault& fault, TimePoint deadline) {
  End end;
  for (;;) {
    std::array<pollfd, 2> watched{{{child_.descriptor(), POLLIN, 0}, {listener_.get(), POLLIN, 0}}};
    const int ready = ::poll(watched.data(), watched.size(), detail::poll_timeout(deadline));
    if (ready == 0 || watched[0].revents != 0) break;
    if ((watched[1].revents & POLLIN) != 0) answer_one(fault, end);
    if (watched[1].revents == POLLHUP) listener_.reset();  // none of its threads is left to ask
  }
  end.status = child_.wait(Clock::now());
  if (!end.status) child_.kill();
  return end;
}

void AnsweredChild::answer_one(const Fault& fault, End& end) {
  seccomp_notif asked{};
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &asked) == -1) return;  // it was killed meanwhile
  seccomp_notif_resp answer{asked.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  const long number = asked.data.nr;
  if (const auto words = words_in(asked); !words.empty()) {
    end.last_words += words;
    answer = {asked.id, static_cast<std::int64_t>(asked.data.args[2]), 0, 0};
  } else if ((*told_)->calls.count(static_cast<pid_t>(asked.pid)) && !is_ring(asked)) {
    if (end.calls.size() < calls_max) end.calls.push_back(number);
    if (can_fail_with(number, fault.errnum) && ++applicable_ == fault.at) {
      end.failed = number;
      answer = {asked.id, 0, -fault.errnum, 0};
    }
  }
  ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

}  // namespace troupe::test
