// SPDX-License-Identifier: MIT
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {

/// A ZMTP 3.0 peer without a library: greeting and READY of a DEALER over TCP.
class RawDealer {
 public:
  explicit RawDealer(const std::string& endpoint) : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw Failure{troupe::detail::system_error("connect", errno)};
    std::string greeting{"\xFF\0\0\0\0\0\0\0\0\x7F\3\0NULL", 16};
    greeting.resize(64, '\0');
    send(greeting + std::string{"\4\x1C\5READY\xBSocket-Type\0\0\0\6DEALER", 30});
    if (!hears("READY")) throw Failure{{ErrorKind::closed, 0, "no READY"}};
  }
  void send(const std::string& bytes) const {
    if (::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
      throw Failure{troupe::detail::system_error("send", errno)};
  }
  /// A message of less than 64 KiB.
  void say(std::span<const std::byte> header, std::span<const std::byte> body) const {
    const auto size = header.size() + body.size();
    std::string frame{size < 256 ? '\0' : '\2'};
    if (size >= 256) frame += std::string{"\0\0\0\0\0\0", 6} + static_cast<char>(size >> 8U);
    frame += static_cast<char>(size & 0xFFU);
    for (const auto part : {header, body})
      frame.append(reinterpret_cast<const char*>(part.data()), part.size());
    send(frame);
  }
  /// Reads until `what` has come; false if the other end hangs up before.
  bool hears(std::string_view what) {
    while (heard_.find(what) == std::string::npos) {
      char bytes[256];
      if (!troupe::detail::wait_readable(fd_.get(), deadline_in(std::chrono::seconds{60}))) return false;
      const auto count = ::recv(fd_.get(), bytes, sizeof bytes, 0);
      if (count <= 0) return false;
      heard_.append(bytes, static_cast<std::size_t>(count));
    }
    return true;
  }

  [[nodiscard]] bool has_heard(std::string_view what) const { return heard_.find(what) != std::string::npos; }

 private:
  OwnedFd fd_;
  std::string heard_{};
};

}  // namespace troupe::test
