// SPDX-License-Identifier: MIT
#include <troupe/foreign/router.hpp>

#include <deque>
#include <mutex>
#include <troupe/zmq/place.hpp>
#include <troupe/zmq/post.hpp>

namespace troupe::foreign::detail {

using zmq::detail::Booking;
using zmq::detail::Guest;
using zmq::detail::PeerId;
using zmq::detail::Place;
using zmq::detail::Post;
using zmq::detail::ReadySign;
using zmq::detail::Seat;
using zmq::detail::SocketSpec;

/// Messages cross from the post's thread to the program's and back; the lock is held for a push or a pop.
class Router::State final : public Guest {
 public:
  State(RouterOptions options, Place place) : options_{std::move(options)}, place_{std::move(place)} {}
  ~State() override {
    if (booking_) booking_.post().run([this] { flush(); });
  }

  Result<void> open() {
    auto post = Post::of_this_process();
    if (!post) return failure(std::move(post));
    auto sign = ReadySign::create(*post);
    if (!sign) return failure(std::move(sign));
    sign_ = std::move(*sign);
    auto booking = (*post)->admit(*this, SocketSpec{.kind = SocketSpec::Kind::listen,
                                                    .endpoint = place_.endpoint(),
                                                    .security = options_.security,
                                                    .message_bytes_max = options_.message_bytes_max});
    if (!booking) return failure(std::move(booking));
    booking_ = std::move(*booking);
    return {};
  }

  // The post's thread.
  void on_seated(Seat& seat) override { seat_ = &seat; }
  void on_message(PeerId from, std::span<const std::byte> message) override { take({from, false}, message); }
  void on_delimited(PeerId from, std::span<const std::byte> message) override { take({from, true}, message); }
  void on_nonsense() override {
    const std::lock_guard lock{lock_};
    ++counts_.nonsense;
  }
  void on_process_ended(int /*watch*/) override {}
  void on_disconnect() override {}
  void on_not_admitted() override {}
  void on_round() override { flush(); }

  // The program's.
  [[nodiscard]] const std::string& address() const noexcept { return booking_->endpoint(); }
  [[nodiscard]] Result<void> check_process() const { return guard_.check("foreign endpoint"); }
  [[nodiscard]] bool forked() const noexcept { return guard_.forked(); }
  [[nodiscard]] int descriptor() const noexcept { return sign_.descriptor(); }
  std::optional<Message> receive() {
    const std::lock_guard lock{lock_};
    if (inbox_.empty()) return std::nullopt;
    Message message = std::move(inbox_.front());
    inbox_.pop_front();
    inbox_bytes_ -= message.bytes.size();
    if (inbox_.empty()) sign_.lower();
    return message;
  }
  void send(Message message) {
    {
      const std::lock_guard lock{lock_};
      outbox_.push_back(std::move(message));
    }
    booking_->wake();
  }
  [[nodiscard]] bool has_message() const {
    const std::lock_guard lock{lock_};
    return !inbox_.empty();
  }
  [[nodiscard]] Counts counts() const {
    const std::lock_guard lock{lock_};
    return counts_;
  }

 private:
  void take(const Client& from, std::span<const std::byte> message) {
    {
      const std::lock_guard lock{lock_};
      if (inbox_.empty() || inbox_bytes_ + message.size() <= options_.inbox_bytes_max) {
        inbox_.push_back({from, {message.begin(), message.end()}});
        inbox_bytes_ += message.size();
        return sign_.raise();
      }
      ++counts_.refused;
    }
    transmit({from, options_.refusal(message)});
  }

  void flush() {
    std::deque<Message> outbox;
    {
      const std::lock_guard lock{lock_};
      outbox.swap(outbox_);
    }
    for (const Message& message : outbox) transmit(message);
  }

  /// Counted before it leaves, so that who has a reply finds it counted.
  void transmit(const Message& message) {
    count(&Counts::delivered, 1);
    const auto sent = message.from.delimited ? seat_->send_delimited(message.from.peer, message.bytes)
                                             : seat_->send(message.from.peer, message.bytes, {});
    if (sent == Seat::Sent::done) return;
    count(&Counts::delivered, -1);
    count(&Counts::undelivered, 1);
  }
  void count(std::uint64_t Counts::*what, int by) {
    const std::lock_guard lock{lock_};
    counts_.*what += static_cast<std::uint64_t>(by);
  }

  RouterOptions options_;
  troupe::detail::ForkGuard guard_{};
  Place place_;
  mutable std::mutex lock_{};
  std::deque<Message> inbox_{};
  std::size_t inbox_bytes_ = 0;
  std::deque<Message> outbox_{};
  Counts counts_{};
  ReadySign sign_{};
  Seat* seat_ = nullptr;
  Booking booking_{};  ///< last: nothing is called any more once it is gone
};

Router::Router(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;
Router::~Router() {
  // In a forked child it is its parent's: left as it was copied.
  if (state_ && state_->forked()) static_cast<void>(state_.release());
}

Result<Router> Router::create(RouterOptions options) {
  auto place = Place::create(options.address, options.security);
  if (!place) return failure(std::move(place));
  auto state = std::make_unique<State>(std::move(options), std::move(*place));
  if (auto opened = state->open(); !opened) return failure(std::move(opened));
  return Router{std::move(state)};
}

const std::string& Router::address() const noexcept { return state_->address(); }
Result<void> Router::check_process() const { return state_->check_process(); }
std::optional<Router::Message> Router::receive() { return state_->receive(); }
void Router::send(const Client& to, std::vector<std::byte> bytes) { state_->send({to, std::move(bytes)}); }
int Router::descriptor() const noexcept { return state_->descriptor(); }
bool Router::has_message() const { return state_->has_message(); }
Router::Counts Router::counts() const { return state_->counts(); }

}  // namespace troupe::foreign::detail
