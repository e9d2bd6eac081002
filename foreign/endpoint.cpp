// SPDX-License-Identifier: MIT
#include <troupe/foreign/endpoint.hpp>

#include <map>
#include <troupe/foreign/calls.hpp>
#include <troupe/foreign/contract.hpp>
#include <variant>

namespace troupe::foreign {

using detail::Call;
using detail::Calls;
using detail::Outcome;
using detail::QueueMessage;
using detail::ReplyTo;
using detail::Request;
using detail::Router;
using troupe::detail::AskWaiter;

namespace {

constexpr std::size_t inbox_messages_max = 64;  ///< of the largest size, that wait for a turn
constexpr int messages_a_turn = 64;  ///< before replies, deadlines and whoever called serve() have theirs

tl::unexpected<Error> unknown_type(const Request& request) {
  return failure(ErrorKind::refused, request.to + ": it takes no message of type " + request.type);
}

/// The reply to a message that is not even looked at, but for its id.
std::vector<std::byte> no_room(std::span<const std::byte> message, const Limits& limits,
                               Duration within_max) {
  const Encoding encoding = encoding_of(message);
  auto request = detail::read_request(message, encoding, limits, within_max);
  auto id = request ? std::optional{std::move(request->id)} : std::move(request.error().id);
  return print(detail::make_reply(id, failure(ErrorKind::full, "request: too many wait; try later")),
               encoding);
}

}  // namespace

/// Everything, at a place that does not move.
struct Endpoint::State {
  struct Actor {
    std::vector<detail::ActorMessage> messages{};
    Calls calls;
  };
  using Target = std::variant<Actor, QueueMessage>;

  State(EndpointOptions chosen, Router listening, AskWaiter sleeping, Timer waking) noexcept
      : options{std::move(chosen)},
        router{std::move(listening)},
        waiter{std::move(sleeping)},
        timer{std::move(waking)} {}

  void turn();
  void take(Router::Message message);
  void handle(ReplyTo reply_to, const Request& request);
  void call(Actor& actor, ReplyTo reply_to, const Request& request);
  void end(const ReplyTo& reply_to, Outcome outcome);
  void reply(const Router::Client& client, Encoding encoding, const std::optional<std::string>& id,
             Outcome outcome);
  void count(const Error& error);
  Result<void> expose(std::string_view name, Target target);
  [[nodiscard]] bool arm();
  [[nodiscard]] TimePoint next_deadline();
  template <class Function>
  void each_actor(Function function) {
    for (auto& [name, target] : targets)
      if (auto* const actor = std::get_if<Actor>(&target)) function(*actor);
  }

  EndpointOptions options;
  Router router;
  AskWaiter waiter;
  Timer timer;
  std::map<std::string, Target, std::less<>> targets{};
  std::size_t under_way = 0;
  EndpointCounts counts{};
};

// ---- one request
// --------------------------------------------------------------------------------------------

void Endpoint::State::count(const Error& error) {
  switch (error.kind) {
    case ErrorKind::malformed: ++counts.malformed; return;
    case ErrorKind::refused: ++counts.refused; return;
    case ErrorKind::full: ++counts.full; return;
    case ErrorKind::timed_out: ++counts.timed_out; return;
    case ErrorKind::closed:
    case ErrorKind::down:
    case ErrorKind::poison:
    case ErrorKind::no_reply:
    case ErrorKind::invalid:
    case ErrorKind::exhausted:
    case ErrorKind::system: return;
  }
  std::abort();
}

void Endpoint::State::reply(const Router::Client& client, Encoding encoding,
                            const std::optional<std::string>& id, Outcome outcome) {
  if (!outcome) count(outcome.error());
  router.send(client, print(detail::make_reply(id, std::move(outcome)), encoding));
}

void Endpoint::State::take(Router::Message message) {
  const Encoding encoding = encoding_of(message.bytes);
  auto request = detail::read_request(message.bytes, encoding, options.limits, options.ask_within_max);
  if (!request)
    return reply(message.from, encoding, request.error().id,
                 tl::unexpected<Error>{std::move(request.error().error)});
  ++counts.requests;
  std::string id = request->id;
  handle({message.from, encoding, std::move(id)}, *request);
}

void Endpoint::State::end(const ReplyTo& reply_to, Outcome outcome) {
  reply(reply_to.client, reply_to.encoding, reply_to.id, std::move(outcome));
}

void Endpoint::State::handle(ReplyTo reply_to, const Request& request) {
  const auto target = targets.find(request.to);
  if (target == targets.end())
    return end(reply_to, failure(ErrorKind::refused, request.to + ": nobody has that name here"));
  if (auto* const actor = std::get_if<Actor>(&target->second))
    return call(*actor, std::move(reply_to), request);
  const QueueMessage& queue = std::get<QueueMessage>(target->second);
  if (queue.type != request.type) return end(reply_to, unknown_type(request));
  auto put = queue.put(request.body);
  if (!put && put.error().kind == ErrorKind::timed_out) put.error().kind = ErrorKind::full;
  end(reply_to, put ? Outcome{} : Outcome{failure(std::move(put))});
}

void Endpoint::State::call(Actor& actor, ReplyTo reply_to, const Request& request) {
  const auto message = std::ranges::find(actor.messages, request.type, &detail::ActorMessage::type);
  if (message == actor.messages.end()) return end(reply_to, unknown_type(request));
  if (under_way >= options.requests_max)
    return end(reply_to, failure(ErrorKind::full, "request: too many are under way; try later"));
  auto bytes = message->encode(request.body);
  if (!bytes) return end(reply_to, failure(std::move(bytes)));
  ++under_way;
  actor.calls.add({std::move(reply_to), &*message, std::move(*bytes),
                   deadline_in(request.within.value_or(options.ask_within))});
  actor.calls.advance();
}

// ---- the loop
// -------------------------------------------------------------------------------------------------

void Endpoint::State::turn() {
  waiter.wake();
  each_actor([](Actor& actor) { actor.calls.advance(); });
  for (int i = 0; i < messages_a_turn; ++i) {
    auto message = router.receive();
    if (!message) break;
    take(std::move(*message));
  }
}

TimePoint Endpoint::State::next_deadline() {
  TimePoint next = never;
  each_actor([&](const Actor& actor) { next = std::min(next, actor.calls.next_deadline()); });
  return next;
}

bool Endpoint::State::arm() {
  const TimePoint next = next_deadline();
  if (next == never)
    timer.stop();
  else if (auto set = timer.set(next); !set)
    return true;  // look every time rather than never
  return Clock::now() >= next || router.has_message() || waiter.arm();
}

Result<void> Endpoint::serve(Duration within) {
  if (auto own = state_->router.check_process(); !own) return own;
  const TimePoint deadline = deadline_in(within);
  for (;;) {
    state_->turn();
    const TimePoint next = std::min(deadline, state_->next_deadline());
    if (Clock::now() >= deadline) return {};
    if (state_->router.has_message()) continue;
    if (auto slept = state_->waiter.sleep(next); !slept) return slept;
  }
}

Waitable Endpoint::readable() {
  return {state_->waiter.descriptor(), [state = state_.get()] { return state->arm(); }};
}

// ---- birth
// ----------------------------------------------------------------------------------------------------

Endpoint::Endpoint(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}
Endpoint::Endpoint(Endpoint&&) noexcept = default;
Endpoint& Endpoint::operator=(Endpoint&&) noexcept = default;
Endpoint::~Endpoint() = default;

Result<Endpoint> Endpoint::create(EndpointOptions options) {
  auto waiter = AskWaiter::create();
  if (!waiter) return failure(std::move(waiter));
  auto timer = Timer::create();
  if (!timer) return failure(std::move(timer));
  const std::size_t message_bytes_max = options.limits.message_bytes_max;
  auto router = Router::create(
      {.address = options.address,
       .security = options.security,
       .message_bytes_max = 2 * message_bytes_max,
       .inbox_bytes_max = inbox_messages_max * message_bytes_max,
       .refusal = [limits = options.limits, max = options.ask_within_max](
                      std::span<const std::byte> message) { return no_room(message, limits, max); }});
  if (!router) return failure(std::move(router));
  for (const int fd : {router->descriptor(), timer->waitable().descriptor})
    if (auto watched = waiter->watch(fd); !watched) return failure(std::move(watched));
  return Endpoint{
      std::make_unique<State>(std::move(options), std::move(*router), std::move(*waiter), std::move(*timer))};
}

Result<void> Endpoint::State::expose(std::string_view name, Target target) {
  if (name.empty() || name.size() > contract::name_bytes_max || !is_utf8(name))
    return failure(ErrorKind::invalid,
                   "expose: a name is 1 to " + std::to_string(contract::name_bytes_max) + " bytes of UTF-8");
  if (!targets.emplace(name, std::move(target)).second)
    return failure(ErrorKind::invalid, "expose: the name " + std::string{name} + " is taken");
  return {};
}

Result<void> Endpoint::expose_actor(std::string_view name, detail::ExposedActor actor,
                                    const ExposeOptions& options) {
  bool known = false;
  state_->each_actor([&](const State::Actor& other) { known = known || other.calls.role() == actor.role; });
  if (known) return failure(ErrorKind::invalid, "expose: that actor has a name here");
  State* const state = state_.get();
  const auto end = [state](const ReplyTo& reply_to, Outcome outcome) {
    --state->under_way;
    state->end(reply_to, std::move(outcome));
  };
  return state_->expose(name,
                        State::Actor{std::move(actor.messages), Calls{actor.role, options.asks_max, end}});
}

Result<void> Endpoint::expose_queue(std::string_view name, detail::QueueMessage queue) {
  return state_->expose(name, std::move(queue));
}

const std::string& Endpoint::address() const noexcept { return state_->router.address(); }

EndpointCounts Endpoint::counts() const {
  EndpointCounts counts = state_->counts;
  const Router::Counts router = state_->router.counts();
  counts.replies = router.delivered;
  counts.undelivered = router.undelivered;
  counts.full += router.refused;
  counts.malformed += router.nonsense;
  return counts;
}

}  // namespace troupe::foreign
