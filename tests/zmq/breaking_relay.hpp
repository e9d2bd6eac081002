// SPDX-License-Identifier: MIT
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/syscall.hpp>
#include <vector>

namespace troupe::test {

/// Stands between two ends on TCP and breaks their connection again and again, so often as it was told.
class BreakingRelay {
 public:
  BreakingRelay(const std::string& endpoint, unsigned seed, int breaks)
      : target_{address_of(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)))},
        listens_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)},
        stop_{create_bell().value()},
        random_{seed},
        breaks_{breaks} {
    sockaddr_in own = address_of(0);
    socklen_t size = sizeof own;
    check(::bind(listens_.get(), reinterpret_cast<const sockaddr*>(&own), size));
    check(::listen(listens_.get(), 16));
    check(::getsockname(listens_.get(), reinterpret_cast<sockaddr*>(&own), &size));
    port_ = ntohs(own.sin_port);
    thread_ = std::thread{[this] { run(); }};
  }
  BreakingRelay(const BreakingRelay&) = delete;
  BreakingRelay& operator=(const BreakingRelay&) = delete;
  ~BreakingRelay() {
    ring(stop_.get());
    thread_.join();
  }
  [[nodiscard]] std::string endpoint() const { return "tcp://127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] int breaks_left() const { return breaks_.load(); }

 private:
  static sockaddr_in address_of(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return address;
  }
  static void check(int result) {
    if (result == -1) throw Failure{troupe::detail::system_error("relay", errno)};
  }
  void run() {
    for (;;) {
      pollfd polled[] = {{listens_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      ::poll(polled, 2, -1);
      if (polled[1].revents != 0) return;
      const OwnedFd near{::accept4(listens_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
      const OwnedFd far{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
      if (::connect(far.get(), reinterpret_cast<const sockaddr*>(&target_), sizeof target_) != 0) continue;
      for (const int fd : {near.get(), far.get()}) {
        const int at_once = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
      }
      if (!relay(near.get(), far.get())) return;
    }
  }
  /// False when told to stop.
  bool relay(int near, int far) {
    std::size_t bytes_left = std::uniform_int_distribution<std::size_t>{0, 200'000}(random_);
    std::vector<char> bytes(16 * 1024);
    for (;;) {
      pollfd polled[] = {{near, POLLIN, 0}, {far, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      ::poll(polled, 3, -1);
      if (polled[2].revents != 0) return false;
      for (int side = 0; side < 2; ++side) {
        if (polled[side].revents == 0) continue;
        const auto count = ::recv(polled[side].fd, bytes.data(), bytes.size(), 0);
        if (count <= 0) return true;
        auto length = static_cast<std::size_t>(count);
        const bool breaks = breaks_ > 0 && length >= bytes_left;
        if (breaks) length = bytes_left;  // in the middle of a message, as a rule
        ::send(polled[1 - side].fd, bytes.data(), length, MSG_NOSIGNAL);
        bytes_left -= std::min(bytes_left, length);
        if (breaks) {
          --breaks_;
          return true;
        }
      }
    }
  }

  sockaddr_in target_;
  OwnedFd listens_;
  OwnedFd stop_;
  std::mt19937 random_;
  std::atomic<int> breaks_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace troupe::test
