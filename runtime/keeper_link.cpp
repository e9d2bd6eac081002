// SPDX-License-Identifier: MIT
#include <troupe/runtime/keeper_link.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>
#include <troupe/runtime/child_main.hpp>
#include <troupe/runtime/keeper.hpp>
#include <troupe/runtime/launcher.hpp>
#include <troupe/transport/queue_items.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;

constexpr auto answer_within =
    30s;  ///< the keeper answers in microseconds; this is a guard against a stopped one

/// The process's one link. Guarded by `making`.
struct Links {
  std::mutex making;
  std::unique_ptr<KeeperLink> link;
  std::uint64_t generation = 0;
};
Links& links() {
  static Links instance;
  return instance;
}

std::atomic<bool> is_fork{false};

std::string all_variables() {
  std::string text;
  for (const std::string& one : environment(role_variable)) {
    text += one;
    text += '\0';
  }
  return text;
}

std::string identity_of(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) == -1) return "-";
  const int offset_flags = ::fcntl(fd, F_GETFL);
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) + ":" +
         std::to_string(offset_flags);
}

/// Looked up, since umask(2) can only be read by setting it, which other threads would notice.
mode_t current_umask() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("Umask:")) return static_cast<mode_t>(std::stoul(line.substr(6), nullptr, 8));
  return 022;
}

/// A borrowed standard descriptor, or /dev/null where it is closed.
int standard_or(int fd, int otherwise) { return ::fcntl(fd, F_GETFD) == -1 ? otherwise : fd; }

Result<OwnedFd> environment_file(const std::string& text) {
  auto file = create_memory("troupe-environment", std::max<std::size_t>(text.size(), 1));
  if (file && ::pwrite(file->get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    return system_failure("write shared memory");
  return file;
}

}  // namespace

Error keeper_is_gone() {
  return {
      ErrorKind::down, 0,
      "keeper: it has ended, and with it every process that it had started; try starting the program again"};
}

Result<void> check_answer(std::span<const std::byte> packet, std::size_t record_bytes) {
  const auto answer = control::read<control::Answer>(packet);
  if (!answer) return failure(ErrorKind::malformed, "keeper: an answer cut short");
  if (!answer->ok)
    return tl::unexpected<Error>{Error{answer->error, answer->errnum, std::string{answer->text.view()}}};
  if (packet.size() != sizeof(control::Answer) + record_bytes)
    return failure(ErrorKind::malformed, "keeper: an answer of the wrong size");
  return {};
}

Result<KeeperLink*> KeeperLink::of_process() {
  if (is_fork.load())
    return failure(
        ErrorKind::refused,
        "keeper: a process made by fork cannot use its parent's; try troupe::Process instead of fork");
  const std::lock_guard lock{links().making};
  if (!links().link) {
    auto made = create();
    if (!made) return failure(std::move(made));
    links().link = std::move(*made);
    links().link->generation_ = ++links().generation;
    present_generation.store(links().generation, std::memory_order_release);
  }
  return links().link.get();
}

void KeeperLink::end(Duration within) {
  const std::lock_guard lock{links().making};
  if (!links().link || own_start() != nullptr) return;
  present_generation.store(0, std::memory_order_release);
  links().link->own_ = SocketChannel{};
  [[maybe_unused]] const bool ended = wait_readable(links().link->keeper_pidfd_.get(), deadline_in(within));
  links().link.reset();
}

/// A plain fork's child shares sockets with its parent: whatever it said there would be taken for its
/// parent's word.
void KeeperLink::forked() {
  is_fork.store(true);
  present_generation.store(0);
}

Result<std::unique_ptr<KeeperLink>> KeeperLink::create() {
  static const int registered = ::pthread_atfork(nullptr, nullptr, forked);
  TROUPE_ASSERT(registered == 0);
  std::unique_ptr<KeeperLink> link{new KeeperLink};
  if (const control::Start* const start = own_start()) {
    link->keeper_pid_ = static_cast<int>(start->keeper_pid);
  } else {
    auto keeper = launch_keeper();
    if (!keeper) return failure(std::move(keeper));
    link->own_ = std::move(keeper->channel);
    link->keeper_pidfd_ = std::move(keeper->pidfd);
    link->keeper_pid_ = keeper->pid;
    link->threads_at_start_ = keeper->threads;
    link->environment_at_start_ = all_variables();
  }
  if (auto attached = link->attach(); !attached) return failure(std::move(attached));
  return link;
}

Result<void> KeeperLink::attach() {
  auto answer = ask<control::Attached>(control::Attach{});
  if (!answer) return failure(std::move(answer));
  const bool keeps = answer->record.kept_bytes != 0;
  if (answer->descriptors.size() != (keeps ? 4U : 3U) || answer->record.notice >= control::notice_words)
    return failure(ErrorKind::malformed, "keeper: an answer without its descriptors");
  attached_ = answer->record;
  bell_ = std::move(answer->descriptors[0]);
  reader_file_ = std::move(answer->descriptors[1]);
  auto map = MemoryMap::create(answer->descriptors[2].get(), control::notice_words * sizeof(lane::Word),
                               Access::read);
  if (!map) return failure(std::move(map));
  notice_map_ = std::move(*map);
  notice_ = reinterpret_cast<const lane::Word*>(notice_map_.data()) + attached_.notice;
  if (keeps) state_file_ = std::move(answer->descriptors[3]);
  return {};
}

const SocketChannel& KeeperLink::channel() const noexcept { return own_ ? own_ : own_channel(); }

Result<SocketChannel::Packet> KeeperLink::exchange(std::span<const std::byte> request,
                                                   std::span<const std::byte> tail,
                                                   std::span<const int> descriptors,
                                                   std::span<std::byte> answer) {
  if (is_fork.load())
    return failure(ErrorKind::refused, "keeper: a process made by fork cannot use its parent's");
  const std::lock_guard lock{asking_};
  const TimePoint deadline = deadline_in(answer_within);
  const control::Heading heading{++last_number_};
  if (auto sent = channel().send(control::packet_of(heading, request, tail), descriptors, deadline); !sent) {
    if (sent.error().kind == ErrorKind::closed) return tl::unexpected<Error>{keeper_is_gone()};
    return failure(std::move(sent));
  }
  for (;;) {
    auto packet = channel().receive(answer, deadline);
    if (!packet && packet.error().kind == ErrorKind::closed) return tl::unexpected<Error>{keeper_is_gone()};
    if (!packet) return packet;
    const auto head = control::read<control::Answer>(answer.first(packet->bytes));
    if (head && head->number == heading.number) return packet;  // else: late, to a question that was given up
  }
}

KeeperLink::Woken KeeperLink::wait_bell(TimePoint deadline) {
  struct Own {
    std::uint64_t generation = 0;
    std::optional<BellWaiter> waiter{};
  };
  thread_local Own own;  // each thread sleeps on the bell by itself: an edge wakes all of them
  if (own.generation != generation_) {
    auto made = BellWaiter::create(bell_.get());
    if (!made) return Woken::rung;
    if (keeper_pidfd_)
      if (auto watched = made->watch(keeper_pidfd_.get()); !watched) return Woken::rung;
    own.waiter.emplace(std::move(*made));
    own.generation = generation_;
    return Woken::rung;  // the bell may have rung before it was watched
  }
  switch (own.waiter->wait(deadline)) {
    case BellWaiter::Woken::bell: return Woken::rung;
    case BellWaiter::Woken::watched: return Woken::keeper_gone;
    case BellWaiter::Woken::deadline: return Woken::deadline;
  }
  std::abort();
}

Result<std::uint64_t> KeeperLink::surroundings() {
  const std::lock_guard lock{surrounding_};
  const auto folder = owned(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), "open the current folder");
  if (!folder) return tl::unexpected<Error>{folder.error()};
  const std::string variables = all_variables();
  const bool own_environment = variables != environment_at_start_;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  std::string key = identity_of(folder->get()) + "," + identity_of(0) + "," + identity_of(1) + "," +
                    identity_of(2) + "," + std::to_string(current_umask()) + "," +
                    std::to_string(limit.rlim_cur);
  if (own_environment) key += variables;
  if (key == surroundings_key_) return surroundings_id_;

  const auto null = owned(::open("/dev/null", O_RDWR | O_CLOEXEC), "open /dev/null");
  if (!null) return tl::unexpected<Error>{null.error()};
  std::vector<int> descriptors{folder->get(), standard_or(0, null->get()), standard_or(1, null->get()),
                               standard_or(2, null->get())};
  OwnedFd file;
  if (own_environment) {
    auto made = environment_file(variables);
    if (!made) return failure(std::move(made));
    file = std::move(*made);
    descriptors.push_back(file.get());
  }
  const control::Surroundings request{
      .umask = current_umask(), .descriptors_soft_max = limit.rlim_cur, .own_environment = own_environment};
  auto answer = ask<control::Id>(request, {}, descriptors);
  if (!answer) return failure(std::move(answer));
  surroundings_key_ = std::move(key);
  surroundings_id_ = answer->record.id;
  return surroundings_id_;
}

void KeeperLink::forget_surroundings(std::uint64_t id) {
  const std::lock_guard lock{surrounding_};
  if (surroundings_id_ == id) surroundings_key_.clear();
}

// ---- items of queues, for the transport -------------------------------------------------------------------

Result<std::uint32_t> deposit_item(const ItemPlace& place, std::span<const int> descriptors) {
  auto link = KeeperLink::of_process();
  if (!link) return failure(std::move(link));
  std::vector<int> all{place.queue};
  all.insert(all.end(), descriptors.begin(), descriptors.end());
  auto kept =
      (*link)->ask<control::Id>(control::ItemDeposit{.lane = place.lane, .number = place.number}, {}, all);
  if (!kept) return failure(std::move(kept));
  return static_cast<std::uint32_t>(kept->record.id);
}

Result<std::vector<OwnedFd>> withdraw_item(const ItemPlace& place) {
  auto link = KeeperLink::of_process();
  if (!link) return failure(std::move(link));
  auto answer = (*link)->ask<control::Id>(control::ItemWithdraw{.lane = place.lane, .number = place.number},
                                          {}, std::span{&place.queue, 1});
  if (!answer) return failure(std::move(answer));
  if (answer->record.id == 0)
    return failure(
        ErrorKind::refused,
        "queue: this item's descriptors are not with this program's keeper; they can be had by the "
        "processes of the program that put it");
  if (answer->record.id != answer->descriptors.size())
    return failure(ErrorKind::exhausted,
                   "queue: no room for the descriptors of an item; raise the limit of "
                   "open files (ulimit -n)");
  return std::move(answer->descriptors);
}

/// A process that never spoke with a keeper has nothing to say now.
void look_at_items(int queue) noexcept {
  if (KeeperLink::current_generation() == 0) return;
  if (auto link = KeeperLink::of_process()) [[maybe_unused]]
    const auto told = (*link)->tell(control::ItemsDone{}, std::span{&queue, 1});
}

}  // namespace troupe::detail
