// SPDX-License-Identifier: MIT
#include <troupe/runtime/pump.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <troupe/transport/pipe_write.hpp>
#include <vector>

namespace troupe::detail {
namespace {

constexpr std::size_t read_bytes = std::size_t{64} * 1024;  // what a pipe holds
constexpr int reads_max = 64;  // of one look at all there is: somebody may write as fast as we read

/// Forgets what was used up, once that is worth a move.
void compact(std::string& text, std::size_t& used) {
  if (used < text.size() && used < text.size() / 2) return;
  text.erase(0, used);
  used = 0;
}

Result<void> make_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags == -1 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1) return system_failure("pipe");
  return {};
}

}  // namespace

Result<PipeEnds> make_pipe(PipeUse use) {
  std::array<int, 2> numbers{-1, -1};
  if (::pipe2(numbers.data(), O_CLOEXEC) == -1) return system_failure("pipe");
  OwnedFd reading = beyond_standard(OwnedFd{numbers[0]});
  OwnedFd writing = beyond_standard(OwnedFd{numbers[1]});
  PipeEnds ends = use == PipeUse::we_write ? PipeEnds{std::move(writing), std::move(reading)}
                                           : PipeEnds{std::move(reading), std::move(writing)};
  if (use == PipeUse::between_programs) return ends;
  if (auto made = make_nonblocking(ends.ours.get()); !made) return failure(std::move(made));
  return ends;
}

// ---- Intake ---------------------------------------------------------------------------------------

void Intake::read_some() {
  std::array<char, read_bytes> block;  // NOLINT: filled by read
  const auto bytes = retried([&] { return ::read(fd_.get(), block.data(), block.size()); });
  if (bytes <= 0) {
    at_end_ = bytes == 0 || errno != EAGAIN;
    return;
  }
  const bool keep = !dropping_ || held().size() <= bytes_max_;
  if (keep) text_.append(block.data(), static_cast<std::size_t>(bytes));
}

void Intake::read_available() {
  for (int reads = 0; reads < reads_max && wants_more() && wait_readable(fd_.get(), TimePoint{}); ++reads)
    read_some();
}

std::string Intake::take_all() {
  std::string all = taken_ == 0 ? std::move(text_) : text_.substr(taken_);
  text_.clear();
  taken_ = searched_ = 0;
  return all;
}

std::optional<std::string> Intake::take_line() {
  const auto end = text_.find('\n', searched_);
  if (end == std::string::npos) {
    searched_ = text_.size();
    return std::nullopt;
  }
  std::string line = text_.substr(taken_, end - taken_);
  taken_ = end + 1;
  compact(text_, taken_);
  searched_ = taken_;
  return line;
}

// ---- Feed -----------------------------------------------------------------------------------------

void Feed::add(std::string_view bytes) {
  compact(text_, written_);
  text_.append(bytes);
}

void Feed::close() noexcept {
  fd_.reset();
  text_.clear();
  written_ = 0;
}

void Feed::write_some() {
  const std::string_view left = rest();
  const iovec part{const_cast<char*>(left.data()), left.size()};
  const auto written = write_to_pipe(fd_.get(), std::span{&part, 1});
  if (written >= 0)
    written_ += static_cast<std::size_t>(written);
  else if (errno != EAGAIN)
    close();
}

// ---- pump -----------------------------------------------------------------------------------------

bool pump(Feed* feed, std::span<Intake* const> intakes, std::span<const int> others, TimePoint deadline) {
  // poll() passes over a descriptor of -1.
  std::vector<pollfd> polled;
  polled.reserve(intakes.size() + others.size() + 1);
  polled.push_back({feed != nullptr && feed->pending() ? feed->descriptor() : -1, POLLOUT, 0});
  for (const Intake* const one : intakes)
    polled.push_back({one != nullptr && one->wants_more() ? one->descriptor() : -1, POLLIN, 0});
  for (const int one : others) polled.push_back({one, POLLIN, 0});
  for (;;) {
    const int ready = ::poll(polled.data(), polled.size(), poll_timeout(deadline));
    if (ready > 0) break;
    if (ready == 0 && Clock::now() >= deadline) return false;
    // Without memory for a wait: rather a look too many than a deadline that is reported early.
    if (ready == -1 && errno != EINTR) return Clock::now() < deadline;
  }
  if (polled[0].revents != 0) feed->write_some();
  for (std::size_t i = 0; i < intakes.size(); ++i)
    if (polled[i + 1].revents != 0) intakes[i]->read_some();
  return true;
}

}  // namespace troupe::detail
