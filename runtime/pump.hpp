// SPDX-License-Identifier: MIT
#pragma once
// Internal. Our ends of the pipes to and from other programs, moved all at once so that nobody waits for
// anybody.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {

/// A pipe, our end of which does not block.
struct PipeEnds {
  OwnedFd ours{};
  OwnedFd theirs{};
};
/// between_programs: `ours` is the reading end, and blocks as programs expect it.
enum class PipeUse : std::uint8_t { we_read, we_write, between_programs };
[[nodiscard]] Result<PipeEnds> make_pipe(PipeUse use);

/// What a program says, kept up to a bound. Owner: one thread at a time.
class Intake {
 public:
  Intake() = default;  ///< of nothing: at its end
  Intake(OwnedFd fd, std::size_t bytes_max) : fd_{std::move(fd)}, bytes_max_{bytes_max} {}

  [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
  /// More may come. Its descriptor stays as it is at the end of the stream, for who waits with it.
  [[nodiscard]] bool open() const noexcept { return fd_ && !at_end_; }
  /// More has come than is to be kept: it is not read until something is taken, so who writes waits.
  [[nodiscard]] bool over() const noexcept { return !dropping_ && held().size() > bytes_max_; }
  [[nodiscard]] bool wants_more() const noexcept { return open() && !over(); }
  [[nodiscard]] std::size_t bytes_max() const noexcept { return bytes_max_; }
  /// From now on what exceeds the bound is read and dropped.
  void drop_rest() noexcept { dropping_ = true; }
  void close() noexcept { fd_.reset(); }

  void read_some();       ///< what one look gives
  void read_available();  ///< all that is in the pipe now

  [[nodiscard]] std::string_view held() const noexcept { return std::string_view{text_}.substr(taken_); }
  [[nodiscard]] std::string take_all();
  [[nodiscard]] std::optional<std::string> take_line();

 private:
  HeldFd fd_{};
  std::string text_{};
  std::size_t taken_ = 0;     ///< of text_
  std::size_t searched_ = 0;  ///< of text_: no line feed between taken_ and this
  std::size_t bytes_max_ = 0;
  bool at_end_ = false;
  bool dropping_ = false;
};

/// What a program is to be told. Owner: one thread at a time.
class Feed {
 public:
  Feed() = default;
  explicit Feed(OwnedFd fd) : fd_{std::move(fd)} {}

  [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
  [[nodiscard]] bool open() const noexcept { return static_cast<bool>(fd_); }
  [[nodiscard]] bool pending() const noexcept { return open() && !rest().empty(); }
  [[nodiscard]] std::string_view rest() const noexcept { return std::string_view{text_}.substr(written_); }
  void add(std::string_view bytes);
  void close() noexcept;
  /// What one write takes. Closes, and forgets what it had, when nobody reads any more.
  void write_some();

 private:
  HeldFd fd_{};
  std::string text_{};
  std::size_t written_ = 0;  ///< of text_
};

/// Waits until one of these can move, moves it, and returns true; false at the deadline. `feed` and intakes
/// may be null; `others` are descriptors (or -1) whose being readable is also an event.
[[nodiscard]] bool pump(Feed* feed, std::span<Intake* const> intakes, std::span<const int> others,
                        TimePoint deadline);

}  // namespace troupe::detail
