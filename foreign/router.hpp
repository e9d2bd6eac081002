// SPDX-License-Identifier: MIT
#pragma once
// Internal. The socket that clients in other languages connect to.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <troupe/transport/result.hpp>
#include <vector>

namespace troupe::foreign::detail {

/// A ZeroMQ ROUTER socket. Nothing here waits. One thread.
class Router {
 public:
  /// Who sent a message, and so where its reply goes.
  struct Client {
    std::vector<std::byte> identity{};
    bool delimited = false;  ///< an empty frame stands before its messages, as a REQ socket puts it
  };
  struct Message {
    Client from{};
    std::vector<std::byte> bytes{};
    bool whole = true;  ///< false: it had more frames than a message has, or none
  };

  /// Listens at `tcp://…` or `ipc://…`. A message larger than that cuts its client's connection.
  [[nodiscard]] static Result<Router> create(const std::string& address, std::size_t message_bytes_max);
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;
  ~Router();

  /// With the port that was chosen, if `*` stood for it.
  [[nodiscard]] const std::string& address() const noexcept;
  /// The next message; none if there is none now.
  [[nodiscard]] std::optional<Message> receive();
  /// False if its client is gone, or does not take what it is sent.
  [[nodiscard]] bool send(const Client& to, std::span<const std::byte> bytes);

  /// Readable when receive() may have something; look at has_message() before each wait.
  [[nodiscard]] int descriptor() const noexcept;
  [[nodiscard]] bool has_message() const;

 private:
  struct State;
  explicit Router(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace troupe::foreign::detail
