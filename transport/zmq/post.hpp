// SPDX-License-Identifier: MIT
#pragma once
// Internal. The one thread of a process that owns all its ZeroMQ sockets.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/liveness.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/zmq/keys.hpp>
#include <utility>

namespace troupe::zmq::detail {

/// A connection as the listening socket tells it from others. 0: the one that a connecting socket has.
using PeerId = std::uint32_t;

class Seat;

/// What a socket serves. Everything is called on the post's thread, and may call its Seat.
class Guest {
 public:
  Guest() = default;
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;
  virtual ~Guest() = default;

  /// Once, before all else.
  virtual void on_seated(Seat& seat) = 0;
  /// Valid during the call. Empty: somebody has connected, again perhaps, and waits to be asked who it is.
  virtual void on_message(PeerId from, std::span<const std::byte> message) = 0;
  /// The same behind an empty frame, as a REQ socket sends it. Nonsense to most.
  virtual void on_delimited(PeerId from, std::span<const std::byte> message);
  /// What is not one of our messages at all.
  virtual void on_nonsense() = 0;
  virtual void on_process_ended(int watch) = 0;
  virtual void on_disconnect() = 0;
  /// The other side does not admit this end's key.
  virtual void on_not_admitted() = 0;
  /// After one or more of the above, a wake-up or a due time.
  virtual void on_round() = 0;
};

inline void Guest::on_delimited(PeerId /*from*/, std::span<const std::byte> /*message*/) { on_nonsense(); }

struct SocketSpec {
  enum class Kind : std::uint8_t { listen, connect };
  Kind kind = Kind::connect;
  std::string endpoint{};
  Security security{};
  std::size_t message_bytes_max = 0;
  std::size_t messages_max = 1024;  ///< queued for one peer
};

/// A guest's socket. For the post's thread only, but for wake() and endpoint().
class Seat {
 public:
  Seat() = default;
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  virtual ~Seat() = default;

  enum class Sent : std::uint8_t {
    done,
    unreachable,  ///< of a listening socket: that connection is gone
    full,         ///< the peer does not read, or is not connected; on_round() when it may be otherwise
  };
  virtual Sent send(PeerId to, std::span<const std::byte> head, std::span<const std::byte> body) = 0;
  /// Of a listening socket: behind an empty frame, to a REQ socket.
  virtual Sent send_delimited(PeerId to, std::span<const std::byte> message) = 0;
  /// `down` if that process has ended; on_process_ended() is called with the number otherwise, once it does.
  virtual Result<int> watch(const ProcessMark& process) = 0;
  /// The same for a descriptor of the post's thread, once it is readable or hung up.
  virtual int watch_descriptor(OwnedFd descriptor) = 0;
  virtual void unwatch(int watch) = 0;
  /// When on_round() is to be called at the latest.
  virtual void set_due(TimePoint due) = 0;
  /// Nobody is there any more to read what has not gone out: the end of this seat is not to wait for it.
  virtual void give_up_rest() = 0;
  /// Admits one more key.
  virtual void allow(const std::string& public_key) = 0;

  /// Has on_round() called. Any thread.
  virtual void wake() noexcept = 0;
  /// With the port that was chosen.
  [[nodiscard]] virtual const std::string& endpoint() const noexcept = 0;
};

class Booking;

/// ZeroMQ in one process: the context, its threads, and one more that alone touches sockets. Made for the
/// first guest and gone with the last one.
///
/// Those threads have a descriptor table of their own (close_range with CLOSE_RANGE_UNSHARE). So no
/// descriptor of libzmq's is ever one of the program's: closed standard descriptors stay free, and the child
/// of a plain fork holds no copy of a connection that would hide its parent's death. The child gets a context
/// of its own with its first socket; whatever it has copied from its parent must be refused (ForkGuard).
class Post : public std::enable_shared_from_this<Post> {
 public:
  [[nodiscard]] static Result<std::shared_ptr<Post>> of_this_process();

  Post(const Post&) = delete;
  Post& operator=(const Post&) = delete;
  ~Post();

  /// Binds or connects a socket for `guest`, which must outlive the booking.
  [[nodiscard]] Result<Booking> admit(Guest& guest, const SocketSpec& spec);
  /// Runs `job` on the post's thread and waits for it.
  void run(const std::function<void()>& job);
  /// Makes a descriptor of the program's known to the post's thread: the result is for that thread only.
  [[nodiscard]] Result<int> lend(int fd);
  void give_back(int lent);

 private:
  friend class Booking;
  struct Impl;
  explicit Post(std::unique_ptr<Impl> impl);
  void dismiss(Seat& seat);

  troupe::detail::ForkGuard guard_{};
  std::unique_ptr<Impl> impl_;
};

/// A guest's stay: the guest is not called any more once this has been destroyed.
class Booking {
 public:
  Booking() = default;
  Booking(std::shared_ptr<Post> post, Seat& seat) : post_{std::move(post)}, seat_{&seat} {}
  Booking(Booking&& other) noexcept
      : post_{std::move(other.post_)}, seat_{std::exchange(other.seat_, nullptr)} {}
  Booking& operator=(Booking&& other) noexcept;
  ~Booking();

  Seat* operator->() const noexcept { return seat_; }
  [[nodiscard]] explicit operator bool() const noexcept { return seat_ != nullptr; }
  [[nodiscard]] Post& post() const noexcept { return *post_; }

 private:
  std::shared_ptr<Post> post_{};
  Seat* seat_ = nullptr;
  troupe::detail::ForkGuard guard_{};
};

/// A descriptor of the program's that is readable while there is something to receive; set by the post's
/// thread, cleared by the program's, both under the lock of its owner.
class ReadySign {
 public:
  [[nodiscard]] static Result<ReadySign> create(std::shared_ptr<Post> post);
  ReadySign() = default;
  ReadySign(ReadySign&& other) noexcept
      : post_{std::move(other.post_)},
        bell_{std::move(other.bell_)},
        lent_{std::exchange(other.lent_, -1)},
        up_{other.up_},
        guard_{other.guard_} {}
  ReadySign& operator=(ReadySign&& other) noexcept;
  ~ReadySign();

  void raise() noexcept;  ///< on the post's thread
  void lower() noexcept;  ///< on the program's
  [[nodiscard]] int descriptor() const noexcept { return bell_.get(); }

 private:
  std::shared_ptr<Post> post_{};
  OwnedFd bell_{};
  int lent_ = -1;
  bool up_ = false;
  troupe::detail::ForkGuard guard_{};
};

}  // namespace troupe::zmq::detail
