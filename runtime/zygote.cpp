// SPDX-License-Identifier: MIT
#include <troupe/runtime/zygote.hpp>

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <troupe/runtime/child_main.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;

/// Where glibc keeps the thread id and the robust list of this, the only, thread. A raw clone
/// leaves both stale in the child unless they are handed over: robust mutexes would never be released.
struct ThreadWords {
  int* tid = nullptr;
  robust_list_head* robust = nullptr;
  std::size_t robust_bytes = 0;
};

ThreadWords thread_words() {
  ThreadWords words;
  ::prctl(PR_GET_TID_ADDRESS, &words.tid);
  ::syscall(SYS_get_robust_list, 0, &words.robust, &words.robust_bytes);
  return words;
}

long clone_child(int* pidfd, const ThreadWords& words) {
  constexpr unsigned long flags =
      CLONE_PARENT | CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
#if defined(__aarch64__)
  return ::syscall(SYS_clone, flags, nullptr, pidfd, nullptr, words.tid);
#else
  return ::syscall(SYS_clone, flags, nullptr, pidfd, words.tid, nullptr);
#endif
}

void serve(const SocketChannel& keeper, const ThreadWords& words, std::span<const std::byte> packet,
           std::vector<OwnedFd> fds) {
  const auto start = control::read<control::Start>(packet);
  if (!start) return;
  auto descriptors = split(*start, std::move(fds), true);
  if (!descriptors || packet.size() != sizeof(control::Start) + start->argument_bytes) {
    const control::Started refused{
        .incarnation = start->incarnation, .child = start->child, .errnum = EPROTO};
    [[maybe_unused]] const auto sent = keeper.send(control::bytes_of(refused), {}, deadline_in(30s));
    return;
  }
  int pidfd = -1;
  const long pid = clone_child(&pidfd, words);
  if (pid == 0) {
    ::syscall(SYS_set_robust_list, words.robust, words.robust_bytes);
    run_child(*start, packet.subspan(sizeof(control::Start)), std::move(*descriptors));
  }
  const int error = pid == -1 ? errno : 0;
  const OwnedFd handle{pidfd};
  const control::Started started{.incarnation = start->incarnation,
                                 .child = start->child,
                                 .pid = static_cast<std::int32_t>(pid),
                                 .errnum = error};
  const std::span<const int> descriptor = pid == -1 ? std::span<const int>{} : std::span{&pidfd, 1};
  [[maybe_unused]] const auto sent = keeper.send(control::bytes_of(started), descriptor, deadline_in(30s));
}

}  // namespace

void run_zygote(SocketChannel keeper) {
  ::prctl(PR_SET_NAME, "troupe:zygote");
  const ThreadWords words = thread_words();
  std::vector<std::byte> buffer(SocketChannel::packet_bytes_max);
  for (;;) {
    auto packet = keeper.receive(buffer, never);
    if (packet)
      serve(keeper, words, {buffer.data(), packet->bytes}, std::move(packet->descriptors));
    else if (packet.error().kind == ErrorKind::closed)
      ::_exit(0);
  }
}

}  // namespace troupe::detail
