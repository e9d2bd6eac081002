// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <troupe/actors/ref.hpp>
#include <troupe/foreign/exposed.hpp>
#include <troupe/transport/select.hpp>
#include <troupe/zmq/keys.hpp>

namespace troupe::foreign {

struct EndpointOptions {
  std::string address = "tcp://127.0.0.1:*";      ///< or ipc://…; `*` has a port, or a folder, chosen
  zmq::Security security{};                       ///< needed for an address that other machines reach
  Limits limits{};                                ///< of a message; one of twice the size cuts its connection
  std::size_t requests_max = 1024;                ///< under way, of all clients; one more is `full`
  Duration ask_within = std::chrono::seconds{5};  ///< for a request that names no time
  Duration ask_within_max = std::chrono::minutes{1};
};

struct ExposeOptions {
  /// Questions that an actor has at a time; the others wait here, in order. More only for one that keeps its
  /// Reply and answers later: the replies that come at once then share the room of one lane.
  std::size_t asks_max = 1;
};

/// Since the endpoint was made.
struct EndpointCounts {
  std::uint64_t requests = 0;     ///< that were understood
  std::uint64_t replies = 0;      ///< that were sent, errors among them
  std::uint64_t malformed = 0;    ///< what breaks the contract, or has a body that does not fit its type
  std::uint64_t refused = 0;      ///< to nobody, of a type that is not exposed there, or another version
  std::uint64_t full = 0;         ///< requests for which there was no room
  std::uint64_t timed_out = 0;    ///< requests that met their deadline
  std::uint64_t undelivered = 0;  ///< replies to a client that is gone or does not read

  friend bool operator==(const EndpointCounts&, const EndpointCounts&) = default;
};

/// Where programs in other languages send messages to actors and queues, and get replies: docs/foreign.md.
///
/// A message that names its reply is asked, any other is sent. Requests to one actor are handed over in the
/// order in which they came; an actor that does not answer holds up nobody else's requests. The endpoint
/// itself never waits for room: what finds none is answered `full`.
///
/// One thread at a time, of a process that is no actor and no child of a plain fork. While another thread of
/// the process asks, no request goes on: give it a Process of its own where that matters.
class Endpoint {
 public:
  /// Listens at once. `system` if it cannot; `refused` for an address that others can reach, without
  /// security.
  [[nodiscard]] static Result<Endpoint> create(EndpointOptions options = {});
  Endpoint(Endpoint&&) noexcept;
  Endpoint& operator=(Endpoint&&) noexcept;
  ~Endpoint();  ///< requests under way get no reply

  /// Takes these messages for an actor, by their types' own names. `invalid` for a name that is taken, or an
  /// actor that has one.
  template <class... M, class A>
  Result<void> expose(std::string_view name, const Ref<A>& actor, ExposeOptions options = {}) {
    static_assert((troupe::detail::contains<M, troupe::detail::Protocol<A>> && ...),
                  "troupe: this actor does not accept that message; add it to its `accepts` and write "
                  "on(const M&)");
    static_assert(
        sizeof...(M) != 0 && detail::all_named<M...>(),
        "troupe: other languages name a message by its type's own name: name at least one, each name "
        "once, and no instance of a template");
    return expose_actor(name, {actor.role(), {detail::actor_message<M>()...}}, options);
  }

  /// Takes messages of type M for a queue: a Sender<M>, or whatever can be called with an M and says
  /// Result<void>, without waiting. A full queue is answered `full`.
  template <class M, class Queue>
  requires detail::QueueOf<Queue, M> Result<void> expose(std::string_view name, Queue queue) {
    static_assert(detail::all_named<M>(), "troupe: other languages name a message by its type's own name");
    return expose_queue(name, detail::queue_message<M>(std::move(queue)));
  }

  /// Serves requests for so long. An error ends it for good: `down` when the keeper is gone, `refused` in a
  /// plain fork's child.
  [[nodiscard]] Result<void> serve(Duration within);
  /// Ready when serve(0s) has something to do: for select and other loops.
  [[nodiscard]] Waitable readable();

  [[nodiscard]] const std::string& address() const noexcept;  ///< to connect to
  [[nodiscard]] EndpointCounts counts() const;

 private:
  struct State;
  explicit Endpoint(std::unique_ptr<State> state) noexcept;
  Result<void> expose_actor(std::string_view name, detail::ExposedActor actor, const ExposeOptions& options);
  Result<void> expose_queue(std::string_view name, detail::QueueMessage queue);

  std::unique_ptr<State> state_;
};

}  // namespace troupe::foreign
