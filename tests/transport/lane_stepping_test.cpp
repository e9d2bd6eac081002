// SPDX-License-Identifier: MIT
// Every instruction of sending, receiving, committing and all of them together: looked at from outside, and
// died at.
//
// A point is a boundary between two instructions. What is judged at each is never what the bytes look like,
// but what a fresh peer makes of them: it attaches to the files alone, goes on, and must end with every
// message exactly once. Mutants, which break one rule each, show that the judge would notice.

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <troupe/transport/kept_file.hpp>
#include <troupe/transport/lane.hpp>

#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::mark;
using test::pattern;
using test::receive_all;
using test::SteppedChild;

constexpr std::size_t slots = 2;
constexpr std::size_t kept_bytes = 4096;
constexpr std::size_t messages = 3;

/// What the child has done, in its own words; the judge compares it with what the files say.
struct Journal {
  std::uint64_t sent = 0;                         ///< calls of publish() that have returned
  std::uint64_t committed = 0;                    ///< calls of commit() that have returned
  std::array<std::uint64_t, messages> handled{};  ///< how often a handler has had its effect

  friend bool operator==(const Journal&, const Journal&) = default;
};

void write(std::uint64_t& word, std::uint64_t value) { std::atomic_ref{word}.store(value); }

enum class Fault { none, torn, lost, stuck, twice };

struct Verdict {
  Fault fault = Fault::none;
  std::string text{};
  bool redelivered = false;  ///< a message is offered again whose handler had its effect; its attempt says so
  bool unrung =
      false;  ///< a message is there, and the sleeper's bell has not been rung: who sees a death rings it
};

/// Whoever wants to look at real files or at copies of them.
using Files = std::span<const int>;

/// Something to be stepped: the files it works on, what the child does, and how a fresh peer goes on from
/// there.
class Scenario {
 public:
  Scenario() {
    void* const at =
        ::mmap(nullptr, sizeof(Journal), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw Failure{{ErrorKind::system, errno, "mmap"}};
    journal_ = new (at) Journal{};
  }
  Scenario(const Scenario&) = delete;
  virtual ~Scenario() { ::munmap(journal_, sizeof(Journal)); }

  virtual void run() = 0;
  [[nodiscard]] virtual std::vector<int> files() const = 0;
  [[nodiscard]] virtual Verdict judge(Files files, const Journal& journal) const = 0;

  [[nodiscard]] Journal& journal() const { return *journal_; }
  [[nodiscard]] bool is_rung() const {
    pollfd wanted{bell.get(), POLLIN, 0};
    return ::poll(&wanted, 1, 0) == 1;
  }

 protected:
  OwnedFd bell = create_bell().value();

 private:
  Journal* journal_ = nullptr;
};

using Factory = std::function<std::unique_ptr<Scenario>()>;

/// A judge's own mistakes count too: whatever makes a fresh peer fail is a fault of what it was left.
Verdict judged(const Scenario& scenario, Files files, const Journal& journal) {
  try {
    return scenario.judge(files, journal);
  } catch (const Failure& failure) {
    return {.fault = failure.error.kind == ErrorKind::malformed ? Fault::torn : Fault::stuck,
            .text = failure.what()};
  }
}

struct Tally {
  std::size_t points = 0;
  std::size_t judged = 0;  ///< those that differ from the point before
  std::array<std::size_t, 5> faults{};
  std::size_t redelivered = 0;
  std::size_t unrung = 0;
  std::size_t astray = 0;  ///< runs that went another way than the recorded one (memcpy goes by addresses)
  std::string first{};

  void add(const Verdict& verdict) {
    ++points;
    ++faults.at(static_cast<std::size_t>(verdict.fault));
    redelivered += verdict.redelivered ? 1 : 0;
    unrung += verdict.unrung ? 1 : 0;
    if (verdict.fault != Fault::none && first.empty())
      first = "point " + std::to_string(points) + ": " + verdict.text;
  }
  [[nodiscard]] std::size_t of(Fault fault) const { return faults.at(static_cast<std::size_t>(fault)); }
  [[nodiscard]] std::size_t caught() const { return points - of(Fault::none); }

  void print(const char* form, const char* what) const {
    std::printf(
        "%-9s %-34s %6zu points: %zu torn, %zu lost, %zu stuck, %zu twice; %zu redelivered, %zu for the "
        "knock\n",
        form, what, points, of(Fault::torn), of(Fault::lost), of(Fault::stuck), of(Fault::twice), redelivered,
        unrung);
    std::fflush(stdout);
  }
};

// --- the two forms

/// A shared file as the test sees it, and its copy of the last moment.
class Watched {
 public:
  explicit Watched(int file) : seals_{::fcntl(file, F_GET_SEALS)} {
    struct stat status {};
    ::fstat(file, &status);
    map_ = MemoryMap::create(file, static_cast<std::size_t>(status.st_size), Access::read).value();
    copy_.assign(map_.data(), map_.data() + map_.size());
  }
  [[nodiscard]] bool refresh() {
    if (std::memcmp(copy_.data(), map_.data(), copy_.size()) == 0) return false;
    std::memcpy(copy_.data(), map_.data(), copy_.size());
    return true;
  }
  [[nodiscard]] OwnedFd copy() const {
    auto file = create_memory("test-copy", copy_.size()).value();
    if (::pwrite(file.get(), copy_.data(), copy_.size(), 0) != static_cast<ssize_t>(copy_.size()) ||
        ::fcntl(file.get(), F_ADD_SEALS, seals_) != 0) {
      throw Failure{{ErrorKind::system, errno, "copy of a shared file"}};
    }
    return file;
  }

 private:
  int seals_;
  MemoryMap map_;
  std::vector<std::byte> copy_;
};

Verdict judge_copies(const Scenario& scenario, const std::vector<Watched>& watched, const Journal& journal) {
  std::vector<OwnedFd> copies;
  std::vector<int> files;
  files.reserve(watched.size());
  for (const auto& file : watched) files.push_back(copies.emplace_back(file.copy()).get());
  return judged(scenario, files, journal);
}

/// Snapshot form. The verdict is a function of the bytes, so a point whose bytes are those of the last is not
/// judged again.
Tally step_through(const Factory& make) {
  make()->run();
  const auto scenario = make();
  auto child = SteppedChild::create([&] { scenario->run(); }, deadline_in(100s)).value();
  std::vector<Watched> watched;
  for (const int file : scenario->files()) watched.emplace_back(file);
  Tally tally;
  Verdict verdict;
  Journal journal;
  bool rung = false;
  do {
    bool changed = tally.points == 0;
    for (auto& file : watched) changed |= file.refresh();
    changed |= std::exchange(rung, scenario->is_rung()) != rung;
    if (changed || journal != scenario->journal()) {
      journal = scenario->journal();
      verdict = judge_copies(*scenario, watched, journal);
      ++tally.judged;
    }
    tally.add(verdict);
  } while (child.step().value() == SteppedChild::Stop::instruction);
  return tally;
}

/// As many instructions, wherever they lead; at most to the second mark.
void step_blindly(SteppedChild& child, std::size_t steps) {
  while (steps-- > 0 && child.step().value() == SteppedChild::Stop::instruction) {}
}

/// Kill form: the files are the real ones, and nothing else is left of the child.
Tally kill_at_each(const Factory& make, std::size_t stride) {
  make()->run();
  const auto recorded = make();
  const auto trace = test::record([&] { recorded->run(); }, deadline_in(100s)).value();
  Tally tally;
  for (std::size_t at = 0; at < trace.size(); at += stride) {
    auto scenario = make();
    auto child = SteppedChild::create([&] { scenario->run(); }, deadline_in(100s)).value();
    if (!child.advance(trace, at)) {
      ++tally.astray;
      child.kill();
      scenario = make();
      child = SteppedChild::create([&] { scenario->run(); }, deadline_in(100s)).value();
      step_blindly(child, at);
    }
    child.kill();
    tally.add(judged(*scenario, scenario->files(), scenario->journal()));
  }
  return tally;
}

// --- what always holds of a lane's bytes

std::uint64_t word_at(int file, std::size_t at) {
  std::uint64_t word = 0;
  if (::pread(file, &word, sizeof word, static_cast<off_t>(at)) != sizeof word)
    throw Failure{{ErrorKind::system, errno, "pread"}};
  return word;
}

void check_words(int writer_file, int reader_file, const LaneSpec& spec) {
  const auto tail = word_at(writer_file, offsetof(lane::WriterPage, tail));
  const auto head = word_at(reader_file, lane::page_bytes + spec.slot * sizeof(lane::ReaderSlot) +
                                             offsetof(lane::ReaderSlot, head));
  if (head > tail || tail - head > spec.capacity)
    throw Failure{{ErrorKind::malformed, 0, "head ≤ tail ≤ head + capacity does not hold"}};
}

/// A fresh incarnation of a lane's reader, made from the files of the last one.
struct FreshReader {
  FreshReader(int writer_file, int reader_file, const LaneSpec& lane_spec)
      : spec{lane_spec},
        file{test::next_reader_file(reader_file, slots)},
        words{ReaderFile::create(file.get(), slots).value()},
        reader{LaneReader::create(writer_file, spec, words.slot(spec.slot), credit_bell.get()).value()} {
    check_words(writer_file, reader_file, spec);
  }
  /// The next epoch, in the same slot, from where the last one ended.
  void replace_lane(int writer_file, const LaneSpec& next) {
    spec = next;
    reader = LaneReader::create(writer_file, spec, words.slot(spec.slot), credit_bell.get()).value();
  }

  LaneSpec spec;
  OwnedFd credit_bell = create_bell().value();
  OwnedFd file;
  ReaderFile words;
  LaneReader reader;
};

/// A fresh incarnation of a lane's sender: a lane of its own, the last one's next epoch.
struct FreshWriter {
  FreshWriter(const FreshReader& peer, int bell)
      : spec{.id = peer.spec.id + 1,
             .capacity = peer.spec.capacity,
             .base = peer.reader.head(),
             .slot = peer.spec.slot},
        file{test::new_writer_file(spec)},
        writer{LaneWriter::create(file.get(), spec).value()} {
    writer.attach_reader(test::view_of(peer.file.get(), slots), bell);
  }
  LaneSpec spec;
  OwnedFd file;
  LaneWriter writer;
};

// --- three sends

/// 8 B, 200 B and 1 KiB; the third runs over the ring's end. The reader sleeps, so the first one rings.
class ThreeSends : public Scenario {
 public:
  enum class By { library, hand, hand_and_tail_first };
  explicit ThreeSends(By by = By::library) : by_{by} {
    if (by == By::library) return;
    const auto file = test::new_writer_file(spec_);
    const auto map = map_ring(file.get());
    auto writer = LaneWriter::create(file.get(), spec_).value();
    for (std::size_t i = 0; i < messages; ++i) {
      const auto begin = writer.tail();
      if (!test::send(writer, payloads_[i], info(i))) throw Failure{{ErrorKind::full, 0, "no room"}};
      frames_[i].assign(place(map, begin), place(map, begin) + (writer.tail() - begin));
    }
  }

  void run() override {
    const auto map =
        by_ == By::library ? MemoryMap{} : map_ring(writer_file_.get());  // before the file is sealed
    auto writer = LaneWriter::create(writer_file_.get(), spec_).value();
    const auto view = test::view_of(reader_file_.get(), slots);
    writer.attach_reader(view, bell.get());
    auto tail = spec_.base;
    mark();
    for (std::size_t i = 0; i < messages; ++i) {
      if (by_ == By::library) {
        if (!test::send(writer, payloads_[i], info(i))) break;
      } else {
        send_by_hand(map, frames_[i], tail, *view);
      }
      write(journal().sent, i + 1);
    }
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override { return {writer_file_.get(), reader_file_.get()}; }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    FreshReader fresh{files[0], files[1], spec_};
    auto received = receive_all(fresh.reader);
    const auto arrived = received.size();
    if (arrived < journal.sent) return {.fault = Fault::lost, .text = "published, and not there"};
    if (arrived > std::min(journal.sent + 1, messages))
      return {.fault = Fault::twice, .text = "there, and not yet sent"};
    const bool unrung = arrived > 0 && !is_rung();
    if (unrung && journal.sent > 0)
      return {.fault = Fault::stuck, .text = "the sender has returned, and nobody woke the reader"};

    FreshWriter next{fresh, bell.get()};
    for (std::size_t i = arrived; i < messages; ++i) {
      if (!test::send(next.writer, payloads_[i], info(i)))
        return {.fault = Fault::stuck, .text = "no room in a fresh lane"};
    }
    fresh.replace_lane(next.file.get(), next.spec);
    for (auto& more : receive_all(fresh.reader)) received.push_back(std::move(more));
    if (received.size() != messages)
      return {.fault = Fault::lost, .text = "the next incarnation could not go on"};
    for (std::size_t i = 0; i < messages; ++i) {
      if (received[i].payload != payloads_[i] || received[i].info.sequence != i + 1)
        return {.fault = Fault::torn, .text = "other bytes arrived"};
    }
    return {.unrung = unrung};
  }

 private:
  static FrameInfo info(std::size_t i) { return {.type = 7, .sequence = i + 1}; }
  [[nodiscard]] MemoryMap map_ring(int file) const {
    return MemoryMap::create_ring(file, lane::page_bytes, spec_.capacity, Access::read_write).value();
  }
  [[nodiscard]] std::byte* place(const MemoryMap& map, std::uint64_t offset) const {
    return map.data() + lane::page_bytes + offset % spec_.capacity;
  }
  void send_by_hand(const MemoryMap& map, const std::vector<std::byte>& frame, std::uint64_t& tail,
                    const ReaderView& view) const {
    auto& page = *reinterpret_cast<lane::WriterPage*>(map.data());
    auto* const at = place(map, tail);
    tail += frame.size();
    if (by_ == By::hand_and_tail_first) page.tail.store(tail);
    std::memcpy(at, frame.data(), frame.size());
    if (by_ == By::hand) page.tail.store(tail);
    if (view.page().asleep.load() % 2 != 0) ring(bell.get());
  }

  By by_;
  std::array<std::vector<std::byte>, messages> payloads_{pattern(1, 8), pattern(2, 200), pattern(3, 1024)};
  std::array<std::vector<std::byte>, messages> frames_{};
  LaneSpec spec_{.id = 7,
                 .base = 3 * lane::capacity_min - lane::frame_bytes(8) - lane::frame_bytes(200) - 504};
  OwnedFd writer_file_ = test::new_writer_file(spec_);
  OwnedFd reader_file_ = test::new_reader_file(slots, spec_.base);
  ReaderFile words_ = [this] {
    auto words = ReaderFile::create(reader_file_.get(), slots).value();
    words.announce_sleep();
    return words;
  }();
};

// --- three receives

/// Attempt, handler, acknowledge and settle, of 8 B and twice 1 KiB (over the ring's end) out of a full lane
/// whose sender waits.
class ThreeReceives : public Scenario {
 public:
  enum class Acknowledge { after_the_handler, before_the_handler };
  explicit ThreeReceives(Acknowledge when = Acknowledge::after_the_handler) : when_{when} {
    while (test::send(writer_, payload(sent_), {.type = 7, .sequence = sent_ + 1})) ++sent_;
    writer_.announce_wait();
  }

  void run() override {
    auto words = ReaderFile::create(reader_file_.get(), slots).value();
    auto reader = LaneReader::create(writer_file_.get(), spec_, words.slot(0), bell.get()).value();
    std::vector<std::byte> buffer;
    buffer.reserve(spec_.capacity);
    mark();
    for (std::size_t i = 0; i < messages && reader.pending(); ++i) {
      const auto frame = reader.peek(buffer).value();
      reader.begin_attempt();
      if (when_ == Acknowledge::before_the_handler) reader.acknowledge(frame);
      write(journal().handled[i], journal().handled[i] + 1);
      if (when_ == Acknowledge::after_the_handler) reader.acknowledge(frame);
      reader.settle();
    }
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override { return {writer_file_.get(), reader_file_.get()}; }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    FreshReader fresh{files[0], files[1], spec_};
    std::vector<std::uint64_t> effects(sent_, 0);
    for (std::size_t i = 0; i < messages; ++i) effects[i] = journal.handled[i];
    Verdict verdict;
    std::vector<std::byte> buffer;
    while (fresh.reader.pending()) {
      const auto frame = fresh.reader.peek(buffer).value();
      const auto index = frame.info.sequence - 1;
      if (index >= sent_ || buffer != payload(index))
        return {.fault = Fault::torn, .text = "other bytes arrived"};
      const auto attempts = fresh.reader.begin_attempt();
      if (effects[index] != 0) {
        if (verdict.redelivered) return {.fault = Fault::twice, .text = "two messages are offered again"};
        if (attempts < 2) return {.fault = Fault::twice, .text = "offered again as if for the first time"};
        verdict.redelivered = true;
      }
      ++effects[index];
      fresh.reader.acknowledge(frame);
    }
    fresh.reader.settle();
    for (const auto effect : effects) {
      if (effect == 0) return {.fault = Fault::lost, .text = "acknowledged, and never handled"};
      if (effect > 2) return {.fault = Fault::twice, .text = "handled three times"};
    }
    if (!test::was_rung(fresh.credit_bell.get()))
      return {.fault = Fault::stuck, .text = "nobody tells the waiting sender"};
    return go_on(files, fresh) ? verdict : Verdict{.fault = Fault::stuck, .text = "the sender cannot go on"};
  }

 private:
  /// The sender itself has lived on, so it can be asked wherever the files are its own.
  [[nodiscard]] bool go_on(Files files, FreshReader& fresh) const {
    if (files[0] != writer_file_.get()) return true;
    writer_.end_wait();
    writer_.attach_reader(test::view_of(fresh.file.get(), slots), -1);
    return test::send(writer_, pattern(99, 500), {.type = 7}) && receive_all(fresh.reader).size() == 1 &&
           writer_.drained();
  }
  static std::vector<std::byte> payload(std::uint64_t index) { return pattern(index, index == 0 ? 8 : 1024); }

  Acknowledge when_;
  LaneSpec spec_{.id = 7, .base = 5 * lane::capacity_min - 600};
  OwnedFd writer_file_ = test::new_writer_file(spec_);
  OwnedFd reader_file_ = test::new_reader_file(slots, spec_.base);
  mutable LaneWriter writer_ = LaneWriter::create(writer_file_.get(), spec_).value();
  std::uint64_t sent_ = 0;
};

// --- a commit

class KeptCommit : public Scenario {
 public:
  enum class Into { the_other_slot, the_committed_one };
  explicit KeptCommit(std::size_t bytes, Into into = Into::the_other_slot)
      : into_{into}, old_{pattern(1, bytes)}, new_{pattern(2, bytes)} {
    std::copy(new_.begin(), new_.end(), source_.begin());
    auto kept = KeptFile::create(file_.get(), kept_bytes).value();
    std::copy(old_.begin(), old_.end(), kept.next().begin());
    kept.commit(old_.size());
  }

  void run() override {
    auto kept = KeptFile::create(file_.get(), kept_bytes).value();
    mark();
    auto* const room =
        into_ == Into::the_other_slot ? kept.next().data() : const_cast<std::byte*>(kept.committed().data());
    std::memcpy(room, source_.data(), new_.size());
    kept.commit(new_.size());
    write(journal().committed, 1);
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override { return {file_.get()}; }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    auto kept = KeptFile::create(files[0], kept_bytes).value();
    const std::vector<std::byte> found{kept.committed().begin(), kept.committed().end()};
    const bool is_new = kept.version() == 2;
    if (found != (is_new ? new_ : old_))
      return {.fault = Fault::torn, .text = "neither the old state nor the new one"};
    if (!is_new && journal.committed != 0) return {.fault = Fault::lost, .text = "committed, and not there"};
    const auto more = pattern(3, 100);
    std::copy(more.begin(), more.end(), kept.next().begin());
    kept.commit(more.size());
    if (!std::equal(more.begin(), more.end(), kept.committed().begin(), kept.committed().end())) {
      return {.fault = Fault::stuck, .text = "the next incarnation cannot commit"};
    }
    return {};
  }

 private:
  alignas(lane::page_bytes)
      std::array<std::byte, kept_bytes> source_{};  // memcpy goes by addresses: each run the same way
  Into into_;
  std::vector<std::byte> old_;
  std::vector<std::byte> new_;
  OwnedFd file_ = create_memory("test-kept", KeptFile::file_bytes(kept_bytes)).value();
};

// --- all of it: handle, commit a state that holds what is to be sent, send it, acknowledge

/// Three messages to an actor that keeps a sum and answers each with two numbered frames to somebody else.
class StatefulActor : public Scenario {
 public:
  enum class Protocol { whole, two_commits, acknowledge_first, no_replay, no_marks };
  explicit StatefulActor(Protocol protocol = Protocol::whole) : protocol_{protocol} {
    for (std::uint64_t i = 0; i < messages; ++i) {
      const std::uint64_t value = value_of(i);
      if (!test::send(in_writer_, std::as_bytes(std::span{&value, 1}), {.type = 7, .sequence = i + 1}))
        throw Failure{{ErrorKind::full, 0, ""}};
    }
  }

  void run() override {
    auto words = ReaderFile::create(in_reader_file_.get(), slots).value();
    auto in = LaneReader::create(in_writer_file_.get(), in_spec_, words.slot(0), bell.get()).value();
    auto kept = KeptFile::create(kept_file_.get(), kept_bytes).value();
    auto place = KeptFile::create(place_file_.get(), kept_bytes).value();
    auto out = LaneWriter::create(out_writer_file_.get(), out_spec_).value();
    out.attach_reader(test::view_of(out_reader_file_.get(), slots), bell.get());
    std::vector<std::byte> buffer;
    buffer.reserve(in_spec_.capacity);
    mark();
    while (in.pending()) turn(in, kept, place, out, buffer);
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override {
    return {in_writer_file_.get(), in_reader_file_.get(),  kept_file_.get(),
            place_file_.get(),     out_writer_file_.get(), out_reader_file_.get()};
  }

  [[nodiscard]] Verdict judge(Files files, const Journal&) const override {
    // The next receiver first takes what the dead actor had sent, then attaches to the next actor's lane.
    FreshReader out{files[4], files[5], out_spec_};
    std::vector<Answer> accepted;
    take(out.reader, accepted);
    FreshWriter out_next{out, bell.get()};

    FreshReader in{files[0], files[1], in_spec_};
    auto kept = KeptFile::create(files[2], kept_bytes).value();
    auto place = KeptFile::create(files[3], kept_bytes).value();
    in.reader.resume_at(load<Place>(protocol_ == Protocol::two_commits ? place : kept).consumed);
    if (protocol_ != Protocol::no_replay) send_answers(load<State>(kept), out_next.writer);
    std::vector<std::byte> buffer;
    while (in.reader.pending()) turn(in.reader, kept, place, out_next.writer, buffer);

    out.replace_lane(out_next.file.get(), out_next.spec);
    take(out.reader, accepted);
    return compare(load<State>(kept), accepted);
  }

 private:
  struct Answer {
    std::uint64_t number = 0;
    std::uint64_t sum = 0;
  };
  struct Place {
    std::uint64_t consumed = 0;
  };
  struct State : Place {
    std::uint64_t count = 0;
    std::uint64_t sum = 0;
    std::array<Answer, 2> outbox{};
  };

  static std::uint64_t value_of(std::uint64_t index) { return 1000 + index * index; }

  template <class T>
  static T load(const KeptFile& kept) {
    T value{};
    std::memcpy(static_cast<void*>(&value), kept.committed().data(),
                std::min(kept.committed().size(), sizeof value));
    return value;
  }
  template <class T>
  static void commit(KeptFile& kept, const T& value) {
    std::memcpy(kept.next().data(), &value, sizeof value);
    kept.commit(sizeof value);
  }

  static void send_answers(const State& state, LaneWriter& out) {
    for (const auto& answer : state.outbox) {
      if (answer.number == 0) continue;
      if (!test::send(out, std::as_bytes(std::span{&answer, 1}), {.type = 8, .sequence = answer.number})) {
        throw Failure{{ErrorKind::full, 0, "no room for an answer"}};
      }
    }
  }

  /// One message of the actor's life, as its loop would have it.
  void turn(LaneReader& in, KeptFile& kept, KeptFile& place, LaneWriter& out,
            std::vector<std::byte>& buffer) const {
    const auto frame = in.peek(buffer).value();
    in.begin_attempt();
    if (protocol_ == Protocol::acknowledge_first) in.acknowledge(frame);

    auto state = load<State>(kept);
    std::uint64_t value = 0;
    std::memcpy(&value, frame.payload.data(), sizeof value);
    state.count += 1;
    state.sum += value;
    state.consumed = frame.offset + lane::frame_bytes(frame.payload.size());
    state.outbox = {Answer{2 * state.count - 1, state.sum}, Answer{2 * state.count, state.sum}};

    commit(kept, state);
    if (protocol_ == Protocol::two_commits) commit(place, Place{state.consumed});
    send_answers(state, out);
    if (protocol_ != Protocol::acknowledge_first) in.acknowledge(frame);
    in.settle();
  }

  /// A receiver drops what it has had. Without marks it does not.
  void take(LaneReader& reader, std::vector<Answer>& accepted) const {
    for (const auto& received : receive_all(reader)) {
      const auto mark = accepted.empty() ? 0 : accepted.back().number;
      if (received.info.sequence <= mark && protocol_ != Protocol::no_marks) continue;
      Answer answer;
      if (received.payload.size() != sizeof answer)
        throw Failure{{ErrorKind::malformed, 0, "an answer of another size"}};
      std::memcpy(&answer, received.payload.data(), sizeof answer);
      accepted.push_back(answer);
    }
  }

  static Verdict compare(const State& state, const std::vector<Answer>& accepted) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < messages; ++i) sum += value_of(i);
    if (state.count > messages || state.sum > sum)
      return {.fault = Fault::twice, .text = "the state has taken a message in twice"};
    if (state.count < messages || state.sum < sum)
      return {.fault = Fault::lost, .text = "the state lacks a message"};
    if (accepted.size() > 2 * messages) return {.fault = Fault::twice, .text = "an answer has arrived twice"};
    if (accepted.size() < 2 * messages) return {.fault = Fault::lost, .text = "an answer is missing"};
    sum = 0;
    for (std::uint64_t i = 0; i < accepted.size(); ++i) {
      if (i % 2 == 0) sum += value_of(i / 2);
      if (accepted[i].number != i + 1 || accepted[i].sum != sum)
        return {.fault = Fault::torn, .text = "an answer says something else"};
    }
    return {};
  }

  Protocol protocol_;
  LaneSpec in_spec_{.id = 7};
  LaneSpec out_spec_{.id = 70,
                     .base = 9 * lane::capacity_min - 72};  // the second answer runs over the ring's end
  OwnedFd in_writer_file_ = test::new_writer_file(in_spec_);
  OwnedFd in_reader_file_ = test::new_reader_file(slots);
  OwnedFd out_writer_file_ = test::new_writer_file(out_spec_);
  OwnedFd out_reader_file_ = test::new_reader_file(slots, out_spec_.base);
  OwnedFd kept_file_ = create_memory("test-kept", KeptFile::file_bytes(kept_bytes)).value();
  OwnedFd place_file_ = create_memory("test-place", KeptFile::file_bytes(kept_bytes)).value();
  LaneWriter in_writer_ = LaneWriter::create(in_writer_file_.get(), in_spec_).value();
  ReaderFile out_words_ = ReaderFile::create(out_reader_file_.get(), slots).value();
};

// --- the tests

class LaneStepping : public test::NothingLeft {
 protected:
  void SetUp() override {
    if (!test::can_step()) GTEST_SKIP() << "a sanitizer's own instructions would be stepped too";
  }

  static void expect_sound(const Tally& tally) {
    EXPECT_GT(tally.points, 100U);
    EXPECT_EQ(tally.caught(), 0U) << tally.first;
  }

  static void expect_sound_in_both_forms(const char* what, const Factory& make) {
    const auto seen = step_through(make);
    seen.print("looked at", what);
    expect_sound(seen);
    const auto killed = kill_at_each(make, test::step_stride(1));
    killed.print("killed at", what);
    EXPECT_EQ(killed.caught(), 0U) << killed.first;
    if (killed.astray != 0) std::printf("          of these, %zu were stepped all the way\n", killed.astray);
  }

  static Tally expect_caught(const char* what, const Factory& make, Fault fault) {
    auto tally = step_through(make);
    std::printf("mutant    %-34s %6zu points: caught at %zu (%zu torn, %zu lost, %zu stuck, %zu twice)\n",
                what, tally.points, tally.caught(), tally.of(Fault::torn), tally.of(Fault::lost),
                tally.of(Fault::stuck), tally.of(Fault::twice));
    std::fflush(stdout);
    EXPECT_GT(tally.of(fault), 0U) << "the judge did not notice";
    return tally;
  }
};

template <class S, class... Arguments>
Factory making(Arguments... arguments) {
  return [=] { return std::make_unique<S>(arguments...); };
}

TEST_F(LaneStepping, ThreeSendsAreEachSentOrNotAtEveryInstruction) {
  expect_sound_in_both_forms("three sends", making<ThreeSends>());
}

TEST_F(LaneStepping, ThreeReceivesLoseNothingAndRepeatAtMostOneAtEveryInstruction) {
  expect_sound_in_both_forms("three receives", making<ThreeReceives>());
}

TEST_F(LaneStepping, ACommitOf64BytesIsThereOrNotAtEveryInstruction) {
  expect_sound_in_both_forms("a commit of 64 B", making<KeptCommit>(std::size_t{64}));
}

TEST_F(LaneStepping, ACommitOf3000BytesIsThereOrNotAtEveryInstruction) {
  expect_sound_in_both_forms("a commit of 3000 B", making<KeptCommit>(std::size_t{3000}));
}

TEST_F(LaneStepping, AStatefulActorHandlesAndAnswersExactlyOnceAtEveryInstruction) {
  expect_sound_in_both_forms("handle, commit, send, acknowledge", making<StatefulActor>());
}

TEST_F(LaneStepping, ASendByHandInTheRightOrderIsSoundToo) {
  const auto tally = step_through(making<ThreeSends>(ThreeSends::By::hand));
  tally.print("looked at", "three sends by hand");
  expect_sound(tally);
}

TEST_F(LaneStepping, CatchesASendThatPublishesBeforeThePayload) {
  expect_caught("tail before payload", making<ThreeSends>(ThreeSends::By::hand_and_tail_first), Fault::torn);
}

TEST_F(LaneStepping, CatchesAnAcknowledgeBeforeTheHandler) {
  expect_caught("acknowledge before handler",
                making<ThreeReceives>(ThreeReceives::Acknowledge::before_the_handler), Fault::lost);
}

TEST_F(LaneStepping, CatchesACommitOverTheCommittedBytes) {
  expect_caught("commit in place", making<KeptCommit>(std::size_t{64}, KeptCommit::Into::the_committed_one),
                Fault::torn);
}

TEST_F(LaneStepping, CatchesStateAndPlaceCommittedOneAfterTheOther) {
  expect_caught("two commits", making<StatefulActor>(StatefulActor::Protocol::two_commits), Fault::twice);
}

TEST_F(LaneStepping, CatchesAnAcknowledgeBeforeTheCommit) {
  expect_caught("acknowledge before commit",
                making<StatefulActor>(StatefulActor::Protocol::acknowledge_first), Fault::lost);
}

TEST_F(LaneStepping, CatchesAnOutboxThatIsNotReplayed) {
  expect_caught("outbox not replayed", making<StatefulActor>(StatefulActor::Protocol::no_replay),
                Fault::lost);
}

TEST_F(LaneStepping, CatchesAReceiverWithoutMarks) {
  expect_caught("no marks at the receiver", making<StatefulActor>(StatefulActor::Protocol::no_marks),
                Fault::twice);
}

TEST_F(LaneStepping, CatchesMutantsWhenTheyAreReallyKilledToo) {
  const auto tally =
      kill_at_each(making<ThreeSends>(ThreeSends::By::hand_and_tail_first), test::step_stride(1));
  tally.print("killed at", "mutant: tail before payload");
  EXPECT_GT(tally.of(Fault::torn), 0U);
}

// --- the tool itself

TEST_F(LaneStepping, CountsEveryInstructionBetweenTwoMarks) {
  std::uint64_t word = 0;
  const auto count_to = [&](int bound) {
    return [&word, bound] {
      mark();
      for (int i = 0; i < bound; ++i) std::atomic_ref{word}.fetch_add(1);
      mark();
    };
  };
  const auto ten = test::record(count_to(10), deadline_in(10s)).value().size();
  const auto twenty = test::record(count_to(20), deadline_in(10s)).value().size();
  const auto thirty = test::record(count_to(30), deadline_in(10s)).value().size();
  EXPECT_GT(twenty, ten);
  EXPECT_EQ(thirty - twenty, twenty - ten);
  EXPECT_EQ(word, 0U) << "it all happened in children";
}

TEST_F(LaneStepping, EndsEveryWaitAtItsDeadline) {
  const auto endless = [] {
    mark();
    for (;;) ::pause();
  };
  auto child = SteppedChild::create(endless, deadline_in(300ms)).value();
  const auto result = child.run();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timed_out);
}

TEST_F(LaneStepping, SaysThatABodyHasNoMarks) {
  const auto child = SteppedChild::create([] {}, deadline_in(10s));
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().kind, ErrorKind::malformed);
}

TEST_F(LaneStepping, SaysThatABodyThrewOrCrashed) {
  EXPECT_FALSE(SteppedChild::create([] { throw std::runtime_error{"no"}; }, deadline_in(10s)));
  EXPECT_FALSE(SteppedChild::create([] { std::abort(); }, deadline_in(10s)));
}

TEST_F(LaneStepping, GoesToTheSameBoundaryWithAndWithoutABreakpoint) {
  const auto make = making<ThreeSends>();
  make()->run();
  const auto recorded = make();
  const auto trace = test::record([&] { recorded->run(); }, deadline_in(20s)).value();
  auto without = trace;
  without.forget_breakpoints();
  for (const auto at : {std::size_t{1}, trace.size() / 3, trace.size() - 1}) {
    for (const test::Trace& way : {trace, without}) {
      const auto scenario = make();
      auto child = SteppedChild::create([&] { scenario->run(); }, deadline_in(20s)).value();
      ASSERT_TRUE(child.advance(way, at));
      EXPECT_EQ(child.program_counter(), trace.counter(at));
    }
  }
}

}  // namespace
}  // namespace troupe
