// SPDX-License-Identifier: MIT
#pragma once
// Internal. The socket that clients in other languages connect to.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <troupe/transport/result.hpp>
#include <troupe/zmq/keys.hpp>
#include <vector>

namespace troupe::foreign::detail {

struct RouterOptions {
  std::string address{};
  zmq::Security security{};
  std::size_t message_bytes_max = 0;  ///< a larger one cuts its client's connection
  std::size_t inbox_bytes_max = 0;    ///< that wait for receive()
  /// What is said of a message for which the inbox has no room. Called on ZeroMQ's thread.
  std::function<std::vector<std::byte>(std::span<const std::byte> message)> refusal{};
};

/// A listening socket on the process's post. Nothing here waits. One thread; in the child of a plain fork it
/// is `refused`.
class Router {
 public:
  /// Who sent a message, and so where its reply goes.
  struct Client {
    std::uint32_t peer = 0;
    bool delimited = false;  ///< an empty frame stands before its messages, as a REQ socket puts it
  };
  struct Message {
    Client from{};
    std::vector<std::byte> bytes{};
  };
  struct Counts {
    std::uint64_t delivered = 0;
    std::uint64_t undelivered = 0;  ///< to a client that is gone, or does not read
    std::uint64_t refused = 0;      ///< there was no room in the inbox
    std::uint64_t nonsense = 0;     ///< frames that are no message: nobody is told
  };

  [[nodiscard]] static Result<Router> create(RouterOptions options);
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;
  ~Router();  ///< what was sent goes on its way still

  /// With the port, or the folder, that was chosen if `*` stood for it.
  [[nodiscard]] const std::string& address() const noexcept;
  [[nodiscard]] Result<void> check_process() const;
  /// The next message; none if there is none now.
  [[nodiscard]] std::optional<Message> receive();
  void send(const Client& to, std::vector<std::byte> bytes);

  /// Readable while receive() has something.
  [[nodiscard]] int descriptor() const noexcept;
  [[nodiscard]] bool has_message() const;
  [[nodiscard]] Counts counts() const;

 private:
  class State;
  explicit Router(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace troupe::foreign::detail
