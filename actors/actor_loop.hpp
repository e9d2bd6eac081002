// SPDX-License-Identifier: MIT
#pragma once
// Internal. Takes a message, handles it, acknowledges it; for ever.

#include <deque>
#include <troupe/actors/outbox.hpp>
#include <troupe/actors/reply.hpp>
#include <troupe/actors/self.hpp>
#include <troupe/transport/kept_file.hpp>

namespace troupe::detail {

/// What a handled message came to: nothing, a value, or an error for whoever asked.
struct Handled {
  enum class Kind { done, unknown_type, malformed } kind = Kind::done;
  std::string text{};
  ErrorKind cause = ErrorKind::malformed;  ///< of `malformed`: why it could not be decoded
};

/// The actor's type behind the loop.
class Behavior {
 public:
  virtual ~Behavior() = default;
  /// Decodes and handles; a reply goes through ActorLoop::reply.
  virtual Handled handle(std::uint64_t type, std::span<const std::byte> message, DescriptorStore& descriptors,
                         Self& self) = 0;
  virtual void start(Self& self) = 0;
  virtual void stop(Self& self) = 0;
  [[nodiscard]] virtual bool keeps_state() const noexcept = 0;
  [[nodiscard]] virtual Result<std::size_t> save(std::span<std::byte> room) const = 0;
  [[nodiscard]] virtual Result<void> load(std::span<const std::byte> bytes) = 0;
};

/// What stands in a kept slot beside the state: the actor's books.
struct Books {
  struct Mark {
    RoleId from = 0;
    std::uint64_t lane = 0;
    std::uint64_t offset = 0;  ///< everything before it on that lane has been consumed
    std::uint64_t number = 0;  ///< of the last numbered message from that role
  };
  std::vector<Mark> consumed{};
  SentMail sent{};
};

/// The life of an actor process. One thread.
///
/// Order of one message: attempt word, handler, commit of state + books (one store), acknowledgement (one
/// store), then the outbox is copied to its lanes. A kill between any two of them is repaired by the next
/// incarnation from the kept slot and the words in shared memory; docs/lane.md and docs/architecture.md say
/// how.
class ActorLoop {
 public:
  ActorLoop(Endpoint& endpoint, Behavior& behavior);
  ActorLoop(const ActorLoop&) = delete;
  ActorLoop& operator=(const ActorLoop&) = delete;
  ~ActorLoop();
  /// Returns the exit code: 0 when stopped.
  int run();

  /// The actor that this process is; none in a program, and after the loop's end.
  [[nodiscard]] static ActorLoop* current() noexcept;

  /// Who asked the question in hand, if it was not taken yet: whoever takes it owes the answer.
  [[nodiscard]] Asker take_question() noexcept { return std::exchange(asker_, {}); }
  void reply(const Asker& to, const Payload& value);
  void reply_error(const Asker& to, ErrorKind kind, std::string_view text);

 private:
  friend class troupe::Self;
  Result<void> restore();
  void handle(LanesIn::Lane& lane);
  void dispatch(LanesIn::Lane& lane, const Frame& frame);
  bool is_duplicate(LanesIn::Lane& lane, const Frame& frame);
  void finish(LanesIn::Lane& lane, const Frame& frame);
  void set_aside(LanesIn::Lane& lane, const Frame& frame, ErrorKind cause, std::uint32_t attempts,
                 std::string_view text);
  Result<void> write_down();
  void post_reply(const Asker& to, std::uint32_t outcome, const Payload& value);
  void rest();
  void prune_marks();
  Books::Mark& mark_of(RoleId from);
  void show(lane::Activity activity, std::uint64_t type) noexcept;
  void step() noexcept;

  Endpoint& endpoint_;
  Behavior& behavior_;
  Self self_{*this};
  std::optional<KeptFile> kept_{};
  Books books_{};
  Outbox outbox_{endpoint_, books_.sent};
  std::vector<std::byte> buffer_{};
  std::uint32_t attempt_ = 0;
  std::uint32_t attempts_max_ = 0;
  LanesIn::Lane* lane_in_hand_ = nullptr;
  std::span<const std::byte> message_in_hand_{};
  Asker asker_{};
  bool ending_ = false;
  std::string failure_{};
};

}  // namespace troupe::detail
