// SPDX-License-Identifier: MIT
#include <sys/random.h>

#include <algorithm>
#include <string_view>
#include <troupe/zmq/link.hpp>
#include <troupe/zmq/whereabouts.hpp>

// What a link does on the post's thread.
namespace troupe::zmq::detail {
namespace {

using std::chrono::milliseconds;
using wire::ChannelHeader;
using wire::ChannelKind;
using wire::Hello;

/// When the process of a peer has ended, its last bytes are read until its connection breaks. Where that is
/// not seen, somebody else holding a copy of the connection, they are given up after a pause as long as this.
constexpr milliseconds rest_within{200};
constexpr milliseconds look_again_after{1};

std::uint64_t random_session() {
  std::uint64_t session = 0;
  while (session == 0)
    if (::getrandom(&session, sizeof session, 0) != sizeof session) session = 0;
  return session;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), std::min(text.size(), wire::text_bytes_max)});
}

/// Printable, whatever a peer has sent.
std::string text_of(std::span<const std::byte> bytes) {
  std::string text{reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), wire::text_bytes_max)};
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c > 0x7E; }, '?');
  return text;
}

}  // namespace

void Link::on_seated(Seat& seat) {
  seat_ = &seat;
  if (line_watch_ != -1) line_watch_ = seat.watch_descriptor(OwnedFd{line_watch_});
}

void Link::on_message(PeerId from, std::span<const std::byte> message) {
  const std::lock_guard lock{lock_};
  if (message.empty()) {
    if (role_ == Role::listening) say(from, ChannelKind::who);
    return;
  }
  const auto header = wire::read<ChannelHeader>(message);
  const bool from_peer = session_ != 0 && linked_ && from == peer_;
  if (!header || header->magic != wire::channel_magic || header->version != wire::version ||
      header->zero != 0) {
    ++counts_.malformed;
    if (from_peer) break_off({ErrorKind::malformed, 0, "ZeroMQ channel: what came is not of this format"});
    return;
  }
  const auto body = message.subspan(sizeof *header);
  if (header->kind == ChannelKind::hello || header->kind == ChannelKind::welcome ||
      header->kind == ChannelKind::who || header->kind == ChannelKind::refused || !from_peer)
    on_stranger(from, *header, body);
  else
    on_peer(*header, body);
}

void Link::on_nonsense() {
  const std::lock_guard lock{lock_};
  ++counts_.malformed;
}

void Link::on_stranger(PeerId from, const ChannelHeader& header, std::span<const std::byte> body) {
  if (broken_) return;
  if (role_ == Role::listening && header.kind == ChannelKind::hello) return on_hello(from, header, body);
  if (role_ == Role::connecting && header.kind == ChannelKind::who) {
    if (session_ == 0) session_ = line_.session != 0 ? line_.session : random_session();
    linked_ = false;
    return say_hello(from, ChannelKind::hello);
  }
  if (role_ == Role::connecting && header.kind == ChannelKind::refused) return on_refusal(body);
  if (role_ == Role::connecting && header.kind == ChannelKind::welcome && header.session == session_)
    return on_hello(from, header, body);
  ++counts_.strangers;
}

void Link::on_refusal(std::span<const std::byte> body) {
  break_off({ErrorKind::refused, 0, "ZeroMQ channel: the other end says: " + text_of(body)});
}

void Link::on_hello(PeerId from, const ChannelHeader& header, std::span<const std::byte> body) {
  const auto hello = wire::read<Hello>(body);
  if (!hello || body.size() != sizeof *hello || header.session == 0) {
    ++counts_.malformed;
    return;
  }
  if (const auto why = objection(*hello)) {
    if (role_ == Role::connecting) return break_off({ErrorKind::refused, 0, "ZeroMQ channel: " + *why});
    say(from, ChannelKind::refused, bytes_of(*why));
    return;
  }
  const std::uint64_t awaited = session_ != 0 ? session_ : line_.session;
  if (role_ == Role::listening && awaited != 0 && header.session != awaited)
    return static_cast<void>(
        say(from, ChannelKind::refused, bytes_of("it has its peer already; try a channel of your own")));
  if (!outbox_.on_progress(header.received, header.consumed)) {
    ++counts_.malformed;
    return;
  }
  if (!greeted_ && !watch_peer(*hello)) return;
  on_greeting(from, header, *hello);
}

std::optional<std::string> Link::objection(const Hello& hello) const {
  if (hello.delivery != static_cast<std::uint32_t>(delivery_))
    return "one end promises at most once, the other at least once; try the same type at both ends";
  if (hello.frame_bytes_max != options_.frame_bytes_max)
    return "the two ends differ in frame_bytes_max; try the same options at both ends";
  return std::nullopt;
}

bool Link::watch_peer(const Hello& hello) {
  if (hello.machine != this_machine()) return true;  // a mark of another machine tells nothing here
  auto watched = seat_->watch({hello.pid, hello.started});
  if (watched) {
    watch_ = *watched;
    peer_process_ = {hello.pid, hello.started};
  } else if (watched.error().kind == ErrorKind::down) {
    dead_ = true;
    drained_by_ = deadline_in(rest_within);
  } else {
    break_off(watched.error());
    return false;
  }
  return true;
}

void Link::on_greeting(PeerId from, const ChannelHeader& header, const Hello& hello) {
  session_ = header.session;
  peer_ = from;
  unreachable_ = false;
  outbox_.limit_to({hello.window_frames_max, hello.window_bytes_max});
  greeted_ = true;
  if (line_watch_ != -1) seat_->unwatch(std::exchange(line_watch_, -1));
  if (role_ == Role::listening) say_hello(from, ChannelKind::welcome);
  linked_ = true;
  skip_to_ = outbox_.on_reconnect(header.received);
  said_blocked_ = false;
  said_gone_ = false;
  tell_program();
}

void Link::on_peer(const ChannelHeader& header, std::span<const std::byte> body) {
  if (dead_) drained_by_ = deadline_in(rest_within);
  if (header.session != session_ || !outbox_.on_progress(header.received, header.consumed))
    return settle(Inbox::Verdict::malformed);
  const bool bare = body.empty();
  switch (header.kind) {
    case ChannelKind::data:
      if (body.size() > options_.frame_bytes_max) return settle(Inbox::Verdict::malformed);
      tell_each_ = false;
      return settle(inbox_.accept(header.sequence, body));
    case ChannelKind::end:
      return settle(bare ? inbox_.accept_end(header.sequence) : Inbox::Verdict::malformed);
    case ChannelKind::skip: return settle(bare ? inbox_.skip(header.sequence) : Inbox::Verdict::malformed);
    case ChannelKind::blocked:
      tell_each_ = true;
      told_consumed_ = 0;
      break;
    case ChannelKind::gone:
      gone_ = true;
      say(peer_, ChannelKind::gone_seen);
      break;
    case ChannelKind::gone_seen: gone_seen_ = true; break;
    case ChannelKind::progress:
    case ChannelKind::probe: break;
    case ChannelKind::who:
    case ChannelKind::hello:
    case ChannelKind::welcome:
    case ChannelKind::refused: break;  // taken before
    default: return settle(Inbox::Verdict::malformed);
  }
  if (!bare) return settle(Inbox::Verdict::malformed);
}

void Link::settle(Inbox::Verdict verdict) {
  switch (verdict) {
    case Inbox::Verdict::taken: return;
    case Inbox::Verdict::duplicate: told_received_ = 0; return;  // its sender has not heard of it
    case Inbox::Verdict::gap: return;
    case Inbox::Verdict::malformed: break;
  }
  ++counts_.malformed;
  break_off({ErrorKind::malformed, 0, "ZeroMQ channel: the other end has broken the rules of the format"});
}

void Link::on_process_ended(int watch) {
  const std::lock_guard lock{lock_};
  if (watch == line_watch_) {
    look_at_line(std::exchange(line_watch_, -1));
  } else if (watch == watch_) {
    dead_ = true;
  }
  if (dead_) drained_by_ = deadline_in(rest_within);
}

void Link::on_not_admitted() {
  const std::lock_guard lock{lock_};
  break_off(
      {ErrorKind::refused, 0,
       "ZeroMQ channel: the other end does not allow this key; try adding it to Security::allowed there"});
}

void Link::on_round() {
  const std::lock_guard lock{lock_};
  if (linked_) transmit();
  if (dead_ && !drained_) look_for_the_rest();
  tell_program();
}

void Link::transmit() {
  if (skip_to_ != 0 && say(peer_, ChannelKind::skip, {}, skip_to_)) skip_to_ = 0;
  while (skip_to_ == 0 && outbox_.has_next()) {
    const auto next = outbox_.next();
    if (!say(peer_, next.end ? ChannelKind::end : ChannelKind::data, next.bytes, next.sequence)) return;
    outbox_.transmitted();
    said_blocked_ = false;  // the peer forgets it over data
  }
  if (blocked_ && !said_blocked_) said_blocked_ = say(peer_, ChannelKind::blocked);
  if (leaving_ && !said_gone_) said_gone_ = say(peer_, ChannelKind::gone);
  const bool consumed =
      tell_each_ ? inbox_.consumed() != told_consumed_ : inbox_.worth_telling(told_consumed_);
  if (consumed || inbox_.received() != told_received_) say(peer_, ChannelKind::progress);
}

/// The process has ended. That its connection is gone is known a round before it counts: by then all that had
/// come over it has been taken. libzmq does not tell of it for sure, so it is asked again and again, not for
/// long.
void Link::look_for_the_rest() {
  drained_ = unreachable_ || Clock::now() >= drained_by_;
  seat_->give_up_rest();
  if (drained_) return;
  unreachable_ = !say(peer_, ChannelKind::probe);
  if (unreachable_)
    seat_->wake();
  else
    seat_->set_due(std::min(drained_by_, deadline_in(look_again_after)));
}

bool Link::say(PeerId to, ChannelKind kind, std::span<const std::byte> body, std::uint64_t sequence) {
  ChannelHeader header{wire::channel_magic, wire::version, kind, 0, 0, sequence, 0, 0};
  const bool to_peer = session_ != 0 && to == peer_;  // nobody else is to learn the session
  if (to_peer) {
    header.session = session_;
    header.received = inbox_.received();
    header.consumed = inbox_.consumed();
  }
  const auto sent = seat_->send(to, wire::bytes_of(header), body);
  if (!to_peer) return sent == Seat::Sent::done;
  if (sent == Seat::Sent::unreachable) linked_ = false;  // until it has connected again and is greeted
  if (sent != Seat::Sent::done) return false;
  told_received_ = inbox_.received();
  told_consumed_ = inbox_.consumed();
  return true;
}

void Link::say_hello(PeerId to, ChannelKind kind) {
  const Whereabouts own = own_whereabouts();
  const Hello hello{own.machine,
                    own.process.started,
                    own.process.pid,
                    static_cast<std::uint32_t>(delivery_),
                    options_.frame_bytes_max,
                    options_.window_bytes_max,
                    static_cast<std::uint32_t>(options_.window_frames_max),
                    0};
  say(to, kind, wire::bytes_of(hello));
}

void Link::break_off(Error error) {
  if (!broken_) broken_ = std::move(error);
  linked_ = false;
}

void Link::tell_program() {
  if (!inbox_.empty() || receiving_over()) sign_.raise();
  changed_.notify_all();
}

}  // namespace troupe::zmq::detail
