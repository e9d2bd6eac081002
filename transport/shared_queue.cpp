// SPDX-License-Identifier: MIT
#include <troupe/transport/shared_queue.hpp>

#include <cstring>
#include <map>
#include <troupe/transport/queue.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

using queue::Lease;
using queue::SlotState;
using Kind = queue::SlotState::Kind;

/// What pass() writes beside the descriptors.
struct PassWords {
  std::uint64_t held = 0;  ///< the place's word; 0: it finds a place for itself
  std::uint32_t slot = 0;
  std::uint32_t name_bytes = 0;  ///< the name follows
};
constexpr std::size_t name_bytes_max = 255;

QueuePass make_pass(std::vector<OwnedFd> descriptors, PassWords words, std::string_view name) {
  name = name.substr(0, name_bytes_max);
  words.name_bytes = static_cast<std::uint32_t>(name.size());
  std::vector<std::byte> bytes(sizeof words + name.size());
  std::memcpy(bytes.data(), &words, sizeof words);
  std::memcpy(bytes.data() + sizeof words, name.data(), name.size());
  return {std::move(bytes), std::move(descriptors), {}};
}

struct Arrived {
  PassWords words{};
  std::shared_ptr<QueueFile> file{};
};

Result<Arrived> arrive(QueuePass& pass) {
  PassWords words;
  if (pass.bytes.size() < sizeof words)
    return failure(ErrorKind::malformed, "queue: an end of too few bytes");
  std::memcpy(&words, pass.bytes.data(), sizeof words);
  if (words.name_bytes > name_bytes_max || pass.bytes.size() != sizeof words + words.name_bytes)
    return failure(ErrorKind::malformed, "queue: an end of other bytes than it says");
  std::string name(words.name_bytes, '\0');
  std::memcpy(name.data(), pass.bytes.data() + sizeof words, name.size());
  auto file = QueueFile::open(std::move(pass.descriptors), std::move(name));
  if (!file) return failure(std::move(file));
  return Arrived{words, std::move(*file)};
}

std::uint64_t total(const QueueFile& file, queue::Word queue::Counts::*count) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < file.bounds().ends; ++i)
    sum += (file.slot(i).counts.*count).load(std::memory_order_relaxed);
  return sum;
}

std::string items(std::size_t count) { return std::to_string(count) + (count == 1 ? " item" : " items"); }

}  // namespace

Result<std::unique_ptr<SharedQueue>> SharedQueue::create(const QueueOptions& options) {
  auto file = QueueFile::create(options);
  if (!file) return failure(std::move(file));
  auto place = QueuePlace::take(*file, Kind::owner);
  if (!place) return failure(std::move(place));
  return std::unique_ptr<SharedQueue>{new SharedQueue{std::move(*file), std::move(*place)}};
}

Result<std::unique_ptr<SharedQueue>> SharedQueue::attach(std::vector<OwnedFd> descriptors, std::string name) {
  auto file = QueueFile::open(std::move(descriptors), std::move(name));
  if (!file) return failure(std::move(file));
  return std::unique_ptr<SharedQueue>{new SharedQueue{std::move(*file), std::nullopt}};
}

SharedQueue::~SharedQueue() {
  if (!guard_.forked() && place_) close();
}

// ---- ends -------------------------------------------------------------------------------------------------

Result<std::unique_ptr<QueueSender>> SharedQueue::sender() {
  if (auto own = check(); !own) return failure(std::move(own));
  auto place = QueuePlace::take(file_, Kind::sender);
  if (!place) return failure(std::move(place));
  const queue::Owner me = place->owner();
  return SharedSender::create(file_, std::move(*place), QueueWriter::take_sender_lane(file_, me));
}

Result<std::unique_ptr<QueueReceiver>> SharedQueue::receiver() {
  if (auto own = check(); !own) return failure(std::move(own));
  auto place = QueuePlace::take(file_, Kind::receiver);
  if (!place) return failure(std::move(place));
  return SharedReceiver::create(file_, std::move(*place));
}

Result<QueuePass> SharedQueue::pass(End end) {
  auto copies = descriptors();
  if (!copies) return failure(std::move(copies));
  if (end == End::receiver) return make_pass(std::move(*copies), {}, file_->name());
  auto place = QueuePlace::take(file_, Kind::travelling);
  if (!place) return failure(std::move(place));
  if (auto lane = QueueWriter::reserve_lane(*file_, place->owner()); !lane) return failure(std::move(lane));
  const auto held = std::make_shared<QueuePlace>(std::move(*place));
  const PassWords words{.held = held->word(), .slot = static_cast<std::uint32_t>(held->slot())};
  QueuePass pass = make_pass(std::move(*copies), words, file_->name());
  pass.once_known = [held](const ProcessMark& process) { held->assign(process); };
  return pass;
}

Result<std::unique_ptr<QueueSender>> SharedQueue::arrive_sender(QueuePass pass) {
  auto arrived = arrive(pass);
  if (!arrived) return failure(std::move(arrived));
  const auto& [words, file] = *arrived;
  auto place = QueuePlace::take_over(file, words.slot, words.held, Kind::sender);
  if (!place) return failure(std::move(place));
  const queue::Owner me = place->owner();
  return SharedSender::create(file, std::move(*place), QueueWriter::take_over_lane(file, me));
}

Result<std::unique_ptr<QueueReceiver>> SharedQueue::arrive_receiver(QueuePass pass) {
  auto arrived = arrive(pass);
  if (!arrived) return failure(std::move(arrived));
  auto place = QueuePlace::take(arrived->file, Kind::receiver);
  if (!place) return failure(std::move(place));
  return SharedReceiver::create(arrived->file, std::move(*place));
}

Result<std::vector<OwnedFd>> SharedQueue::descriptors() const {
  if (auto own = check(); !own) return failure(std::move(own));
  std::vector<OwnedFd> copies;
  for (const int fd : file_->descriptors()) {
    auto copy = copied(fd, "queue: copy of a descriptor");
    if (!copy) return failure(std::move(copy));
    copies.push_back(std::move(*copy));
  }
  return copies;
}

void SharedQueue::close() noexcept {
  if (!place_ || !check()) return;
  file_->page().closed.store(1, std::memory_order_seq_cst);
  place_->leave();
  place_.reset();
}

// ---- what is in it ----------------------------------------------------------------------------------------

std::size_t SharedQueue::size() {
  if (!check()) return 0;
  std::size_t count = 0;
  any_record(*file_, [&](auto, auto, const auto&, const Lease& lease) {
    count += lease.state == Lease::State::done ? 0 : 1;
    return false;
  });
  return count;
}

std::vector<Holder> SharedQueue::holders() {
  if (!check()) return {};
  std::map<std::uint32_t, std::size_t> leased;
  any_record(*file_, [&](auto, auto, const auto&, const Lease& lease) {
    if (lease.state == Lease::State::leased) ++leased[lease.owner];
    return false;
  });
  std::vector<Holder> all;
  for (const auto& [owner, count] : leased) {
    if (!is_there(*file_, owner)) continue;
    const auto state = SlotState::of(file_->slot(queue::Owner::of(owner).slot).state.load());
    const auto pid = static_cast<std::int32_t>(state.pid);
    all.push_back({mark_of(pid).value_or(ProcessMark{pid, 0}), count});
  }
  return all;
}

Result<void> SharedQueue::drain(TimePoint deadline) {
  if (auto own = check(); !own) return own;
  auto peers = QueuePeers::create(file_, file_->items_bell());
  if (!peers) return failure(std::move(peers));
  for (bool in_time = true; !all_done(*file_);) {
    if (!in_time) return tl::unexpected<Error>{detail::not_drained(file_->name(), size(), holders())};
    file_->page().draining.fetch_add(1, std::memory_order_seq_cst);
    if (auto watched = peers->refresh(); !watched) return watched;
    if (!all_done(*file_)) in_time = peers->wait(deadline);
  }
  return {};
}

QueueCounts SharedQueue::counts() {
  if (!check()) return {};
  using queue::Counts;
  return {.put = total(*file_, &Counts::put),
          .acknowledged = total(*file_, &Counts::acknowledged),
          .given_back = total(*file_, &Counts::given_back),
          .quarantined = total(*file_, &Counts::quarantined),
          .refused_full = total(*file_, &Counts::refused_full),
          .dropped_new = total(*file_, &Counts::dropped_new),
          .dropped_old = total(*file_, &Counts::dropped_old),
          .replaced = total(*file_, &Counts::replaced)};
}

std::vector<QuarantinedItem> SharedQueue::quarantine() {
  if (!check()) return {};
  const std::size_t lane = file_->quarantine_lane();
  const std::uint64_t tail = file_->lane(lane).tail.load(std::memory_order_acquire);
  std::vector<QuarantinedItem> all;
  for (std::uint64_t n = file_->lane(lane).head.load(std::memory_order_acquire); n < tail; ++n) {
    const queue::Record& record = file_->record(lane, n);
    const Lease lease = Lease::of(record.lease.load(std::memory_order_acquire));
    if (lease.state == Lease::State::done || lease.lap != static_cast<std::uint32_t>(n)) continue;
    const auto payload = file_->payload(lane, record);
    QuarantinedItem one{static_cast<QuarantinedItem::Cause>(lease.owner),
                        lease.attempts,
                        record.type,
                        {payload.begin(), payload.end()}};
    // Unless it made room for a later one meanwhile.
    if (record.lease.load(std::memory_order_seq_cst) == lease.word()) all.push_back(std::move(one));
  }
  return all;
}

// ---- arriving ---------------------------------------------------------------------------------------------

// Defined where troupe::zmq is linked: its queues are passed as bytes alone.
[[gnu::weak]] Result<std::unique_ptr<QueueSender>> arrive_foreign_sender(const QueuePass& pass);
[[gnu::weak]] Result<std::unique_ptr<QueueReceiver>> arrive_foreign_receiver(const QueuePass& pass);

Result<std::unique_ptr<QueueSender>> arrived_sender(QueuePass pass) {
  const bool foreign = pass.descriptors.empty() && arrive_foreign_sender != nullptr;
  return foreign ? arrive_foreign_sender(pass) : SharedQueue::arrive_sender(std::move(pass));
}

Result<std::unique_ptr<QueueReceiver>> arrived_receiver(QueuePass pass) {
  const bool foreign = pass.descriptors.empty() && arrive_foreign_receiver != nullptr;
  return foreign ? arrive_foreign_receiver(pass) : SharedQueue::arrive_receiver(std::move(pass));
}

// ---- for the typed ends -----------------------------------------------------------------------------------

Result<std::unique_ptr<QueueAccess>> make_shared_queue(const QueueOptions& options) {
  auto made = SharedQueue::create(options);
  if (!made) return failure(std::move(made));
  return std::unique_ptr<QueueAccess>{std::move(*made)};
}

Result<std::unique_ptr<QueueAccess>> attach_shared_queue(std::vector<OwnedFd> descriptors) {
  auto attached = SharedQueue::attach(std::move(descriptors));
  if (!attached) return failure(std::move(attached));
  return std::unique_ptr<QueueAccess>{std::move(*attached)};
}

Error not_drained(std::string_view name, std::size_t size, const std::vector<Holder>& holders) {
  std::string text = "queue " + std::string{name} + ": " + items(size) + " not acknowledged in time";
  for (const Holder& holder : holders)
    text += ", process " + std::to_string(holder.process.pid) + " holds " + items(holder.items);
  return {ErrorKind::timed_out, 0, std::move(text)};
}

Error wrong_item(std::uint64_t type, std::string_view expected) {
  return {
      ErrorKind::malformed, 0,
      "queue: an item of type " + std::to_string(type) + " where " + std::string{expected} + " was expected"};
}

}  // namespace troupe::detail
