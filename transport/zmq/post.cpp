// SPDX-License-Identifier: MIT
#include <troupe/zmq/post.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <future>
#include <limits>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/socket_channel.hpp>
#include <troupe/transport/syscall.hpp>
#include <troupe/zmq/bound_seat.hpp>
#include <troupe/zmq/doorman.hpp>
#include <troupe/zmq/whereabouts.hpp>

namespace troupe::zmq::detail {
namespace {

// Of the process itself, so global by nature. The lock is held over each fork: a child begins without a post.
struct Registry {
  std::mutex lock;
  std::weak_ptr<Post> current{};
};
Registry& registry() {
  static Registry instance;
  return instance;
}
void before_fork() { registry().lock.lock(); }
void after_fork_in_parent() { registry().lock.unlock(); }
void after_fork_in_child() {
  registry().current.reset();
  registry().lock.unlock();
}
Registry& watched_registry() {
  static const int registered = ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  TROUPE_ASSERT(registered == 0);
  return registry();
}

tl::unexpected<Error> zmq_failure(const std::string& what, const ::zmq::error_t& error) {
  return tl::unexpected<Error>{
      Error{error.num() == EMFILE || error.num() == ENOMEM ? ErrorKind::exhausted : ErrorKind::system,
            error.num(), what + ": " + error.what()}};
}

/// Gives the calling thread a descriptor table of its own, with nothing in it but these two, and /dev/null
/// where the standard ones are: a copy of the program's would keep its pipes open.
Result<void> leave_descriptor_table(int one, int other) {
  const auto low = static_cast<unsigned>(std::min(one, other));
  const auto high = static_cast<unsigned>(std::max(one, other));
  constexpr auto all = std::numeric_limits<unsigned>::max();
  if (::close_range(high + 1, all, CLOSE_RANGE_UNSHARE) == -1)
    return troupe::detail::system_failure("a descriptor table for ZeroMQ's threads");
  if (low > STDERR_FILENO + 1) ::close_range(STDERR_FILENO + 1, low - 1, 0);
  if (high > low + 1) ::close_range(low + 1, high - 1, 0);
  ::close_range(0, STDERR_FILENO, 0);
  for (int fd = 0; fd <= STDERR_FILENO; ++fd)
    if (::open("/dev/null", O_RDWR | O_CLOEXEC) != fd)
      return troupe::detail::system_failure("open /dev/null");
  return {};
}

// What libzmq opens at most for a context with its first socket; and for a seat with one connection, its
// monitor, and two processes to watch.
constexpr std::size_t context_descriptors = 12;
constexpr std::size_t seat_descriptors = 12;

/// Whether that many descriptors are to be had in the calling thread's table. libzmq ends the process where
/// it finds none in the middle of something (docs/zmq.md), so it is asked before.
Result<void> check_room(int any, std::size_t descriptors) {
  std::vector<OwnedFd> taken;
  while (taken.size() < descriptors) {
    auto one = troupe::detail::copied(any, "descriptors for ZeroMQ: " + std::to_string(descriptors) +
                                               " are wanted; try a larger ulimit -n");
    if (!one) return failure(std::move(one));
    taken.push_back(std::move(*one));
  }
  return {};
}

/// For the life of a thread's start: nobody's signal handler is to run on it.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

struct Post::Impl {
  // The program's side.
  OwnedFd bell;
  SocketChannel hands_over;  ///< descriptors, to the post's thread
  std::mutex handing_over;
  std::mutex jobs_lock;
  std::vector<std::packaged_task<void()>> jobs{};
  std::atomic<bool> stops{false};

  // The post's own, numbers in its table.
  int own_bell = -1;
  SocketChannel takes_over;
  std::optional<::zmq::context_t> context{};
  std::optional<Doorman> doorman{};
  std::vector<std::unique_ptr<BoundSeat>> seats{};
  std::uint64_t seats_made = 0;

  std::thread thread;

  Result<void> start();
  Result<void> move_in();
  void run();
  void work();
  void do_jobs();
  void wait(bool more);
};

Result<void> Post::Impl::start() {
  auto made = create_bell();
  if (!made) return failure(std::move(made));
  bell = std::move(*made);
  auto pair = SocketChannel::create_pair();
  if (!pair) return failure(std::move(pair));
  hands_over = std::move(pair->first);
  std::promise<Result<void>> begun;
  // The thread closes its copy; the program's own is closed here.
  auto far_end = std::make_shared<SocketChannel>(std::move(pair->second));
  const int far = far_end->descriptor();
  try {
    const SignalsBlocked none_of_its_business;
    thread = std::thread{[this, far, &begun] {
      own_bell = bell.get();
      auto alone = leave_descriptor_table(own_bell, far);
      if (alone) {
        takes_over = SocketChannel{OwnedFd{far}};
        alone = move_in();
      }
      const bool works = alone.has_value();
      if (!works) takes_over = SocketChannel{};  // a number of this thread's table
      begun.set_value(std::move(alone));
      if (works) run();
    }};
  } catch (const std::system_error& error) {
    return tl::unexpected<Error>{troupe::detail::system_error("a thread for ZeroMQ", error.code().value())};
  }
  auto result = begun.get_future().get();
  if (!result) thread.join();
  return result;
}

Result<void> Post::Impl::move_in() {
  if (auto room = check_room(own_bell, context_descriptors); !room) return room;
  try {
    context.emplace();
    doorman.emplace(*context);
  } catch (const ::zmq::error_t& error) {
    return zmq_failure("a ZeroMQ context", error);
  }
  return {};
}

void Post::Impl::run() {
  work();
  seats.clear();
  doorman.reset();
  context.reset();  // returns when nothing lingers any more, which is bounded for each socket
  takes_over = SocketChannel{};
  ::close(own_bell);
}

void Post::Impl::work() {
  for (bool more = false; !stops.load();) {
    wait(more);
    do_jobs();
    doorman->answer_all();
    more = false;
    for (const auto& seat : seats) more |= seat->serve();
  }
  do_jobs();
}

void Post::Impl::wait(bool more) {
  std::vector<::zmq::pollitem_t> items{{nullptr, own_bell, ZMQ_POLLIN, 0},
                                       {doorman->handle(), 0, ZMQ_POLLIN, 0}};
  TimePoint due = never;
  for (const auto& seat : seats) {
    seat->add_to(items);
    due = std::min(due, seat->due());
  }
  const int timeout = more ? 0 : troupe::detail::poll_timeout(due);
  ::zmq_poll(items.data(), static_cast<int>(items.size()), timeout);  // interrupted: looked at all the same
  eventfd_t count = 0;
  if ((items.front().revents & ZMQ_POLLIN) != 0) ::eventfd_read(own_bell, &count);
}

void Post::Impl::do_jobs() {
  std::vector<std::packaged_task<void()>> now;
  {
    const std::lock_guard lock{jobs_lock};
    now.swap(jobs);
  }
  for (auto& job : now) job();
}

Post::Post(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}

Result<std::shared_ptr<Post>> Post::of_this_process() {
  Registry& own = watched_registry();
  const std::lock_guard lock{own.lock};
  if (auto current = own.current.lock()) return current;
  const auto here = find_whereabouts();
  if (!here) return tl::unexpected<Error>{here.error()};
  keep_whereabouts(*here);
  auto impl = std::make_unique<Impl>();
  if (auto started = impl->start(); !started) return failure(std::move(started));
  std::shared_ptr<Post> made{new Post{std::move(impl)}};
  own.current = made;
  return made;
}

Post::~Post() {
  if (guard_.forked()) {
    // Its threads are the parent's. What they had in hand is left as it is.
    static_cast<void>(impl_.release());
    return;
  }
  impl_->stops = true;
  ring(impl_->bell.get());
  impl_->thread.join();
}

void Post::run(const std::function<void()>& job) {
  std::packaged_task<void()> task{job};
  auto done = task.get_future();
  {
    const std::lock_guard lock{impl_->jobs_lock};
    impl_->jobs.push_back(std::move(task));
  }
  ring(impl_->bell.get());
  done.get();
}

Result<Booking> Post::admit(Guest& guest, const SocketSpec& spec) {
  if (auto own = guard_.check("ZeroMQ socket"); !own) return failure(std::move(own));
  Result<Seat*> made = nullptr;
  run([&] {
    if (auto room = check_room(impl_->own_bell, seat_descriptors); !room) {
      made = failure(std::move(room));
      return;
    }
    try {
      const std::string domain = std::to_string(++impl_->seats_made);
      impl_->seats.push_back(std::make_unique<BoundSeat>(*impl_->context, *impl_->doorman, guest, spec,
                                                         impl_->own_bell, domain));
      made = impl_->seats.back().get();
      guest.on_seated(**made);
    } catch (const ::zmq::error_t& error) {
      made = zmq_failure(spec.endpoint, error);
    }
  });
  if (!made) return failure(std::move(made));
  return Booking{shared_from_this(), **made};
}

void Post::dismiss(Seat& seat) {
  run([&] { std::erase_if(impl_->seats, [&](const auto& one) { return one.get() == &seat; }); });
}

Result<int> Post::lend(int fd) {
  const std::lock_guard lock{impl_->handing_over};
  if (auto sent = impl_->hands_over.send({}, {&fd, 1}, Clock::now()); !sent) return failure(std::move(sent));
  Result<int> lent = -1;
  run([&] {
    auto packet = impl_->takes_over.receive({}, Clock::now());
    if (packet && packet->descriptors.size() == 1)
      lent = packet->descriptors.front().release();
    else
      lent = packet ? Result<int>{failure(ErrorKind::exhausted, "no descriptor came")}
                    : failure(std::move(packet));
  });
  return lent;
}

void Post::give_back(int lent) {
  run([&] { ::close(lent); });
}

Booking& Booking::operator=(Booking&& other) noexcept {
  std::swap(post_, other.post_);
  std::swap(seat_, other.seat_);
  return *this;
}

Booking::~Booking() {
  if (seat_ != nullptr && !guard_.forked()) post_->dismiss(*seat_);
}

Result<ReadySign> ReadySign::create(std::shared_ptr<Post> post) {
  auto bell = create_bell();
  if (!bell) return failure(std::move(bell));
  auto lent = post->lend(bell->get());
  if (!lent) return failure(std::move(lent));
  ReadySign sign;
  sign.post_ = std::move(post);
  sign.bell_ = std::move(*bell);
  sign.lent_ = *lent;
  return sign;
}

ReadySign& ReadySign::operator=(ReadySign&& other) noexcept {
  std::swap(post_, other.post_);
  std::swap(bell_, other.bell_);
  std::swap(lent_, other.lent_);
  std::swap(up_, other.up_);
  return *this;
}

ReadySign::~ReadySign() {
  if (lent_ != -1 && !guard_.forked()) post_->give_back(lent_);
}

void ReadySign::raise() noexcept {
  if (!std::exchange(up_, true)) ring(lent_);
}

void ReadySign::lower() noexcept {
  eventfd_t count = 0;
  if (std::exchange(up_, false)) ::eventfd_read(bell_.get(), &count);
}

}  // namespace troupe::zmq::detail
