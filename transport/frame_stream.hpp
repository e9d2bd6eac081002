// SPDX-License-Identifier: MIT
#pragma once
// Internal. Frames in a stream of bytes: an OS pipe or a Unix stream socket. Format: channel_layout.hpp.

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/channel_layout.hpp>
#include <vector>

namespace troupe::detail {

/// What a frame takes in a stream.
[[nodiscard]] constexpr std::size_t stream_bytes(std::size_t frame) noexcept {
  return sizeof(channel::StreamHeader) + frame + sizeof(channel::Ending);
}

enum class StreamKind : std::uint8_t { pipe, socket };

/// The sending side. A frame whose deadline passes on its way has left some of its bytes in the stream: the
/// rest is *owed*, and is filled up with zeros before anything else is written. Its last byte is then not
/// Ending::whole, and the receiver drops it. So the deadline is kept, nothing has been sent, and the stream
/// never loses its step.
///
/// Owner: one thread. The descriptor is borrowed for each call and does not block.
class FrameWriter {
 public:
  explicit FrameWriter(StreamKind kind) noexcept : kind_{kind} {}

  /// `down` when nobody reads any more, for whatever reason.
  [[nodiscard]] Result<void> send(int fd, std::span<const std::byte> frame, std::span<const int> descriptors,
                                  TimePoint deadline);

 private:
  /// What is still to be written.
  struct Rest {
    std::array<iovec, 3> parts{};
    std::span<const int> descriptors{};

    [[nodiscard]] std::size_t bytes() const noexcept;
    void advance(std::size_t bytes) noexcept;
  };
  [[nodiscard]] Result<void> fill_up(int fd, TimePoint deadline);
  [[nodiscard]] Result<void> write(int fd, Rest& rest, TimePoint deadline) const;

  StreamKind kind_;
  std::uint32_t sequence_ = 0;
  std::size_t owed_ = 0;
};

/// The receiving side. Keeps what has come of a frame until the rest does; a torn one at the end is dropped.
class FrameReader {
 public:
  FrameReader(StreamKind kind, std::size_t frame_bytes_max) noexcept
      : kind_{kind}, frame_bytes_max_{frame_bytes_max} {}

  /// Reads what has come, without waiting. True when take() has something to give or to say.
  [[nodiscard]] bool ready(int fd);
  /// The next frame. Only if ready. `down` at the end of the stream, for whatever reason.
  [[nodiscard]] Result<Channel::Frame> take(std::vector<std::byte>& buffer);

 private:
  /// That came with one header, or should have.
  struct Batch {
    std::vector<OwnedFd> descriptors{};
    bool lost = false;
  };

  [[nodiscard]] bool has_frame();
  [[nodiscard]] bool check(const channel::StreamHeader& header);
  [[nodiscard]] bool fill(int fd);
  [[nodiscard]] ssize_t read(int fd, std::span<std::byte> room);
  [[nodiscard]] Batch take_batch(const channel::StreamHeader& header);
  void consume(const channel::StreamHeader& header);
  void fail(ErrorKind kind, std::string_view rule);
  [[nodiscard]] channel::StreamHeader header() const noexcept;
  [[nodiscard]] std::size_t available() const noexcept { return end_ - begin_; }

  StreamKind kind_;
  std::size_t frame_bytes_max_;
  std::vector<std::byte> input_{};  // bytes come are in [begin_, end_)
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t wanted_ = sizeof(channel::StreamHeader);  // bytes that the next frame needs, as far as is known
  std::uint32_t sequence_ = 0;
  std::deque<Batch> batches_{};
  bool ended_ = false;
  std::optional<Error> broken_{};
};

}  // namespace troupe::detail
