// SPDX-License-Identifier: MIT
#include <troupe/actors/lanes_in.hpp>

#include <algorithm>
#include <troupe/runtime/log.hpp>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/envelope.hpp>

namespace troupe::detail {

using control::LaneClass;

void OpenReplies::close(std::uint64_t token) noexcept {
  std::erase_if(all_, [&](const One& one) { return one.token == token; });
}

std::optional<ReplyBytes>* OpenReplies::find(std::uint64_t token) noexcept {
  const auto at = std::ranges::find(all_, token, &One::token);
  return at == all_.end() ? nullptr : &at->reply;
}

bool OpenReplies::any_replied() const noexcept {
  return std::ranges::any_of(all_, [](const One& one) { return one.reply.has_value(); });
}

Result<void> LanesIn::add(const control::Change& change, std::vector<OwnedFd> descriptors) {
  if (descriptors.size() != 2 || change.lane.slot >= link_.attached().slots)
    return failure(ErrorKind::exhausted, "a lane's file has not arrived");
  auto lane = std::make_unique<Lane>();
  lane->from = change.peer;
  lane->lane_class = change.lane_class;
  lane->epoch = change.epoch;
  lane->final = change.final;
  lane->sender_bell = std::move(descriptors[1]);
  auto reader = LaneReader::create(descriptors[0].get(), change.lane, file_.slot(change.lane.slot),
                                   lane->sender_bell.get());
  if (!reader && (reader.error().kind == ErrorKind::malformed || reader.error().kind == ErrorKind::refused)) {
    log(LogLevel::error, "a sender's lane is given up: " + reader.error().text);
    return link_.tell(control::Broken{.lane = change.lane.id});
  }
  if (!reader) return failure(std::move(reader));
  if (const auto at = resume_.find(change.lane.id); at != resume_.end()) resume(*reader, at->second);
  lane->reader = std::move(*reader);
  const Key key{lane->from, lane->lane_class};
  auto at = std::ranges::find(chains_, key, [](const auto& one) { return one.first; });
  if (at == chains_.end()) at = chains_.emplace(chains_.end(), key, Chain{});
  const auto behind =
      std::ranges::find_if(at->second, [&](const auto& other) { return other->epoch > lane->epoch; });
  at->second.insert(behind, std::move(lane));
  return {};
}

/// What the last incarnation consumed and could not acknowledge any more is acknowledged by this.
void LanesIn::resume(LaneReader& reader, std::uint64_t offset) {
  const bool behind = reader.head() < offset;
  reader.resume_at(offset);
  if (behind) [[maybe_unused]]
    const auto told = link_.tell(control::Acknowledged{.lane = reader.spec().id});
}

void LanesIn::set_final(std::uint64_t id) {
  for (auto& [key, chain] : chains_)
    for (const auto& lane : chain)
      if (lane->reader->spec().id == id) lane->final = true;
}

void LanesIn::set_resume_points(std::map<std::uint64_t, std::uint64_t> offset_by_lane) {
  resume_ = std::move(offset_by_lane);
  for (auto& [key, chain] : chains_)
    for (const auto& lane : chain)
      if (const auto at = resume_.find(lane->reader->spec().id); at != resume_.end())
        resume(*lane->reader, at->second);
}

void LanesIn::give_up(Lane& lane) {
  lane.broken = true;
  [[maybe_unused]] const auto told = link_.tell(control::Broken{.lane = lane.reader->spec().id});
}

void LanesIn::forget_empty_chains() {
  std::erase_if(chains_, [](const auto& one) { return one.second.empty(); });
}

/// Gives back the lanes at the front that are empty and stay so: then the next epoch's frames are next in
/// order.
void LanesIn::drop_drained(Chain& chain) {
  while (!chain.empty() && chain.front()->final && !chain.front()->pending()) {
    const std::uint64_t id = chain.front()->reader->spec().id;
    chain.front()->reader->settle();
    chain.erase(chain.begin());
    [[maybe_unused]] const auto told = link_.tell(control::Drained{.lane = id});
  }
}

LanesIn::Lane* LanesIn::next_mail() {
  for (std::size_t i = 0; i < chains_.size(); ++i) {
    auto& [key, chain] = chains_[(turn_ + i) % chains_.size()];
    if (key.second != LaneClass::mail || chain.empty()) continue;
    if (chain.front()->final) drop_drained(chain);
    if (chain.empty() || !chain.front()->pending()) continue;
    turn_ = (turn_ + i + 1) % chains_.size();
    return chain.front().get();
  }
  return nullptr;
}

Result<std::vector<OwnedFd>> LanesIn::descriptors_of(const Lane& lane, const Frame& frame) {
  if ((frame.info.sequence & envelope::with_descriptors) == 0) return std::vector<OwnedFd>{};
  auto answer =
      link_.ask<control::Id>(control::Withdraw{.lane = lane.reader->spec().id, .offset = frame.offset});
  if (!answer) return failure(std::move(answer));
  return std::move(answer->descriptors);
}

void LanesIn::acknowledge(Lane& lane, const Frame& frame) {
  lane.reader->acknowledge(frame);
  if ((frame.info.sequence & envelope::with_descriptors) == 0) return;
  [[maybe_unused]] const auto told = link_.tell(control::Acknowledged{.lane = lane.reader->spec().id});
}

Result<Arrived> LanesIn::open(const Lane& lane, const Frame& frame, std::span<const std::byte> bytes) {
  auto descriptors = descriptors_of(lane, frame);
  if (!descriptors) return failure(std::move(descriptors));
  if ((frame.info.sequence & envelope::apart) == 0) return Arrived{bytes, {}, std::move(*descriptors)};
  DescriptorList list{std::move(*descriptors)};
  auto body = decode<Blob>(bytes, &list);
  if (!body) return failure(std::move(body));
  if (body->size() > link_.attached().message_bytes_max)
    return failure(ErrorKind::malformed,
                   "a message of " + std::to_string(body->size()) + " bytes is larger than this one may get");
  auto value = body->bytes();
  if (!value) return failure(std::move(value));
  return Arrived{*value, std::move(*body), std::move(list).take()};
}

/// What a reply holds is taken before it is acknowledged: after that nobody keeps it.
ReplyBytes LanesIn::reply_in(const Lane& lane, const Frame& frame, std::uint32_t outcome) {
  auto arrived = open(lane, frame, frame.payload.subspan(sizeof(envelope::Reply)));
  if (!arrived) {
    const auto text = std::as_bytes(std::span{arrived.error().text});
    return {envelope::outcome_of(arrived.error().kind), {text.begin(), text.end()}};
  }
  ReplyBytes reply{outcome, {}, std::move(arrived->descriptors), std::move(arrived->body)};
  if (reply.body.size() == 0) reply.bytes.assign(arrived->value.begin(), arrived->value.end());
  return reply;
}

void LanesIn::take_replies(OpenReplies& open) {
  for (auto& [key, chain] : chains_) {
    if (key.second != LaneClass::reply) continue;
    for (drop_drained(chain); !chain.empty() && chain.front()->pending(); drop_drained(chain)) {
      LaneReader& reader = *chain.front()->reader;
      auto frame = reader.peek(reply_buffer_);
      if (!frame) {
        log(LogLevel::error, frame.error().text);
        give_up(*chain.front());
        break;
      }
      const auto reply = control::read<envelope::Reply>(frame->payload);
      if (reply && envelope::kind_of(frame->info.sequence) == envelope::Kind::reply)
        if (auto* const asked = open.find(reply->token))
          *asked = reply_in(*chain.front(), *frame, reply->outcome);
      acknowledge(*chain.front(), *frame);
    }
    if (!chain.empty() && !chain.front()->broken) chain.front()->reader->settle();
  }
}

bool LanesIn::has_mail() const noexcept {
  return std::ranges::any_of(chains_, [](const auto& one) {
    const auto& [key, chain] = one;
    return key.second == LaneClass::mail && !chain.empty() && !chain.front()->broken &&
           (chain.front()->final || chain.front()->reader->pending());
  });
}

bool LanesIn::has_reply() const noexcept {
  return std::ranges::any_of(chains_, [](const auto& one) {
    return one.first.second == LaneClass::reply && !one.second.empty() && one.second.front()->pending();
  });
}

bool LanesIn::hears(RoleId role) const noexcept {
  return std::ranges::any_of(chains_,
                             [&](const auto& one) { return one.first.first == role && !one.second.empty(); });
}

}  // namespace troupe::detail
