// SPDX-License-Identifier: MIT
#include <troupe/transport/channel_end.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

constexpr std::size_t words_max = 2;  // each once

Error babble() { return {ErrorKind::malformed, 0, "channel: the other end's life socket carries nonsense"}; }

}  // namespace

Error ChannelEnd::closed() { return {ErrorKind::closed, 0, "channel: the other end was closed"}; }
Error ChannelEnd::down() {
  return {ErrorKind::down, 0, "channel: the process at the other end died without closing it"};
}

Result<std::pair<OwnedFd, OwnedFd>> ChannelEnd::create_life() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == -1)
    return system_failure("socketpair");
  return std::pair{beyond_standard(OwnedFd{ends[0]}), beyond_standard(OwnedFd{ends[1]})};
}

ChannelEnd::~ChannelEnd() {
  if (!guard_.forked()) say(channel::LifeWord::gone);
}

void ChannelEnd::say(channel::LifeWord word) const noexcept {
  // Two bytes at most are ever in there, so it is never full.
  if (life_) retried([&] { return ::send(life_.get(), &word, sizeof word, MSG_NOSIGNAL | MSG_DONTWAIT); });
}

Result<void> ChannelEnd::check() const {
  if (auto own = guard_.check("channel"); !own) return own;
  if (!life_) return failure(ErrorKind::refused, "channel: this end was taken to another process");
  return {};
}

Result<void> ChannelEnd::check_send(std::size_t bytes, std::size_t descriptors) {
  if (auto sound = check(); !sound) return sound;
  if (bytes > frame_bytes_max_)
    return failure(ErrorKind::invalid, "channel: a frame of " + std::to_string(bytes) + " bytes, at most " +
                                           std::to_string(frame_bytes_max_) +
                                           " go; try a larger frame_bytes_max");
  if (descriptors > 0 && descriptors_max_ == 0)
    return failure(ErrorKind::refused,
                   "channel: this carrier takes no descriptors; try Carrier::stream or Carrier::packet");
  if (descriptors > descriptors_max_)
    return failure(ErrorKind::invalid, "channel: " + std::to_string(descriptors) + " descriptors, at most " +
                                           std::to_string(descriptors_max_) + " go with a frame");
  if (closed_) return failure(ErrorKind::closed, "channel: this end has been closed for sending");
  used_.store(true, std::memory_order_relaxed);
  return {};
}

Result<void> ChannelEnd::check_receive() {
  if (auto sound = check(); !sound) return sound;
  used_.store(true, std::memory_order_relaxed);
  return {};
}

bool ChannelEnd::end_sending() noexcept {
  if (guard_.forked() || !life_ || closed_) return false;
  closed_ = true;
  used_.store(true, std::memory_order_relaxed);
  say(channel::LifeWord::sends_no_more);
  return true;
}

/// Sees what the peer has said. Under the lock.
void ChannelEnd::look() {
  if (hung_up_ || babbles_) return;
  pollfd one{life_.get(), POLLIN, 0};
  // Where the kernel cannot poll, the words may still be there to be read.
  if (retried([&] { return ::poll(&one, 1, 0); }) == 0) return;
  // Before the words: an end that hangs up has said its last.
  hung_up_ = (one.revents & (POLLHUP | POLLERR)) != 0;
  std::array<channel::LifeWord, words_max + 1> words{};
  const auto count =
      retried([&] { return ::recv(life_.get(), words.data(), words.size(), MSG_DONTWAIT | MSG_PEEK); });
  babbles_ = count > static_cast<ssize_t>(words_max);
  for (std::size_t i = 0; i < static_cast<std::size_t>(std::max<ssize_t>(count, 0)); ++i) {
    switch (words[i]) {
      case channel::LifeWord::sends_no_more: sends_no_more_ = true; continue;
      case channel::LifeWord::gone: gone_ = true; continue;
    }
    babbles_ = true;
  }
  spoken_.store(hung_up_ || count > 0, std::memory_order_relaxed);
}

std::optional<Error> ChannelEnd::receiving_over() {
  const std::lock_guard lock{seen_lock_};
  look();
  if (babbles_) return babble();
  if (sends_no_more_ || gone_) return closed();
  return hung_up_ ? std::optional{down()} : std::nullopt;
}

std::optional<Error> ChannelEnd::sending_over() {
  const std::lock_guard lock{seen_lock_};
  look();
  if (babbles_) return babble();
  if (gone_) return closed();
  return hung_up_ ? std::optional{down()} : std::nullopt;
}

Result<OwnedFd> ChannelEnd::take_life() {
  if (auto sound = check(); !sound) return failure(std::move(sound));
  if (used_.load(std::memory_order_relaxed))
    return failure(ErrorKind::refused, "channel: an end moves to another process only before its first use");
  return life_.release();
}

}  // namespace troupe::detail
