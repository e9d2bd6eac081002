// SPDX-License-Identifier: MIT
#include <troupe/zmq/link.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/transport/channel_layout.hpp>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/syscall.hpp>
#include <utility>

// The program's side of a link; the post's is link_peer.cpp.
namespace troupe::zmq::detail {
namespace {

// libzmq says full at less than its mark, and acknowledgements go the same way: well above a window, so that
// the window is what bounds.
constexpr std::size_t messages_a_frame = 4;
constexpr std::size_t slack_messages = 256;
constexpr std::size_t message_bytes_slack = 1024;

constexpr std::chrono::microseconds look_for_death_every{20};

tl::unexpected<Error> timed_out(const char* what) { return failure(ErrorKind::timed_out, what); }

}  // namespace

Result<void> Link::check(const ChannelOptions& options) {
  constexpr std::size_t most = std::size_t{1} << 30U;
  constexpr std::size_t most_frames = std::size_t{1} << 16U;
  if (options.window_frames_max == 0 || options.window_frames_max > most_frames)
    return failure(ErrorKind::invalid, "ZeroMQ channel: window_frames_max is from 1 to 65536");
  if (options.frame_bytes_max > most || options.window_bytes_max > most)
    return failure(ErrorKind::invalid, "ZeroMQ channel: frames and windows are at most 1 GiB");
  return {};
}

Link::Link(Role role, const ChannelOptions& options, Delivery delivery, const Line& line)
    : role_{role},
      options_{options},
      delivery_{delivery},
      line_{line},
      outbox_{delivery, {options.window_frames_max, options.window_bytes_max}},
      inbox_{delivery, {options.window_frames_max, options.window_bytes_max}} {}

Result<std::unique_ptr<Link>> Link::create(Role role, const std::string& endpoint,
                                           const ChannelOptions& options, Delivery delivery,
                                           const Line& line) {
  if (auto sound = check(options); !sound) return failure(std::move(sound));
  auto post = Post::of_this_process();
  if (!post) return failure(std::move(post));
  std::unique_ptr<Link> link{new Link{role, options, delivery, line}};
  auto sign = ReadySign::create(*post);
  if (!sign) return failure(std::move(sign));
  link->sign_ = std::move(*sign);
  auto place = troupe::detail::copied(link->sign_.descriptor(), "a place for a pidfd");
  if (!place) return failure(std::move(place));
  link->pidfd_ = std::move(*place);
  if (line.life != -1) {
    auto lent = (*post)->lend(line.life);
    if (!lent) return failure(std::move(lent));
    link->line_watch_ = *lent;
  }
  auto seat = (*post)->admit(
      *link, {.kind = role == Role::listening ? SocketSpec::Kind::listen : SocketSpec::Kind::connect,
              .endpoint = endpoint,
              .security = options.security,
              .message_bytes_max = options.frame_bytes_max + message_bytes_slack,
              .messages_max = messages_a_frame * options.window_frames_max + slack_messages});
  if (!seat && link->line_watch_ != -1) (*post)->give_back(link->line_watch_);
  if (!seat) return failure(std::move(seat));
  link->booking_ = std::move(*seat);
  return link;
}

Result<std::unique_ptr<Link>> Link::listen(const std::string& endpoint, const ChannelOptions& options,
                                           Delivery delivery, const Line& line) {
  auto place = Place::create(endpoint, options.security);
  if (!place) return failure(std::move(place));
  auto link = create(Role::listening, place->endpoint(), options, delivery, line);
  if (link) (*link)->place_.emplace(std::move(*place));
  return link;
}

Result<std::unique_ptr<Link>> Link::join(const std::string& endpoint, const ChannelOptions& options,
                                         Delivery delivery, const Line& line) {
  if (auto usable = check_reachable(endpoint, options.security); !usable) return failure(std::move(usable));
  return create(Role::connecting, endpoint, options, delivery, line);
}

Result<std::unique_ptr<Link>> Link::connect(const std::string& endpoint, const ChannelOptions& options,
                                            Delivery delivery, TimePoint deadline) {
  auto link = join(endpoint, options, delivery, {});
  if (!link) return link;
  Link& self = **link;
  std::unique_lock lock{self.lock_};
  const bool answered =
      self.changed_.wait_until(lock, deadline, [&] { return self.greeted_ || self.broken_.has_value(); });
  if (self.broken_) return tl::unexpected<Error>{*self.broken_};
  if (!answered) return failure(ErrorKind::timed_out, endpoint + ": nobody has answered");
  lock.unlock();
  return link;
}

Link::~Link() {
  if (!booking_) return;  // never came to be
  {
    std::unique_lock lock{lock_};
    const TimePoint deadline = deadline_in(options_.close_within);
    close(lock, deadline);
    leaving_ = true;
    booking_->wake();
    // Who has received its peer's farewell need not wait for an answer to its own.
    if (greeted_) changed_.wait_until(lock, deadline, [&] { return gone_seen_ || peer_left(); });
  }
  const std::string endpoint = booking_->endpoint();
  const bool survivor = dead_ && role_ == Role::connecting;
  booking_ = Booking{};
  if (survivor) sweep_place(endpoint);
}

ChannelCounts Link::counts() const {
  const std::lock_guard lock{lock_};
  ChannelCounts counts = counts_;
  counts.duplicates = inbox_.duplicates();
  counts.lost = inbox_.lost();
  return counts;
}

/// `life` is the line as the calling thread numbers it.
void Link::look_at_line(int life) {
  if (greeted_ || gone_ || dead_) return;
  pollfd one{life, POLLIN, 0};
  if (troupe::detail::retried([&] { return ::poll(&one, 1, 0); }) == 0) return;
  auto word = channel::LifeWord::sends_no_more;
  const auto read =
      troupe::detail::retried([&] { return ::recv(life, &word, sizeof word, MSG_DONTWAIT | MSG_PEEK); });
  const bool in_order = read == 1 && word == channel::LifeWord::gone;
  (in_order ? gone_ : dead_) = true;
}

/// The post looks for it as well, but a send is to say it at once.
void Link::look_for_death() {
  look_at_line(line_.life);
  if (dead_ || peer_process_.pid == 0) return;
  const TimePoint now = Clock::now();
  if (now < look_for_death_at_) return;
  look_for_death_at_ = now + look_for_death_every;
  if (!watches_) {
    const auto pidfd = watch_process(peer_process_);
    if (!pidfd) return;  // ended before, or no room: the post says so
    watches_ = ::dup3(pidfd->get(), pidfd_.get(), O_CLOEXEC) != -1;
  }
  if (!troupe::detail::wait_readable(pidfd_.get(), now)) return;
  dead_ = true;
  drained_by_ = never;  // until the post has seen it too
}

std::optional<Error> Link::sending_over() const {
  if (outbox_.ended()) return Error{ErrorKind::closed, 0, "ZeroMQ channel: this end has closed"};
  if (broken_) return broken_;
  if (gone_) return Error{ErrorKind::closed, 0, "ZeroMQ channel: the other end has gone"};
  if (dead_) return Error{ErrorKind::down, 0, "ZeroMQ channel: the process at the other end has ended"};
  return std::nullopt;
}

std::optional<Error> Link::receiving_over() const {
  if (inbox_.ended() || gone_) return Error{ErrorKind::closed, 0, "ZeroMQ channel: the other end has closed"};
  if (broken_) return broken_;
  if (drained_) return Error{ErrorKind::down, 0, "ZeroMQ channel: the process at the other end has ended"};
  return std::nullopt;
}

Result<void> Link::send(std::span<const std::byte> frame, TimePoint deadline) {
  if (auto own = guard_.check("ZeroMQ channel"); !own) return own;
  if (frame.size() > options_.frame_bytes_max)
    return failure(ErrorKind::invalid, "ZeroMQ channel: a frame has at most " +
                                           std::to_string(options_.frame_bytes_max) +
                                           " bytes; try a larger frame_bytes_max");
  std::unique_lock lock{lock_};
  look_for_death();
  for (;;) {
    if (auto over = sending_over()) return tl::unexpected<Error>{*std::move(over)};
    if (outbox_.has_room(frame.size())) break;
    if (!std::exchange(blocked_, true)) booking_->wake();
    if (Clock::now() >= deadline) return timed_out("ZeroMQ channel: the other end does not receive");
    changed_.wait_until(lock, deadline);
  }
  blocked_ = false;
  outbox_.push(frame);
  booking_->wake();
  return {};
}

Result<void> Link::receive(std::vector<std::byte>& buffer, TimePoint deadline) {
  if (auto own = guard_.check("ZeroMQ channel"); !own) return own;
  std::unique_lock lock{lock_};
  while (inbox_.empty()) {
    if (auto over = receiving_over()) return tl::unexpected<Error>{*std::move(over)};
    if (Clock::now() >= deadline) return timed_out("ZeroMQ channel: nothing came in time");
    changed_.wait_until(lock, deadline);
  }
  buffer = inbox_.pop();
  if (inbox_.empty() && !receiving_over()) sign_.lower();
  if (tell_each_ || inbox_.worth_telling(told_consumed_)) booking_->wake();
  return {};
}

void Link::close() noexcept {
  if (guard_.forked()) return;
  std::unique_lock lock{lock_};
  const TimePoint deadline = deadline_in(options_.close_within);
  // Who has joined is welcomed soon, and could not say before that it closes.
  if (role_ == Role::connecting) changed_.wait_until(lock, deadline, [&] { return greeted_ || peer_left(); });
  close(lock, deadline);
}

void Link::close(std::unique_lock<std::mutex>& lock, TimePoint deadline) {
  const bool nothing_for_nobody = !greeted_ && outbox_.untouched();
  outbox_.end();
  booking_->wake();
  changed_.notify_all();
  if (nothing_for_nobody || TROUPE_MUTANT(zmq_end_unacknowledged)) return;
  changed_.wait_until(lock, deadline, [&] { return outbox_.end_received() || peer_left(); });
}

}  // namespace troupe::zmq::detail
