// SPDX-License-Identifier: MIT
#include <troupe/runtime/switchboard.hpp>

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/kept_file.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

constexpr std::size_t notice_bytes = control::notice_words * sizeof(lane::Word);

Result<void> write_whole(int file, std::span<const std::byte> bytes) {
  const auto written = detail::retried([&] { return ::pwrite(file, bytes.data(), bytes.size(), 0); });
  if (written != static_cast<ssize_t>(bytes.size())) return detail::system_failure("write shared memory");
  return {};
}

void forget(std::vector<std::uint64_t>& lanes, std::uint64_t lane) { std::erase(lanes, lane); }

}  // namespace

Result<Switchboard> Switchboard::create() {
  Switchboard board;
  auto file = create_memory("troupe-notices", notice_bytes);
  if (!file) return failure(std::move(file));
  auto map = MemoryMap::create(file->get(), notice_bytes, Access::read_write);
  if (!map) return failure(std::move(map));
  if (auto sealed = seal_against_writers(file->get()); !sealed) return failure(std::move(sealed));
  board.notice_file_ = std::move(*file);
  board.notice_map_ = std::move(*map);
  board.notice_used_.assign(control::notice_words, false);
  return board;
}

Switchboard::Role* Switchboard::find(RoleId role) {
  const auto at = roles_.find(role);
  return at == roles_.end() ? nullptr : &at->second;
}

const Switchboard::Role* Switchboard::find(RoleId role) const {
  const auto at = roles_.find(role);
  return at == roles_.end() ? nullptr : &at->second;
}

Switchboard::Lane* Switchboard::find_lane(std::uint64_t lane) {
  const auto at = lanes_.find(lane);
  return at == lanes_.end() ? nullptr : &at->second;
}

// ---- roles ---------------------------------------------------------------------------------------

Result<void> Switchboard::add(const RoleSpec& spec) {
  if (spec.role == 0 || find(spec.role) != nullptr)
    return failure(ErrorKind::invalid, "role: there is one of that name already");
  const auto free = std::ranges::find(notice_used_, false);
  if (free == notice_used_.end())
    return failure(ErrorKind::exhausted,
                   "role: a keeper serves at most " + std::to_string(control::notice_words));
  Role role;
  role.spec = spec;
  role.notice = static_cast<std::uint32_t>(free - notice_used_.begin());
  role.slot_used.assign(lane::slots_max, false);
  auto bell = create_bell();
  if (!bell) return failure(std::move(bell));
  role.bell = std::move(*bell);
  if (auto made = make_reader_file(role); !made) return made;
  if (spec.kept_bytes != 0) {
    auto state = create_memory("troupe-kept", KeptFile::file_bytes(spec.kept_bytes));
    if (!state) return failure(std::move(state));
    role.state_file = std::move(*state);
  }
  *free = true;
  roles_.emplace(spec.role, std::move(role));
  return {};
}

void Switchboard::remove(RoleId id) {
  Role* const role = find(id);
  if (role == nullptr) return;
  role->removed = true;
  erase_if_unused(id);
}

void Switchboard::erase_if_unused(RoleId id) {
  const Role* const role = find(id);
  if (role == nullptr || !role->removed || !role->in.empty()) return;
  notice_used_[role->notice] = false;
  roles_.erase(id);  // lanes that begin here stay until their readers have drained them
}

/// A new file for the next incarnation that begins with the words of the last: heads go on where they
/// stopped, attempts are counted on. The old one is only read, and only after its writer's death.
Result<void> Switchboard::make_reader_file(Role& role) {
  auto file = create_memory("troupe-reader", lane::reader_file_bytes(lane::slots_max));
  if (!file) return failure(std::move(file));
  auto bytes = ReaderFile::initial(lane::slots_max);
  if (role.view)
    for (std::size_t i = 0; i < lane::slots_max; ++i) {
      const std::uint64_t head = role.view->slot(i).head.load(std::memory_order_acquire);
      const std::uint64_t attempt = role.view->slot(i).attempt.load(std::memory_order_acquire);
      std::byte* const slot = bytes.data() + lane::page_bytes + i * sizeof(lane::ReaderSlot);
      std::memcpy(slot + offsetof(lane::ReaderSlot, head), &head, sizeof head);
      std::memcpy(slot + offsetof(lane::ReaderSlot, attempt), &attempt, sizeof attempt);
    }
  if (auto written = write_whole(file->get(), bytes); !written) return written;
  auto view = ReaderView::create(file->get(), lane::slots_max, ReaderView::Seals::not_yet);
  if (!view) return failure(std::move(view));
  role.reader_file = std::move(*file);
  role.view = std::make_unique<ReaderView>(std::move(*view));
  role.attached = false;
  role.sealed = false;
  return {};
}

Result<void> Switchboard::process_starting(RoleId id, Incarnation incarnation) {
  Role* const role = find(id);
  if (role == nullptr) return failure(ErrorKind::invalid, "role: unknown");
  if (role->attached)
    if (auto made = make_reader_file(*role); !made) return made;
  role->incarnation = incarnation;
  role->alive = true;
  role->stop = false;
  role->stop_told = false;
  role->offered = {};
  for (const auto id_in : role->in) {
    Lane& lane = *find_lane(id_in);
    lane.reader_has_it = false;
    lane.final_told = false;
  }
  return {};
}

void Switchboard::process_ended(RoleId id) {
  Role* const role = find(id);
  if (role == nullptr || !role->alive) return;
  role->alive = false;
  const auto out = role->out;
  for (const auto lane : out) retire(*find_lane(lane));
  collect_all_of(*role);
}

/// A lane that gets no more frames: dropped at once if nobody can have anything of it, else its reader drains
/// it.
void Switchboard::retire(Lane& lane) {
  lane.final = true;
  Role* const reader = find(lane.to);
  // Offered counts as seen: the answer may be on its way, and only a lane that the reader was told is final
  // is given back.
  const bool seen =
      reader != nullptr && reader->alive && (lane.reader_has_it || reader->offered.lane.id == lane.id);
  if (reader == nullptr || reader->ended || !lane.connected || (!seen && is_drained(lane, *reader)))
    return free_lane(lane.id);
  collect(lane);
  notify(*reader);
}

void Switchboard::role_ended(RoleId id, const control::Reason& reason) {
  Role* const role = find(id);
  if (role == nullptr || role->ended) return;
  role->ended = true;
  role->reason = reason;
  role->letters.clear();
  const auto in = role->in;
  for (const auto id_in : in) {
    Lane& lane = *find_lane(id_in);
    Role* const sender = find(lane.from);
    collect(lane);
    if (lane.final || sender == nullptr)
      free_lane(id_in);  // nobody will drain it
    else
      notify(*sender);
  }
}

void Switchboard::ask_to_stop(RoleId id) {
  if (Role* const role = find(id)) {
    role->stop = true;
    notify(*role);
  }
}

void Switchboard::notify(RoleId id) {
  if (Role* const role = find(id)) notify(*role);
}

void Switchboard::notify(Role& role) {
  auto* const words = reinterpret_cast<lane::Word*>(notice_map_.data());
  words[role.notice].fetch_add(1, std::memory_order_seq_cst);
  ring(role.bell.get());
}

// ---- lanes ---------------------------------------------------------------------------------------

Result<control::Attached> Switchboard::attach(RoleId id, Given& given) {
  Role* const role = find(id);
  if (role == nullptr) return failure(ErrorKind::closed, "role: unknown");
  if (role->attached) return failure(ErrorKind::invalid, "role: this process has its mailbox already");
  role->attached = true;
  given.descriptors = {role->bell.get(), role->reader_file.get(), notice_file_.get()};
  if (role->state_file) given.descriptors.push_back(role->state_file.get());
  return control::Attached{.role = id,
                           .notice = role->notice,
                           .slots = static_cast<std::uint32_t>(lane::slots_max),
                           .kept_bytes = role->spec.kept_bytes,
                           .incarnation = role->incarnation,
                           .message_bytes_max = role->spec.message_bytes_max};
}

std::uint64_t Switchboard::capacity_for(const control::Connect& request) const {
  const std::uint64_t for_frame = lane::frame_bytes(request.payload_bytes) * lane::frame_share;
  std::uint64_t capacity = lane::capacity_min;
  if (const auto at = lanes_.find(request.replaces); at != lanes_.end())
    capacity = std::min<std::uint64_t>(at->second.spec.capacity * lane::capacity_growth, lane::capacity_max);
  return std::max(capacity, std::bit_ceil(for_frame));
}

/// The tail as it stands in the file: for lanes whose sender is dead or has moved on.
std::uint64_t Switchboard::published(const Lane& lane) const {
  std::uint64_t tail = lane.spec.base;
  if (lane.connected &&
      ::pread(lane.file.get(), &tail, sizeof tail, offsetof(lane::WriterPage, tail)) != sizeof tail)
    return lane.spec.base;
  return tail;
}

bool Switchboard::is_drained(const Lane& lane, const Role& reader) const {
  return published(lane) == reader.view->slot(lane.spec.slot).head.load(std::memory_order_acquire);
}

Result<control::Connection> Switchboard::connect(RoleId from, const control::Connect& request, Given& given) {
  Role* const sender = find(from);
  Role* const reader = find(request.to);
  if (sender == nullptr || request.payload_bytes > lane::frame_bytes_max - sizeof(lane::FrameHeader))
    return failure(ErrorKind::invalid, "connect: impossible request");
  control::Connection answer;
  if (reader == nullptr) return answer;
  answer.slots = static_cast<std::uint32_t>(lane::slots_max);
  answer.reader = reader->incarnation;
  answer.message_bytes_max = reader->spec.message_bytes_max;
  if (reader->ended) {
    answer.reason = reader->reason;
    return answer;
  }
  auto made = make_lane(*sender, from, *reader, request);
  if (!made) {
    if (made.error().kind == ErrorKind::system || made.error().kind == ErrorKind::invalid)
      return failure(std::move(made));
    answer.outcome = made.error().kind == ErrorKind::full ? control::ConnectOutcome::later
                                                          : control::ConnectOutcome::exhausted;
    answer.reason.detail = control::Line{made.error().text};
    return answer;
  }
  answer.outcome = control::ConnectOutcome::made;
  answer.lane = (*made)->spec;
  given.descriptors = {(*made)->file.get(), reader->bell.get()};
  if (reader->sealed) given.descriptors.push_back(reader->reader_file.get());
  return answer;
}

Result<Switchboard::Lane*> Switchboard::make_lane(Role& sender, RoleId from, Role& reader,
                                                  const control::Connect& request) {
  const auto stale = sender.out;  // a sender has one contact under way: what it did not connect it never will
  for (const auto id : stale)
    if (const Lane& other = *find_lane(id);
        other.to == request.to && other.lane_class == request.lane_class && !other.connected)
      free_lane(id);
  Lane lane;
  std::size_t undrained = 0;
  std::uint64_t bytes = 0;
  for (const auto id : reader.in) {
    const Lane& other = *find_lane(id);
    bytes += other.spec.capacity;
    if (other.from != from || other.lane_class != request.lane_class) continue;
    ++undrained;
    lane.epoch = std::max(lane.epoch, other.epoch + 1);
  }
  lane.spec.capacity = capacity_for(request);
  if (lane.spec.capacity > reader.spec.mailbox_bytes_max)
    return failure(ErrorKind::invalid, "lane: a message for which the reader's mailbox of " +
                                           std::to_string(reader.spec.mailbox_bytes_max) +
                                           " bytes is too small; try a larger mailbox_bytes_max");
  const auto slot = std::ranges::find(reader.slot_used, false);
  const bool no_room = bytes + lane.spec.capacity > reader.spec.mailbox_bytes_max;
  if (undrained > undrained_epochs_max || no_room || slot == reader.slot_used.end()) {
    reader.refused.insert(from);
    if (slot == reader.slot_used.end())
      return failure(ErrorKind::exhausted,
                     "lane: at most " + std::to_string(lane::slots_max) + " lanes may end in one reader");
    return failure(ErrorKind::full, no_room ? "lane: the reader's mailbox is full"
                                            : "lane: earlier lanes of this sender are still being drained");
  }
  auto file = create_memory("troupe-lane", lane::writer_file_bytes(lane.spec.capacity));
  if (!file) return failure(std::move(file));
  lane.id = lane.spec.id = next_lane_++;
  lane.from = from;
  lane.to = request.to;
  lane.lane_class = request.lane_class;
  lane.replaces = request.replaces;
  lane.file = std::move(*file);
  lane.spec.slot = static_cast<std::uint32_t>(slot - reader.slot_used.begin());
  lane.spec.base = reader.view->slot(lane.spec.slot).head.load(std::memory_order_acquire);
  lane.reader_told = reader.sealed ? reader.incarnation : 0;
  *slot = true;
  reader.in.push_back(lane.id);
  sender.out.push_back(lane.id);
  return &lanes_.emplace(lane.id, std::move(lane)).first->second;
}

void Switchboard::connected(RoleId from, std::uint64_t id) {
  Lane* const lane = find_lane(id);
  if (lane == nullptr || lane->from != from || lane->connected) return;
  if (!check_sealed(lane->file.get(), lane::writer_file_bytes(lane->spec.capacity))) return;
  lane->connected = true;
  const RoleId to = lane->to;
  // Only now: a sender that could not take the new lane goes on with the old one.
  if (Lane* const old = find_lane(lane->replaces);
      old != nullptr && old->from == from && old->to == to && !old->final)
    retire(*old);
  if (Role* const reader = find(to)) notify(*reader);
}

void Switchboard::drained(RoleId reader, std::uint64_t id) {
  const Lane* const lane = find_lane(id);
  if (lane == nullptr || lane->to != reader || !lane->final) return;
  free_lane(id);
}

void Switchboard::broken(RoleId reader, std::uint64_t id) {
  Lane* const lane = find_lane(id);
  if (lane == nullptr || lane->to != reader) return;
  lane->broken = true;
  collect(*lane);
}

void Switchboard::free_lane(std::uint64_t id) {
  Lane* const lane = find_lane(id);
  if (lane == nullptr) return;
  const RoleId to = lane->to;
  if (Role* const reader = find(to)) {
    forget(reader->in, id);
    reader->slot_used[lane->spec.slot] = false;
    for (const RoleId waiting : std::exchange(reader->refused, {}))
      notify(waiting);  // there may be room for their lanes now
  }
  if (Role* const sender = find(lane->from)) forget(sender->out, id);
  lanes_.erase(id);
  erase_if_unused(to);
}

}  // namespace troupe
