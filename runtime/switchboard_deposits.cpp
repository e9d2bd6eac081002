// SPDX-License-Identifier: MIT
// Descriptors on their way: a lane carries bytes only, so what a frame speaks of waits here for the frame's
// reader.
#include <algorithm>
#include <troupe/runtime/switchboard.hpp>

namespace troupe {
namespace {

constexpr std::size_t deposits_per_sender_max = 256;
constexpr std::size_t deposits_max = 4096;

template <class Letters>
std::size_t in_letters(const Letters& letters) {
  std::size_t count = 0;
  for (const auto& [number, descriptors] : letters) count += descriptors->size();
  return count;
}

}  // namespace

std::size_t Switchboard::deposits(const Lane& lane) {
  std::size_t count = 0;
  for (const Deposit& one : lane.deposits) count += one.descriptors->size();
  return count;
}

std::size_t Switchboard::deposits() const {
  std::size_t count = 0;
  for (const auto& [id, lane] : lanes_) count += deposits(lane);
  for (const auto& [id, role] : roles_) count += in_letters(role.letters);
  return count;
}

std::size_t Switchboard::deposits(const Role& sender) {
  std::size_t count = in_letters(sender.letters);
  for (const auto id : sender.out) count += deposits(*find_lane(id));
  return count;
}

/// A deposit lives as long as the frame that names it. It goes when the frame was acknowledged, and when the
/// frame can never come: its sender is dead, or has moved on to another lane.
void Switchboard::collect(Lane& lane) {
  if (lane.deposits.empty()) return;
  const Role* const reader = find(lane.to);
  if (reader == nullptr || reader->ended || lane.broken) return lane.deposits.clear();
  const std::uint64_t head = reader->view->slot(lane.spec.slot).head.load(std::memory_order_acquire);
  const std::uint64_t end = lane.final ? published(lane) : ~std::uint64_t{0};
  std::erase_if(lane.deposits, [&](const Deposit& one) { return one.offset < head || one.offset >= end; });
}

void Switchboard::collect_all_of(const Role& role) {
  for (const auto* const lanes : {&role.out, &role.in})
    for (const auto lane : *lanes) collect(*find_lane(lane));
}

/// What is too large for its frame takes room in the mailbox, too: one more is let in as long as those that
/// wait leave any. So there is always one that fits, and never much more than the bound.
Result<void> Switchboard::check_apart(const Role& reader, std::uint64_t bytes) {
  if (bytes > reader.spec.message_bytes_max)
    return failure(ErrorKind::invalid, "deposit: a message larger than its receiver takes");
  std::uint64_t waiting = 0;
  for (const auto id : reader.in) {
    Lane& lane = *find_lane(id);
    collect(lane);
    for (const Deposit& one : lane.deposits) waiting += one.apart_bytes;
  }
  if (waiting < reader.spec.mailbox_bytes_max) return {};
  return failure(ErrorKind::exhausted, "send: large messages of " + std::to_string(waiting) +
                                           " bytes wait in the receiver's mailbox; try again later, or a "
                                           "larger mailbox_bytes_max");
}

Result<void> Switchboard::check_bounds(const Role& sender, std::size_t more) {
  if (deposits(sender) + more > deposits_per_sender_max)
    return failure(ErrorKind::exhausted,
                   "send: " + std::to_string(deposits_per_sender_max) +
                       " descriptors of this sender have not been read yet; try again when "
                       "its receivers have got on");
  if (deposits() + more > deposits_max)
    return failure(ErrorKind::exhausted, "send: the keeper holds " + std::to_string(deposits_max) +
                                             " descriptors that have not been read yet; try again later");
  return {};
}

Result<void> Switchboard::deposit(RoleId from, const control::Deposit& request,
                                  std::vector<OwnedFd> descriptors) {
  const Role* const sender = find(from);
  Lane* const lane = find_lane(request.lane);
  if (sender == nullptr || lane == nullptr || lane->from != from || lane->final ||
      request.offset < published(*lane))
    return failure(ErrorKind::invalid, "deposit: not before the next frame of an own lane");
  const auto letter = sender->letters.find(request.letter);
  if (request.letter != 0 && letter == sender->letters.end())
    return failure(ErrorKind::closed, "deposit: that letter has left");
  collect_all_of(*sender);
  // A second one for the same place means that the frame of the first was never published.
  std::erase_if(lane->deposits, [&](const Deposit& one) { return one.offset >= request.offset; });
  if (request.letter == 0)  // a letter's were counted already
    if (auto room = check_bounds(*sender, descriptors.size()); !room) return room;
  if (const Role* const reader = find(lane->to); reader != nullptr && request.apart_bytes != 0)
    if (auto room = check_apart(*reader, request.apart_bytes); !room) return room;
  lane->deposits.push_back({request.offset, request.apart_bytes,
                            request.letter != 0
                                ? letter->second
                                : std::make_shared<const std::vector<OwnedFd>>(std::move(descriptors))});
  return {};
}

Result<void> Switchboard::deposit_letter(RoleId from, const control::LetterDeposit& request,
                                         std::vector<OwnedFd> descriptors) {
  Role* const sender = find(from);
  if (sender == nullptr || request.letter == 0)
    return failure(ErrorKind::invalid, "deposit: a letter without its number");
  collect_all_of(*sender);
  sender->letters.erase(request.letter);
  if (auto room = check_bounds(*sender, descriptors.size()); !room) return room;
  sender->letters[request.letter] = std::make_shared<const std::vector<OwnedFd>>(std::move(descriptors));
  return {};
}

void Switchboard::letters_gone(RoleId from, const control::LettersGone& which) {
  Role* const sender = find(from);
  if (sender == nullptr || which.first > which.last) return;
  sender->letters.erase(sender->letters.lower_bound(which.first), sender->letters.upper_bound(which.last));
}

control::Id Switchboard::withdraw(RoleId reader, const control::Withdraw& request, Given& given) const {
  const auto lane = lanes_.find(request.lane);
  if (lane == lanes_.end() || lane->second.to != reader) return {};
  const auto at = std::ranges::find(lane->second.deposits, request.offset, &Deposit::offset);
  if (at == lane->second.deposits.end()) return {};
  for (const OwnedFd& fd : *at->descriptors) given.descriptors.push_back(fd.get());
  return {given.descriptors.size()};
}

void Switchboard::acknowledged(RoleId reader, std::uint64_t id) {
  Lane* const lane = find_lane(id);
  if (lane != nullptr && lane->to == reader) collect(*lane);
}

}  // namespace troupe
