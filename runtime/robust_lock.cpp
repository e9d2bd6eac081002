// SPDX-License-Identifier: MIT
#include <troupe/runtime/robust_lock.hpp>

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

// Of <linux/threads.h>, the kernel's: PID_MAX_LIMIT where a pointer has 64 bits. No thread has a higher
// number.
constexpr std::uint32_t thread_number_max = 4U << 20U;
/// Written as the owner of a lock that nobody is to have any more.
constexpr std::uint32_t given_up = FUTEX_TID_MASK;

/// How the C library links: what points to it lies one word before what it points to.
struct Link {
  robust_list* before;
  robust_list entry;
};
Link& link_of(robust_list* entry) noexcept {
  return *reinterpret_cast<Link*>(reinterpret_cast<std::byte*>(entry) - offsetof(Link, entry));
}
/// The lowest bit says that a lock inherits priorities, and is no part of the address.
robust_list* without_flag(robust_list* entry) noexcept {
  return reinterpret_cast<robust_list*>(reinterpret_cast<std::uintptr_t>(entry) & ~std::uintptr_t{1});
}

/// The calling thread, as the C library and the kernel see it. Both places stay where they are over a fork,
/// and hold the child's values then.
struct Thread {
  robust_list_head* head = nullptr;
  const volatile pid_t* number = nullptr;  ///< null: only the kernel says
};

Thread find_thread() noexcept {
  Thread thread;
  std::size_t bytes = 0;
  pid_t* number = nullptr;
  ::syscall(SYS_get_robust_list, 0, &thread.head, &bytes);
  if (::prctl(PR_GET_TID_ADDRESS, &number) == 0 && number != nullptr && *number == ::gettid())
    thread.number = number;
  return thread;
}

const Thread& own_thread() noexcept {
  thread_local constinit Thread own{};
  if (own.head == nullptr) own = find_thread();
  return own;
}

std::uint32_t number_of(const Thread& thread) noexcept {
  return static_cast<std::uint32_t>(thread.number != nullptr ? *thread.number : ::gettid());
}

/// A store that is there before what follows, as a kernel sees it that ends this thread in between.
template <class T>
void store_for_kernel(T& where, T value) noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const_cast<volatile T&>(where) = value;
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

/// While the word and the list may disagree, the kernel is told which lock this is about. It then also wakes
/// somebody else in place of a thread that was woken, and ended before it had the lock.
class Pending {
 public:
  Pending(const Thread& thread, robust_list* entry) noexcept : head_{*thread.head} {
    store_for_kernel(head_.list_op_pending, entry);
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  ~Pending() { store_for_kernel(head_.list_op_pending, static_cast<robust_list*>(nullptr)); }

 private:
  robust_list_head& head_;
};

void put_in_list(const Thread& thread, robust_list* entry) noexcept {
  robust_list* const next = thread.head->list.next;
  store_for_kernel(link_of(without_flag(next)).before, entry);
  store_for_kernel(entry->next, next);
  store_for_kernel(link_of(entry).before, &thread.head->list);
  store_for_kernel(thread.head->list.next, entry);
}

void take_from_list(robust_list* entry) noexcept {
  robust_list* const next = entry->next;
  robust_list* const before = link_of(entry).before;
  store_for_kernel(link_of(without_flag(next)).before, before);
  store_for_kernel(without_flag(before)->next, next);
}

long distance_of_word() noexcept { return own_thread().head->futex_offset; }

/// A robust pthread mutex, locked, must stand in the list as ours would.
bool lists_are_as_known() noexcept {
  const Thread& thread = own_thread();
  if (thread.head == nullptr) return false;
  const long distance = -thread.head->futex_offset;
  constexpr long room = sizeof(FutexWord) + sizeof(std::uint32_t) + offsetof(Link, entry);
  if (distance < room || distance % long{alignof(Link)} != 0) return false;
  pthread_mutexattr_t attributes;
  pthread_mutex_t probe;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutex_init(&probe, &attributes);
  ::pthread_mutex_lock(&probe);
  robust_list* const first = thread.head->list.next;
  const bool linked = reinterpret_cast<std::byte*>(first) == reinterpret_cast<std::byte*>(&probe) + distance;
  const bool known = linked && without_flag(link_of(first).before) == &thread.head->list &&
                     link_of(without_flag(first->next)).before == first;
  ::pthread_mutex_unlock(&probe);
  ::pthread_mutex_destroy(&probe);
  ::pthread_mutexattr_destroy(&attributes);
  return known;
}

/// The kernel sees to the end of a holder by itself. This is for a word that it did not find: one that was
/// scribbled on, or that was the 2049th lock of its holder.
bool is_nobody(std::uint32_t thread) noexcept {
  return ::kill(static_cast<pid_t>(thread), 0) == -1 && errno == ESRCH;
}

tl::unexpected<Error> not_taken(std::uint32_t owner, std::uint32_t self) {
  if (owner == self)
    return failure(ErrorKind::invalid, "lock: this thread holds it already; try a RecursiveMutex");
  if (owner == given_up)
    return failure(ErrorKind::down,
                   "lock: its holder died, and the next one did not say that it repaired "
                   "what it guards");
  return failure(ErrorKind::malformed, "lock: its word names thread " + std::to_string(owner) +
                                           ", and no thread can have that number");
}

}  // namespace

Result<void> check_robust_lists() {
  static const bool known = lists_are_as_known();
  if (known) return {};
  return failure(ErrorKind::system,
                 "lock: this C library keeps robust locks in a way that is not known here");
}

std::uint32_t own_thread_number() noexcept { return number_of(own_thread()); }

RobustLock::RobustLock(std::byte* page) noexcept
    : words_{reinterpret_cast<LockWords*>(page + words_offset)} {}

robust_list* RobustLock::link() const noexcept {
  return reinterpret_cast<robust_list*>(reinterpret_cast<std::byte*>(&words_->owner) - distance_of_word());
}

Result<RobustLock::Taken> RobustLock::lock(Deadline& deadline) const {
  const Thread& thread = own_thread();
  const std::uint32_t self = number_of(thread);
  const Pending pending{thread, link()};
  std::uint32_t nobody = 0;
  Result<Taken> taken{Taken::clean};
  if (!words_->owner.compare_exchange_strong(nobody, self, std::memory_order_acquire))
    taken = lock_contended(self, deadline);
  if (taken) put_in_list(thread, link());
  return taken;
}

Result<RobustLock::Taken> RobustLock::lock_contended(std::uint32_t self, Deadline& deadline) const {
  FutexWord& word = words_->owner;
  std::uint32_t waiters = 0;  // once this thread has slept, others may sleep whom its unlock has to wake
  for (std::uint32_t seen = word.load(std::memory_order_relaxed);;) {
    const std::uint32_t owner = seen & FUTEX_TID_MASK;
    if (owner == 0) {
      const std::uint32_t mine = self | waiters | (seen & FUTEX_WAITERS);
      if (word.compare_exchange_weak(seen, mine, std::memory_order_acquire, std::memory_order_relaxed))
        return (seen & FUTEX_OWNER_DIED) != 0 ? Taken::after_death : Taken::clean;
      continue;
    }
    if (owner == self || owner > thread_number_max) return not_taken(owner, self);
    if (deadline.is_over()) return failure(ErrorKind::timed_out, "lock: another holds it");
    const std::uint32_t waited = seen | FUTEX_WAITERS;
    if (seen != waited && !word.compare_exchange_weak(seen, waited, std::memory_order_relaxed)) continue;
    const TimePoint look = deadline_in(look_again_after);
    futex_wait(word, waited, std::min(deadline.at(), look));
    waiters = FUTEX_WAITERS;
    seen = word.load(std::memory_order_relaxed);
    if (seen == waited && Clock::now() >= look && is_nobody(owner))
      word.compare_exchange_strong(seen, FUTEX_WAITERS | FUTEX_OWNER_DIED, std::memory_order_relaxed);
  }
}

void RobustLock::unlock(Next next) const noexcept {
  const Pending pending{own_thread(), link()};
  take_from_list(link());
  const std::uint32_t left = next == Next::anybody ? 0 : given_up;
  const std::uint32_t was = words_->owner.exchange(left, std::memory_order_release);
  if ((was & FUTEX_WAITERS) != 0) futex_wake(words_->owner, next == Next::anybody ? 1 : everybody);
}

bool RobustLock::is_held_by(std::uint32_t thread) const noexcept {
  return (words_->owner.load(std::memory_order_relaxed) & FUTEX_TID_MASK) == thread;
}

bool RobustLock::is_held() const noexcept {
  const std::uint32_t owner = words_->owner.load(std::memory_order_relaxed) & FUTEX_TID_MASK;
  return owner != 0 && owner != given_up;
}

}  // namespace troupe::detail
