// SPDX-License-Identifier: MIT
#include <troupe/zmq/queue.hpp>

#include <algorithm>
#include <mutex>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/zmq/broker.hpp>
#include <troupe/zmq/caller.hpp>
#include <troupe/zmq/passing.hpp>
#include <troupe/zmq/queue_ends.hpp>

namespace troupe::zmq {
namespace {

using detail::Broker;
using detail::Caller;
using detail::PassedEnd;
using detail::Reach;
using troupe::detail::QueueAccess;
using troupe::detail::QueuePass;
using troupe::detail::QueueReceiver;
using troupe::detail::QueueSender;
using wire::QueueKind;
using wire::QueueRole;

constexpr std::chrono::seconds answer_within{5};

/// What the owner's access and a remote one have in common: how ends come to be.
class ZmqAccess : public QueueAccess {
 public:
  [[nodiscard]] const std::string& endpoint() const noexcept { return reach_.endpoint; }

  Result<std::unique_ptr<QueueSender>> sender() override {
    return made<QueueSender, detail::ZmqSender>(reach_, QueueRole::sender, 0);
  }
  Result<std::unique_ptr<QueueReceiver>> receiver() override {
    return made<QueueReceiver, detail::ZmqReceiver>(reach_, QueueRole::receiver, 0);
  }
  Result<QueuePass> pass(End end) override {
    PassedEnd passed{
        .magic = wire::queue_magic,
        .version = wire::version,
        .end = static_cast<std::uint8_t>(end == End::sender ? QueueRole::sender : QueueRole::receiver),
        .endpoint = reach_.endpoint,
        .public_key = reach_.security.own.public_key,
        .secret_key = reach_.security.own.secret_key,
        .server_key = reach_.security.server_key};
    if (end == End::sender) {
      const auto token = expect_sender();
      if (!token) return tl::unexpected<Error>{token.error()};
      passed.token = *token;
    }
    return QueuePass{detail::encoded(passed), {}};
  }
  Result<std::vector<OwnedFd>> descriptors() const override {
    return failure(ErrorKind::refused, "ZeroMQ queue: it has no descriptors; try zmq::connect_queue");
  }

  template <class End, class Made>
  static Result<std::unique_ptr<End>> made(const Reach& reach, QueueRole role, std::uint64_t token) {
    auto caller = Caller::connect(reach, role, token, deadline_in(answer_within));
    if (!caller) return tl::unexpected<Error>{std::move(caller.error())};
    return std::unique_ptr<End>{std::make_unique<Made>(std::move(*caller))};
  }

 protected:
  explicit ZmqAccess(Reach reach) : reach_{std::move(reach)} {}
  [[nodiscard]] virtual Result<std::uint64_t> expect_sender() = 0;

 private:
  Reach reach_;  ///< for ends that come from here
};

class OwnAccess final : public ZmqAccess {
 public:
  OwnAccess(std::unique_ptr<Broker> broker, Reach reach)
      : ZmqAccess{std::move(reach)}, broker_{std::move(broker)} {}
  ~OwnAccess() override {
    if (guard_.forked()) static_cast<void>(broker_.release());
  }

  Result<std::unique_ptr<QueueSender>> sender() override {
    if (auto own = check(); !own) return failure(std::move(own));
    return ZmqAccess::sender();
  }
  Result<std::unique_ptr<QueueReceiver>> receiver() override {
    if (auto own = check(); !own) return failure(std::move(own));
    return ZmqAccess::receiver();
  }
  void close() noexcept override {
    if (!guard_.forked()) broker_->close();
  }
  std::size_t size() override { return guard_.forked() ? 0 : broker_->size(); }
  Result<void> drain(TimePoint deadline) override {
    if (auto own = check(); !own) return own;
    return broker_->drain(deadline);
  }
  std::vector<Holder> holders() override {
    return guard_.forked() ? std::vector<Holder>{} : broker_->holders();
  }
  QueueCounts counts() override { return guard_.forked() ? QueueCounts{} : broker_->counts(); }
  std::vector<QuarantinedItem> quarantine() override {
    return guard_.forked() ? std::vector<QuarantinedItem>{} : broker_->quarantine();
  }

 private:
  [[nodiscard]] Result<void> check() const { return guard_.check("ZeroMQ queue"); }
  Result<std::uint64_t> expect_sender() override {
    if (auto own = check(); !own) return failure(std::move(own));
    const std::uint64_t token = detail::random_number();
    if (auto expected = broker_->expect_sender(token); !expected) return failure(std::move(expected));
    return token;
  }

  troupe::detail::ForkGuard guard_{};
  std::unique_ptr<Broker> broker_;
};

class RemoteAccess final : public ZmqAccess {
 public:
  RemoteAccess(std::unique_ptr<Caller> caller, Reach reach)
      : ZmqAccess{std::move(reach)}, caller_{std::move(caller)} {}
  ~RemoteAccess() override {
    if (caller_->forked())
      static_cast<void>(caller_.release());
    else
      caller_->leave(deadline_in(answer_within));
  }

  void close() noexcept override {}  // its owner's to say
  std::size_t size() override {
    const auto answer = query(wire::Query::size);
    return answer ? answer->a : 0;
  }
  Result<void> drain(TimePoint deadline) override {
    if (auto own = caller_->check(); !own) return own;
    const std::uint64_t number = caller_->ask(QueueKind::empty);
    auto answer = caller_->fetch(number, deadline);
    if (!answer && answer.error().kind == ErrorKind::timed_out) {
      caller_->tell(QueueKind::unwant);
      answer = caller_->fetch(number, deadline_in(answer_within));
    }
    if (!answer) return failure(std::move(answer));
    if (answer->status == wire::QueueStatus::ok) return {};
    return tl::unexpected<Error>{troupe::detail::not_drained(endpoint(), size(), holders())};
  }
  std::vector<Holder> holders() override { return decoded<std::vector<Holder>>(wire::Query::holders); }
  QueueCounts counts() override { return decoded<QueueCounts>(wire::Query::counts); }
  std::vector<QuarantinedItem> quarantine() override {
    return detail::as_quarantined(decoded<std::vector<detail::PlainQuarantined>>(wire::Query::quarantine));
  }

 private:
  [[nodiscard]] Result<Caller::Answer> query(wire::Query what) {
    if (auto own = caller_->check(); !own) return failure(std::move(own));
    return caller_->fetch(caller_->ask(QueueKind::query, static_cast<std::uint64_t>(what)),
                          deadline_in(answer_within));
  }
  template <class T>
  [[nodiscard]] T decoded(wire::Query what) {
    const auto answer = query(what);
    if (!answer) return {};
    return decode<T>(answer->body).value_or(T{});
  }
  Result<std::uint64_t> expect_sender() override {
    if (auto own = caller_->check(); !own) return failure(std::move(own));
    auto answer = caller_->fetch(caller_->ask(QueueKind::expect), deadline_in(answer_within));
    if (!answer) return failure(std::move(answer));
    if (answer->status == wire::QueueStatus::ok) return answer->a;
    return failure(
        answer->a == static_cast<std::uint64_t>(ErrorKind::closed) ? ErrorKind::closed : ErrorKind::exhausted,
        "ZeroMQ queue: its owner takes no further senders");
  }

  std::unique_ptr<Caller> caller_;
};

Result<PassedEnd> opened(const QueuePass& pass, QueueRole role) {
  auto end = decode<PassedEnd>(pass.bytes);
  if (!end || end->magic != wire::queue_magic || end->version != wire::version ||
      end->end != static_cast<std::uint8_t>(role))
    return failure(ErrorKind::malformed, "ZeroMQ queue: these bytes are no such end");
  return end;
}

Reach reach_of(const PassedEnd& end) {
  return {end.endpoint, {.own = {end.public_key, end.secret_key}, .server_key = end.server_key}};
}

}  // namespace

Result<std::unique_ptr<QueueAccess>> QueueServer::create(const std::string& endpoint,
                                                         const QueueOptions& options,
                                                         const Security& security) {
  Security own = security;
  Reach reach;
  if (!own.own.secret_key.empty()) {
    auto guests = Keys::generate();
    if (!guests) return failure(std::move(guests));
    own.allowed.push_back(guests->public_key);
    reach.security = {.own = *guests, .server_key = own.own.public_key};
  }
  auto broker = Broker::create(endpoint, options, own);
  if (!broker) return failure(std::move(broker));
  reach.endpoint = (*broker)->endpoint();
  return std::unique_ptr<QueueAccess>{std::make_unique<OwnAccess>(std::move(*broker), std::move(reach))};
}

std::string endpoint_of(const QueueAccess& queue) {
  const auto* const ours = dynamic_cast<const ZmqAccess*>(&queue);
  return ours == nullptr ? std::string{} : ours->endpoint();
}

Result<std::unique_ptr<QueueAccess>> connect_queue(const std::string& endpoint, const Security& security,
                                                   Duration within) {
  Reach reach{endpoint, security};
  auto caller = Caller::connect(reach, QueueRole::access, 0, deadline_in(within));
  if (!caller) return failure(std::move(caller));
  return std::unique_ptr<QueueAccess>{std::make_unique<RemoteAccess>(std::move(*caller), std::move(reach))};
}

bool is_passed_end(const QueuePass& pass) noexcept {
  const auto magic = wire::read<std::uint32_t>(pass.bytes);
  return magic && *magic == wire::queue_magic;
}

Result<std::unique_ptr<QueueSender>> arrive_sender(const QueuePass& pass) {
  auto end = opened(pass, QueueRole::sender);
  if (!end) return failure(std::move(end));
  return ZmqAccess::made<QueueSender, detail::ZmqSender>(reach_of(*end), QueueRole::sender, end->token);
}

Result<std::unique_ptr<QueueReceiver>> arrive_receiver(const QueuePass& pass) {
  auto end = opened(pass, QueueRole::receiver);
  if (!end) return failure(std::move(end));
  return ZmqAccess::made<QueueReceiver, detail::ZmqReceiver>(reach_of(*end), QueueRole::receiver, end->token);
}

}  // namespace troupe::zmq

namespace troupe::detail {

Result<std::unique_ptr<QueueSender>> arrive_foreign_sender(const QueuePass& pass) {
  return zmq::arrive_sender(pass);
}
Result<std::unique_ptr<QueueReceiver>> arrive_foreign_receiver(const QueuePass& pass) {
  return zmq::arrive_receiver(pass);
}

}  // namespace troupe::detail
