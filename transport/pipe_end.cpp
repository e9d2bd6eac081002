// SPDX-License-Identifier: MIT
#include <troupe/transport/pipe_end.hpp>

#include <algorithm>
#include <cstring>
#include <string>

namespace troupe::detail {
namespace {

constexpr std::size_t type_bytes = sizeof(std::uint64_t);

}  // namespace

bool Turn::take(TimePoint deadline) {
  std::unique_lock lock{lock_};
  const auto is_free = [&] { return !taken_; };
  if (deadline == never)
    given_back_.wait(lock, is_free);
  else if (!given_back_.wait_until(lock, deadline, is_free))
    return false;
  taken_ = true;
  return true;
}

void Turn::give_back() {
  {
    const std::lock_guard lock{lock_};
    taken_ = false;
  }
  given_back_.notify_one();
}

Error PipeEnd::moved_away() { return {ErrorKind::refused, 0, "pipe: this end has been moved away"}; }

Error PipeEnd::no_end() { return {ErrorKind::malformed, 0, "pipe: not the parts of an end"}; }

Error PipeEnd::other_type(std::string_view expected, std::uint64_t came) {
  return {ErrorKind::refused, 0,
          "pipe: a message of another type came (id " + std::to_string(came) + ") where " +
              std::string{expected} + " is expected"};
}

Error PipeEnd::too_large(std::string_view type) const {
  return {ErrorKind::invalid, 0,
          "pipe: " + std::string{type} + " takes more than the " +
              std::to_string(output_.size() - type_bytes) +
              " bytes that a message may have here; try a larger frame_bytes_max, or put what is large "
              "into a Blob, over a socket"};
}

Result<TakenTurn> PipeEnd::take(Turn& turn, TimePoint deadline) {
  if (auto own = guard_.check("pipe"); !own) return failure(std::move(own));
  if (turn.take(deadline)) return TakenTurn{turn};
  return failure(ErrorKind::timed_out, "pipe: another thread was using this end");
}

Result<TakenTurn> PipeEnd::sending(TimePoint deadline) { return take(sending_, deadline); }
Result<TakenTurn> PipeEnd::receiving(TimePoint deadline) { return take(receiving_, deadline); }

std::span<std::byte> PipeEnd::room() {
  if (const auto wanted = std::max(channel_->frame_bytes_max(), type_bytes); output_.size() < wanted)
    output_.resize(wanted);
  return std::span{output_}.subspan(type_bytes);
}

Result<void> PipeEnd::send(std::uint64_t type, std::size_t bytes, std::span<const int> descriptors,
                           TimePoint deadline) {
  std::memcpy(output_.data(), &type, type_bytes);
  return channel_->send(std::span{output_}.first(type_bytes + bytes), descriptors, deadline);
}

Result<PipeEnd::Message> PipeEnd::receive(TimePoint deadline) {
  auto frame = channel_->receive(input_, deadline);
  if (!frame) return failure(std::move(frame));
  if (frame->bytes.size() < type_bytes)
    return failure(ErrorKind::malformed, "pipe: a frame too short for a message");
  Message message;
  std::memcpy(&message.type, frame->bytes.data(), type_bytes);
  message.bytes = frame->bytes.subspan(type_bytes);
  message.descriptors = std::move(frame->descriptors);
  return message;
}

Waitable PipeEnd::readable() {
  if (guard_.forked()) return {-1, [] { return true; }};
  auto inner = channel_->readable();
  if (!inner.arm) return inner;
  return {inner.descriptor, [this, arm = std::move(inner.arm)] {
            // While another thread receives, nobody else can look: then it is for the caller to try.
            const auto turn = receiving(TimePoint{});
            return !turn || arm();
          }};
}

Result<ChannelParts> PipeEnd::take_parts() {
  if (auto own = guard_.check("pipe"); !own) return failure(std::move(own));
  return channel_->take_parts();
}

Result<const ChannelParts*> PipeEnd::travelling_parts() {
  if (auto own = guard_.check("pipe"); !own) return failure(std::move(own));
  if (!travelling_) {
    auto parts = channel_->take_parts();
    if (!parts) return failure(std::move(parts));
    travelling_ = std::move(*parts);
  }
  return &*travelling_;
}

}  // namespace troupe::detail
