// SPDX-License-Identifier: MIT
#include <troupe/actors/outbox.hpp>

#include <algorithm>
#include <troupe/runtime/child_main.hpp>
#include <troupe/runtime/log.hpp>

namespace troupe::detail {
namespace {

using control::LaneClass;

constexpr auto letter_within = std::chrono::seconds{60};
/// Numbers of a role that was added anew are larger than all it ever used, so that nobody takes them for old
/// ones: 24 bits of the child's own number, 32 of its messages to one receiver.
constexpr unsigned number_bits_per_child = 32;

}  // namespace

void Outbox::keep(Letter&& letter) {
  if (letter.address().lane_class == LaneClass::mail) {
    auto at = std::ranges::find(mail_.numbers, letter.to, &SentMail::Numbering::to);
    if (at == mail_.numbers.end()) {
      const std::uint64_t first = own_start() == nullptr ? 0 : own_start()->child << number_bits_per_child;
      at = mail_.numbers.insert(mail_.numbers.end(), {letter.to, first});
    }
    letter.sequence = envelope::sequence(envelope::kind_of(letter.sequence), ++at->last);
  }
  mail_.letters.push_back(std::move(letter));
}

Result<void> Outbox::deposit(Letter& letter, const DescriptorList& descriptors) {
  const control::LetterDeposit request{.letter = mail_.next_deposit};
  auto kept = endpoint_.link().ask<control::Id>(request, {}, descriptors.borrowed());
  if (!kept) return failure(std::move(kept));
  letter.deposit = mail_.next_deposit++;
  return {};
}

void Outbox::forget_uncommitted() {
  const control::LettersGone none{.first = mail_.next_deposit, .last = ~std::uint64_t{0}};
  [[maybe_unused]] const auto told = endpoint_.link().tell(none);
}

/// Only now, behind the frame: a next incarnation to whom the keeper says that it is gone knows that it has
/// left.
void Outbox::gone(const Letter& letter) {
  if (letter.deposit == 0) return;
  const control::LettersGone one{.first = letter.deposit, .last = letter.deposit};
  [[maybe_unused]] const auto told = endpoint_.link().tell(one);
}

bool Outbox::deliver() {
  if (committed_ == 0) return true;
  std::vector<Letter>& letters = mail_.letters;
  std::vector<Address> full;  // what else is for them stays behind the letter that found no room
  const auto has_left = [&](const Letter& letter) {
    if (std::ranges::find(full, letter.address()) != full.end()) return false;
    switch (endpoint_.try_deliver(letter)) {
      case Endpoint::Delivery::delivered: gone(letter); return true;
      case Endpoint::Delivery::impossible:
        set_aside(letter, ErrorKind::invalid, "it does not fit into its receiver's mailbox");
        return true;
      case Endpoint::Delivery::no_room: full.push_back(letter.address()); return false;
    }
    std::abort();
  };
  const auto end = letters.begin() + static_cast<std::ptrdiff_t>(committed_);
  std::size_t stayed = 0;
  for (auto letter = letters.begin(); letter != end; ++letter) {
    if (has_left(*letter)) {
      if (stayed == 0) oldest_until_ = never;
      continue;
    }
    if (auto& place = letters[stayed++]; &place != &*letter) place = std::move(*letter);
  }
  letters.erase(letters.begin() + static_cast<std::ptrdiff_t>(stayed), end);
  committed_ = stayed;
  return stayed == 0;
}

Result<void> Outbox::deliver_to(RoleId to, TimePoint deadline) {
  const auto delivered = [&] {
    if (deliver()) return true;
    const std::span waiting{mail_.letters.data(), committed_};
    return std::ranges::find(waiting, Address{to}, &Letter::address) == waiting.end();
  };
  while (!delivered()) {
    if (Clock::now() >= deadline)
      return failure(ErrorKind::full, "ask: what was sent to that receiver before has found no room yet");
    endpoint_.sleep_for_room(deadline);
    endpoint_.catch_up();
  }
  return {};
}

void Outbox::wait_for_room() {
  if (oldest_until_ == never) oldest_until_ = deadline_in(letter_within);
  if (Clock::now() < oldest_until_) return endpoint_.sleep_for_room(oldest_until_);
  log(LogLevel::error, "a message is set aside: its receiver's mailbox stayed full");
  set_aside(mail_.letters.front(), ErrorKind::full, "the receiver's mailbox stayed full");
  mail_.letters.erase(mail_.letters.begin());
  --committed_;
  oldest_until_ = never;
}

bool Outbox::is_heavy(std::size_t slot_bytes) const noexcept {
  std::size_t bytes = 0;
  for (const Letter& letter : mail_.letters) bytes += letter.bytes.size() + sizeof(Letter);
  return bytes > slot_bytes / 2;
}

/// A letter that cannot arrive goes where it can be looked at. A late reply is missed by nobody.
void Outbox::set_aside(const Letter& letter, ErrorKind cause, std::string_view text) {
  gone(letter);
  if (letter.address().lane_class == LaneClass::reply) return;
  endpoint_.set_aside({.from = endpoint_.link().attached().role,
                       .type = letter.type,
                       .sequence = letter.sequence,
                       .cause = cause,
                       .text = text},
                      std::as_bytes(std::span{letter.bytes}));
}

}  // namespace troupe::detail
