// SPDX-License-Identifier: MIT
#include <troupe/zmq/ledger.hpp>

#include <algorithm>
#include <troupe/transport/mutant.hpp>

namespace troupe::zmq::detail {
namespace {

constexpr std::size_t quarantine_items_max = 64;

}  // namespace

std::size_t Ledger::senders() const {
  const auto present = std::ranges::count_if(
      ends_, [](const auto& one) { return one.second.role == wire::QueueRole::sender; });
  return static_cast<std::size_t>(present) + expected_.size();
}

Result<void> Ledger::admit(EndId end, wire::QueueRole role, const ProcessMark& process, std::uint64_t token) {
  const bool sends = role == wire::QueueRole::sender;
  if (token != 0) {
    if (!sends || expected_.erase(token) == 0)
      return failure(ErrorKind::refused,
                     "queue " + options_.name + ": nobody waits for this sender any more");
  } else if (sends && closed_) {
    return failure(ErrorKind::closed, "queue " + options_.name + ": it is closed and takes no new senders");
  } else if (sends && senders() >= options_.senders_max) {
    return failure(ErrorKind::exhausted, "queue " + options_.name + ": senders_max are there already");
  }
  if (ends_.size() + 1 >= options_.ends_max)
    return failure(ErrorKind::exhausted, "queue " + options_.name + ": ends_max are there already");
  ends_[end] = End{.role = role, .process = process};
  return {};
}

Result<void> Ledger::expect_sender(EndId end, std::uint64_t token) {
  if (closed_)
    return failure(ErrorKind::closed, "queue " + options_.name + ": it is closed and takes no new senders");
  if (senders() >= options_.senders_max)
    return failure(ErrorKind::exhausted, "queue " + options_.name + ": senders_max are there already");
  expected_[token] = end;
  return {};
}

void Ledger::remove(EndId end, std::uint64_t begun) {
  const auto found = ends_.find(end);
  if (found == ends_.end()) return;
  static_cast<void>(begin(end, std::min(begun, found->second.given)));
  if (!TROUPE_MUTANT(zmq_ahead_counted)) give_back_ahead(end);
  const auto in_hand = found->second.in_hand;
  for (const auto& [number, ticket] : in_hand) put_back(items_.find(ticket));
  std::erase_if(expected_, [&](const auto& one) { return one.second == end; });
  ends_.erase(found);
}

void Ledger::remove_dead(EndId end) {
  const auto found = ends_.find(end);
  if (found == ends_.end()) return;
  const std::uint64_t begun = found->second.begun;
  if (TROUPE_MUTANT(zmq_doubt_forgotten)) return remove(end, begun);
  if (found->second.ahead == 1) return remove(end, begun + 1);
  const std::uint64_t perhaps = begun + wire::doubtful_max(options_.ahead_items_max);
  const auto in_hand = found->second.in_hand;
  for (auto next = in_hand.upper_bound(begun); next != in_hand.end() && next->first <= perhaps; ++next) {
    items_.at(next->second).doubtful = true;
    put_back(items_.find(next->second));
  }
  remove(end, begun);
}

void Ledger::give_back_ahead(EndId receiver) {
  End& end = ends_.at(receiver);
  while (end.ahead != 0) {
    const auto item = items_.find(end.in_hand.rbegin()->second);
    leave_hand(item);
    --item->second.attempts;
    ready_.insert(item->first);
  }
  end.given = end.begun;
}
bool Ledger::has_room(const End& sender, std::uint64_t bytes) const {
  return sender.items < options_.items_max && sender.bytes + wire::counted(bytes) <= options_.bytes_max;
}

bool Ledger::put(EndId sender, std::uint64_t type, std::span<const std::byte> bytes) {
  End& end = ends_.at(sender);
  if (!has_room(end, bytes.size())) return false;
  ++end.items;
  end.bytes += wire::counted(bytes.size());
  ++counts_.put;
  items_[++tickets_] = Item{.sender = sender, .type = type, .bytes = {bytes.begin(), bytes.end()}};
  ready_.insert(tickets_);
  return true;
}

void Ledger::make_room(EndId sender, std::uint64_t bytes, bool all) {
  const End& end = ends_.at(sender);
  for (auto item = items_.begin(); item != items_.end() && (all || !has_room(end, bytes));) {
    if (item->second.sender != sender || item->second.holder != 0) {
      ++item;
      continue;
    }
    ++(all ? counts_.replaced : counts_.dropped_old);
    item = erase(item);
  }
}

void Ledger::note_dropped(EndId sender, std::uint64_t dropped, std::uint64_t full) {
  End& end = ends_.at(sender);
  // Told as totals, so that what is told again is not counted again.
  counts_.dropped_new += std::max(dropped, end.dropped) - end.dropped;
  counts_.refused_full += std::max(full, end.full) - end.full;
  end.dropped = std::max(dropped, end.dropped);
  end.full = std::max(full, end.full);
}

Ledger::Freed Ledger::freed(EndId sender) const {
  const auto end = ends_.find(sender);
  return end == ends_.end() ? Freed{} : end->second.freed;
}

bool Ledger::may_give(EndId receiver, std::uint64_t window) const {
  const End& end = ends_.at(receiver);
  if (ready_.empty() || end.ahead == 0) return !ready_.empty();
  const Item& next = items_.at(*ready_.begin());
  return !end.alone && !next.doubtful && end.ahead < window &&
         end.ahead_bytes + wire::counted(next.bytes.size()) <= options_.ahead_bytes_max;
}

void Ledger::give(EndId receiver, std::uint64_t want) {
  End& end = ends_.at(receiver);
  const std::uint64_t ticket = *ready_.begin();
  ready_.erase(ready_.begin());
  Item& item = items_.at(ticket);
  ++item.attempts;
  item.holder = receiver;
  item.number = ++end.given;
  item.want = want;
  end.in_hand[item.number] = ticket;
  ++end.ahead;
  end.ahead_bytes += wire::counted(item.bytes.size());
  end.alone = item.doubtful;
}

bool Ledger::begin(EndId receiver, std::uint64_t number) {
  End& end = ends_.at(receiver);
  if (number > end.given) return false;
  for (auto next = end.in_hand.upper_bound(end.begun); next != end.in_hand.end() && next->first <= number;
       ++next) {
    --end.ahead;
    end.ahead_bytes -= wire::counted(items_.at(next->second).bytes.size());
  }
  end.begun = std::max(end.begun, number);
  return true;
}

std::optional<Ledger::Offer> Ledger::next_in_hand(EndId receiver, std::uint64_t number) const {
  const End& end = ends_.at(receiver);
  const auto next = end.in_hand.upper_bound(number);
  if (next == end.in_hand.end()) return std::nullopt;
  const Item& item = items_.at(next->second);
  return Offer{next->first, next->second, item.attempts, {item.type, item.want}, item.bytes};
}

void Ledger::settle(EndId receiver, std::uint64_t ticket, troupe::detail::Settlement settlement) {
  const auto item = items_.find(ticket);
  if (item == items_.end() || item->second.holder != receiver) return;
  static_cast<void>(begin(receiver, item->second.number));
  leave_hand(item);
  switch (settlement) {
    case troupe::detail::Settlement::acknowledge:
      ++counts_.acknowledged;
      erase(item);
      return;
    case troupe::detail::Settlement::give_back: return put_back(item);
    case troupe::detail::Settlement::give_up: return put_aside(item, QuarantinedItem::Cause::given_up);
    case troupe::detail::Settlement::malformed: return put_aside(item, QuarantinedItem::Cause::malformed);
  }
}

void Ledger::leave_hand(Items::iterator item) {
  Item& one = item->second;
  if (one.holder == 0) return;
  End& end = ends_.at(one.holder);
  end.in_hand.erase(one.number);
  if (one.number > end.begun) {
    --end.ahead;
    end.ahead_bytes -= wire::counted(one.bytes.size());
  }
  one.holder = 0;
}

void Ledger::put_back(Items::iterator item) {
  const bool begun = item->second.holder == 0 || item->second.number <= ends_.at(item->second.holder).begun;
  ++counts_.given_back;
  leave_hand(item);
  if (begun && item->second.attempts >= options_.attempts_max)
    return put_aside(item, QuarantinedItem::Cause::attempts);
  ready_.insert(item->first);
}

void Ledger::put_aside(Items::iterator item, QuarantinedItem::Cause cause) {
  ++counts_.quarantined;
  if (quarantine_.size() == quarantine_items_max) quarantine_.pop_front();
  quarantine_.push_back({cause, item->second.attempts, item->second.type, item->second.bytes});
  erase(item);
}

Ledger::Items::iterator Ledger::erase(Items::iterator item) {
  if (const auto sender = ends_.find(item->second.sender); sender != ends_.end()) {
    --sender->second.items;
    const auto bytes = wire::counted(item->second.bytes.size());
    sender->second.bytes -= bytes;
    ++sender->second.freed.items;
    sender->second.freed.bytes += bytes;
  }
  ready_.erase(item->first);
  return items_.erase(item);
}

bool Ledger::ended_for(EndId receiver) const {
  if (!closed_ || senders() != 0) return false;
  const auto end = ends_.find(receiver);
  return end == ends_.end() || items_.size() == end->second.in_hand.size();
}

std::vector<Holder> Ledger::holders() const {
  std::vector<Holder> all;
  for (const auto& [id, end] : ends_)
    if (!end.in_hand.empty()) all.push_back({end.process, end.in_hand.size()});
  return all;
}

}  // namespace troupe::zmq::detail
