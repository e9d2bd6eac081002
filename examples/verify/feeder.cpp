// SPDX-License-Identifier: MIT
#include "feeder.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace verify {
namespace {

using namespace std::chrono_literals;

constexpr auto answer_within = 1s;

int milliseconds_until(troupe::TimePoint deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - troupe::Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
}

}  // namespace

troupe::Result<Feeder> Feeder::create(int input) {
  Feeder feeder{input};
  const char* const wanted = std::getenv("TMPDIR");
  const std::string folder = wanted != nullptr ? wanted : "/tmp";
  feeder.spool_ = troupe::OwnedFd{::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
  if (!feeder.spool_)
    return tl::unexpected<troupe::Error>{
        system_error("a copy of standard input in " + folder, errno, "set TMPDIR to a folder with room")};
  return feeder;
}

std::string Feeder::spool_path() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(spool_.get());
}

troupe::Result<troupe::OwnedFd> Feeder::open_spool() const {
  troupe::OwnedFd file{::open(spool_path().c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) return tl::unexpected<troupe::Error>{system_error("the copy of standard input", errno)};
  return file;
}

troupe::Result<void> Feeder::keep_copy() const {
  std::size_t done = 0;
  while (done < piece_.text.size()) {
    const auto written = ::write(spool_.get(), piece_.text.data() + done, piece_.text.size() - done);
    if (written < 0 && errno != EINTR)
      return tl::unexpected<troupe::Error>{
          system_error("a copy of standard input", errno, "set TMPDIR to a folder with room")};
    if (written > 0) done += static_cast<std::size_t>(written);
  }
  return {};
}

troupe::Result<void> Feeder::read_piece(troupe::TimePoint deadline) {
  pollfd one{input_, POLLIN, 0};
  if (::poll(&one, 1, milliseconds_until(deadline)) <= 0) return {};
  piece_.text.resize(piece_bytes_max);
  const auto bytes = ::read(input_, piece_.text.data(), piece_.text.size());
  if (bytes < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (bytes < 0)
    return tl::unexpected<troupe::Error>{system_error("standard input", errno, "give the list as a file")};
  piece_.text.resize(static_cast<std::size_t>(bytes));
  piece_.last = bytes == 0;
  has_piece_ = true;
  return keep_copy();
}

troupe::Result<void> Feeder::feed(const troupe::Ref<Lister>& lister, troupe::TimePoint deadline) {
  do {
    if (!has_piece_)
      if (auto read = read_piece(deadline); !read) return read;
    if (!has_piece_) return {};
    // Asked again after a time-out, the lister knows the piece by its number and takes it once.
    const auto fed = lister.ask(piece_, answer_within);
    if (!fed) {
      if (fed.error().kind == troupe::ErrorKind::timed_out) return {};
      return tl::unexpected<troupe::Error>{fed.error()};
    }
    held_back_ = !fed->has_room;
    if (fed->next <= piece_.number) return {};
    done_ = piece_.last;
    piece_.number = fed->next;
    has_piece_ = false;
  } while (!done_ && !held_back_ && troupe::Clock::now() < deadline);
  return {};
}

}  // namespace verify
