// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <string>
#include <troupe/transport/syscall.hpp>

#include "transport/forked.hpp"

namespace troupe::test {

/// A child that chooses where it listens, and the test that is told.
struct ListeningChild {
  using Tell = std::function<void(const std::string& endpoint)>;
  /// `body` tells once, then goes on. A child that dies before is an exception here.
  explicit ListeningChild(const std::function<int(const Tell&)>& body) : child{start(body)} {}

  std::string endpoint;
  Forked child;

 private:
  Forked start(const std::function<int(const Tell&)>& body) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) == -1) throw Failure{detail::system_error("pipe2", errno)};
    const OwnedFd out{ends[0]};
    OwnedFd in{ends[1]};
    Forked forked{[&] {
      return body([&](const std::string& at) {
        if (::write(in.get(), at.data(), at.size()) == -1) throw Failure{detail::system_error("tell", errno)};
      });
    }};
    in.reset();
    std::array<char, 200> told{};
    const ssize_t got = ::read(out.get(), told.data(), told.size());
    if (got <= 0) throw Failure{{ErrorKind::down, 0, "nobody listens"}};
    endpoint.assign(told.data(), static_cast<std::size_t>(got));
    return forked;
  }
};

}  // namespace troupe::test
