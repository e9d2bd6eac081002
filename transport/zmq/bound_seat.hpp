// SPDX-License-Identifier: MIT
#pragma once
// Internal. Knows ZeroMQ.

#include <atomic>
#include <string>
#include <troupe/transport/doorbell.hpp>
#include <troupe/zmq/doorman.hpp>
#include <troupe/zmq/post.hpp>
#include <vector>
#include <zmq.hpp>

namespace troupe::zmq::detail {

/// A seat with its sockets: a ROUTER that listens or a DEALER that connects, and the monitor of it.
/// Everything but wake() and endpoint() is for the post's thread, construction and destruction too.
class BoundSeat final : public Seat {
 public:
  /// Throws ::zmq::error_t.
  BoundSeat(::zmq::context_t& context, Doorman& doorman, Guest& guest, const SocketSpec& spec, int bell,
            std::string domain);
  ~BoundSeat() override;

  Sent send(PeerId to, std::span<const std::byte> head, std::span<const std::byte> body) override;
  Sent send_delimited(PeerId to, std::span<const std::byte> message) override;
  Result<int> watch(const ProcessMark& process) override;
  int watch_descriptor(OwnedFd descriptor) override;
  void unwatch(int watch) override;
  void set_due(TimePoint due) override { due_ = due; }
  void give_up_rest() override { socket_.set(::zmq::sockopt::linger, 0); }
  void allow(const std::string& public_key) override { doorman_.allow(domain_, public_key); }
  void wake() noexcept override;
  [[nodiscard]] const std::string& endpoint() const noexcept override { return endpoint_; }

  [[nodiscard]] TimePoint due() const noexcept { return due_; }
  void add_to(std::vector<::zmq::pollitem_t>& items);
  /// Looks at everything there is. True if there may be more.
  bool serve();

 private:
  void take_options(const SocketSpec& spec);
  bool has_room();
  bool take_messages();
  void take_message(std::vector<::zmq::message_t>& parts);
  bool take_events();
  bool take_ended();

  Doorman& doorman_;
  Guest& guest_;
  int bell_;
  std::string domain_;
  bool listens_;
  ::zmq::socket_t socket_;
  ::zmq::socket_t monitor_;
  std::string endpoint_{};
  std::vector<OwnedFd> watched_{};
  TimePoint due_ = never;
  std::atomic<bool> woken_{false};
  bool waits_for_room_ = false;
  bool tell_round_ = false;
};

}  // namespace troupe::zmq::detail
