// SPDX-License-Identifier: MIT
#include <troupe/transport/frame_stream.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <troupe/transport/descriptor_passing.hpp>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/pipe_write.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

constexpr std::size_t read_bytes = std::size_t{64} * 1024;
constexpr std::size_t batches_max = 2;  // of the frame that is incomplete, and of the next one's beginning
constexpr std::array<std::byte, 4096> zeros{};

/// Finalizer of SplitMix64, as in a lane's frames.
std::uint32_t check_of(const channel::StreamHeader& header) noexcept {
  std::uint64_t x = std::uint64_t{header.length} << 32U ^ header.sequence;
  x ^= std::uint64_t{header.descriptors} << 16U ^ std::uint64_t{header.magic} << 40U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return static_cast<std::uint32_t>(x ^ (x >> 32U));
}

iovec part(const void* bytes, std::size_t length) noexcept { return {const_cast<void*>(bytes), length}; }

ssize_t write_to_socket(int fd, std::span<iovec> parts, std::span<const int> descriptors) noexcept {
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  PassingSpace space;
  attach_descriptors(message, space, descriptors);
  return retried([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT); });
}

}  // namespace

// ---- FrameWriter ----------------------------------------------------------------------------------

std::size_t FrameWriter::Rest::bytes() const noexcept {
  std::size_t sum = 0;
  for (const iovec& one : parts) sum += one.iov_len;
  return sum;
}

void FrameWriter::Rest::advance(std::size_t bytes) noexcept {
  if (bytes > 0) descriptors = {};  // they went with the first byte
  for (iovec& one : parts) {
    const std::size_t done = std::min(bytes, one.iov_len);
    one.iov_base = static_cast<std::byte*>(one.iov_base) + done;
    one.iov_len -= done;
    bytes -= done;
  }
}

/// All of it, or why not: `rest` is then what is left.
Result<void> FrameWriter::write(int fd, Rest& rest, TimePoint deadline) const {
  while (rest.bytes() > 0) {
    const auto written = kind_ == StreamKind::pipe ? write_to_pipe(fd, rest.parts)
                                                   : write_to_socket(fd, rest.parts, rest.descriptors);
    if (written >= 0) {
      rest.advance(static_cast<std::size_t>(written));
    } else if (is_gone(errno)) {
      return failure(ErrorKind::down, "channel: nobody reads at the other end");
    } else if (errno != EAGAIN) {
      return system_failure("write to a channel");
    } else if (!wait_writable(fd, deadline)) {
      return failure(ErrorKind::timed_out, "channel: the other end does not read");
    }
  }
  return {};
}

Result<void> FrameWriter::fill_up(int fd, TimePoint deadline) {
  while (owed_ > 0) {
    const std::size_t now = std::min(owed_, zeros.size());
    Rest rest{.parts = {part(zeros.data(), now)}};
    auto written = write(fd, rest, deadline);
    owed_ -= now - rest.bytes();
    if (!written) return written;
  }
  return {};
}

Result<void> FrameWriter::send(int fd, std::span<const std::byte> frame, std::span<const int> descriptors,
                               TimePoint deadline) {
  if (auto filled = fill_up(fd, deadline); !filled) return filled;
  channel::StreamHeader header{static_cast<std::uint32_t>(frame.size()), sequence_,
                               static_cast<std::uint16_t>(descriptors.size()), channel::stream_magic, 0};
  header.check = check_of(header);
  const auto ending = channel::Ending::whole;
  Rest rest{
      .parts = {part(&header, sizeof header), part(frame.data(), frame.size()), part(&ending, sizeof ending)},
      .descriptors = descriptors};
  auto written = write(fd, rest, deadline);
  if (rest.bytes() == stream_bytes(header.length)) return written;  // not begun
  ++sequence_;
  owed_ = TROUPE_MUTANT(stream_rest_forgotten) ? 0 : rest.bytes();
  return written;
}

// ---- FrameReader ----------------------------------------------------------------------------------

bool FrameReader::ready(int fd) {
  while (!broken_ && !has_frame() && !broken_ && !ended_)
    if (!fill(fd)) return false;
  return true;
}

channel::StreamHeader FrameReader::header() const noexcept {
  channel::StreamHeader header{};
  std::memcpy(&header, input_.data() + begin_, sizeof header);
  return header;
}

void FrameReader::fail(ErrorKind kind, std::string_view rule) {
  broken_ = Error{kind, 0, "channel: " + std::string{rule}};
}

/// Whether a whole frame is first in the input; those that were given up are dropped.
bool FrameReader::has_frame() {
  while (available() >= sizeof(channel::StreamHeader)) {
    const auto first = header();
    if (!check(first)) return false;
    wanted_ = stream_bytes(first.length);
    if (available() < wanted_) return false;
    const auto ending = std::to_integer<std::uint8_t>(input_[begin_ + wanted_ - 1]);
    if (ending == static_cast<std::uint8_t>(channel::Ending::whole)) return true;
    if (ending != static_cast<std::uint8_t>(channel::Ending::given_up)) {
      fail(ErrorKind::malformed, "a frame that ends in neither way");
      return false;
    }
    const auto dropped = take_batch(first);
    consume(first);
  }
  wanted_ = sizeof(channel::StreamHeader);
  return false;
}

bool FrameReader::check(const channel::StreamHeader& header) {
  if (header.magic != channel::stream_magic || header.check != check_of(header))
    fail(ErrorKind::malformed, "bytes that are no frame's header");
  else if (header.sequence != sequence_)
    fail(ErrorKind::malformed, "a frame out of its turn");
  else if (header.length > frame_bytes_max_ * (TROUPE_MUTANT(stream_length_unchecked) ? 2 : 1))
    fail(ErrorKind::malformed, "a frame of " + std::to_string(header.length) +
                                   " bytes was announced, at most " + std::to_string(frame_bytes_max_) +
                                   " are taken");
  else if (header.descriptors > passed_descriptors_max)
    fail(ErrorKind::malformed, "a frame that announces too many descriptors");
  return !broken_;
}

FrameReader::Batch FrameReader::take_batch(const channel::StreamHeader& header) {
  if (header.descriptors == 0) return {};
  if (batches_.empty()) {
    fail(ErrorKind::malformed, "a frame without the descriptors that it announces");
    return {};
  }
  Batch batch = std::move(batches_.front());
  batches_.pop_front();
  if (!batch.lost && batch.descriptors.size() != header.descriptors)
    fail(ErrorKind::malformed, "a frame with other descriptors than it announces");
  return batch;
}

void FrameReader::consume(const channel::StreamHeader& header) {
  begin_ += stream_bytes(header.length);
  ++sequence_;
  if (available() == 0) {
    begin_ = end_ = 0;
    if (!batches_.empty()) fail(ErrorKind::malformed, "descriptors that no frame announces");
  }
}

Result<Channel::Frame> FrameReader::take(std::vector<std::byte>& buffer) {
  if (broken_) return tl::unexpected{*broken_};
  if (!has_frame()) return failure(ErrorKind::down, "channel: nobody writes at the other end");
  const auto first = header();
  auto batch = take_batch(first);
  if (broken_) return tl::unexpected{*broken_};
  const std::span payload{input_.data() + begin_ + sizeof first, first.length};
  buffer.assign(payload.begin(), payload.end());
  consume(first);
  if (batch.lost)
    return failure(ErrorKind::exhausted,
                   "channel: descriptors were lost, and the frame with them; raise the limit of open files "
                   "(ulimit -n)");
  return Channel::Frame{buffer, std::move(batch.descriptors)};
}

/// Reads once. False when nothing has come.
bool FrameReader::fill(int fd) {
  if (begin_ > 0) {
    std::copy(input_.begin() + static_cast<std::ptrdiff_t>(begin_),
              input_.begin() + static_cast<std::ptrdiff_t>(end_), input_.begin());
    end_ -= std::exchange(begin_, 0);
  }
  if (const auto room = std::max(wanted_, read_bytes); input_.size() < room) input_.resize(room);
  const auto count = read(fd, std::span{input_}.subspan(end_));
  if (count == -1 && errno == EAGAIN) return false;
  if (count == -1) {
    broken_ = system_error("read from a channel", errno);
    return true;
  }
  ended_ = count == 0;
  end_ += static_cast<std::size_t>(count);
  return true;
}

ssize_t FrameReader::read(int fd, std::span<std::byte> room) {
  if (kind_ == StreamKind::pipe) return retried([&] { return ::read(fd, room.data(), room.size()); });
  iovec one = part(room.data(), room.size());
  msghdr message{};
  message.msg_iov = &one;
  message.msg_iovlen = 1;
  PassingSpace space;
  ssize_t count = 0;
  // A peer that died with frames of ours unread says that once, ahead of what it had sent.
  do {
    expect_descriptors(message, space);
    count = retried([&] { return ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT); });
  } while (count == -1 && errno == ECONNRESET);
  if (count <= 0) return count;
  auto descriptors = detach_descriptors(message);
  const bool lost = (message.msg_flags & MSG_CTRUNC) != 0 && !TROUPE_MUTANT(lost_batch_ignored);
  if (lost || !descriptors.empty()) batches_.push_back({std::move(descriptors), lost});
  if (batches_.size() > batches_max) fail(ErrorKind::malformed, "descriptors that no frame announces");
  return count;
}

}  // namespace troupe::detail
