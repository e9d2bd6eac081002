// SPDX-License-Identifier: MIT
#include "job.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <memory>
#include <troupe/troupe.hpp>

#include "actors.hpp"
#include "chaos.hpp"
#include "deaths.hpp"
#include "feeder.hpp"
#include "judge.hpp"
#include "pass_result.hpp"
#include "view.hpp"

namespace verify {
namespace {

using namespace std::chrono_literals;
using troupe::Clock;
using troupe::TimePoint;

constexpr auto refresh = 100ms;
constexpr auto patience = 30s;  ///< for an answer that has to come: far beyond any number of restarts
constexpr auto death_is_news_for = 2s;
constexpr auto stalled_after = 10min;  ///< no verdict for so long: what is missing is lost, and said to be
constexpr std::uint64_t collector_state_bytes_max = std::uint64_t{4} << 20U;
constexpr std::uint64_t lister_state_bytes_max = std::uint64_t{512} << 10U;

double seconds_between(TimePoint from, TimePoint to) {
  return std::chrono::duration<double>{to - from}.count();
}

/// The lister's note says how many entries it has given out.
std::uint64_t entries_listed(const std::string& note) {
  std::uint64_t entries = 0;
  const std::size_t at = note.rfind(' ');
  if (at != std::string::npos) std::from_chars(note.data() + at + 1, note.data() + note.size(), entries);
  return entries;
}

class Job {
 public:
  explicit Job(const Options& options)
      : options_{options},
        view_{options.json ? STDERR_FILENO : STDOUT_FILENO,
              view_mode(options.json ? STDERR_FILENO : STDOUT_FILENO, options.quiet || options.json),
              view_colour()} {}

  Outcome run();

 private:
  troupe::Result<void> start_actors();
  troupe::Result<void> begin_pass();
  troupe::Result<void> run_pass();
  [[nodiscard]] bool is_stalled(TimePoint now);
  troupe::Result<void> wait_for_progress(TimePoint deadline);
  troupe::Result<void> end_pass();
  troupe::Result<IdSet> take_set(SetName set);
  troupe::Result<void> settle();
  void look(TimePoint now);
  void draw(TimePoint now);
  troupe::Result<void> judge_all();
  troupe::Result<ManifestReader> list() const;
  void name_paths();
  [[nodiscard]] bool wants_another_pass(TimePoint now) const;
  [[nodiscard]] double fraction_done() const;
  [[nodiscard]] bool is_fed() const noexcept { return options_.manifest == "-"; }
  [[nodiscard]] std::uint64_t estimate_entries() const;

  const Options& options_;
  TerminalView view_;
  Outcome outcome_{};
  std::optional<troupe::Node> node_{};
  std::optional<Feeder> feeder_{};
  std::unique_ptr<Chaos> chaos_{};
  troupe::Ref<Lister> lister_{};
  troupe::Ref<Collector> collector_{};
  Tally tally_{};
  std::uint64_t counted_before_ = 0;  ///< by earlier passes
  std::uint64_t counted_last_ = 0;
  TimePoint counted_at_{};  ///< when it last grew
  std::uint32_t pass_ = 0;
  std::optional<std::uint64_t> entries_expected_{};
  PassResult result_{};
  std::uint64_t unstable_ = 0;  ///< entries whose verdicts changed between passes
  DeathLog deaths_{};
  TimePoint begin_{};
  TimePoint next_draw_{};
};

// ---- the actors --------------------------------------------------------------------------------

troupe::Result<void> Job::start_actors() {
  auto node = troupe::Node::create();
  if (!node) return troupe::failure(std::move(node));
  node_ = std::move(*node);
  // Deaths are what this program is about: as many as there are, replaced at once. A stopped actor is noticed
  // soon while somebody deals deaths; a slow disk is given time otherwise.
  const bool deadly = options_.chaos_per_second > 0 || options_.deaths > 0;
  troupe::ChildOptions how{.restarts_max = troupe::unlimited,
                           .attempts_max = troupe::unlimited,
                           .backoff = {.first = 200us, .max = 1ms},
                           .ready_within = 10s,
                           .stop_within = 1s,
                           .hung_after = deadly ? troupe::Duration{250ms} : troupe::Duration{10s}};
  how.state_bytes_max = collector_state_bytes_max;
  auto collector = node_->spawn<Collector>("collector", how);
  if (!collector) return troupe::failure(std::move(collector));
  collector_ = *collector;
  how.state_bytes_max = lister_state_bytes_max;
  auto lister = node_->spawn<Lister>("lister", how, options_.root);
  if (!lister) return troupe::failure(std::move(lister));
  lister_ = *lister;
  how.state_bytes_max = 64 << 10U;
  for (std::uint32_t i = 0; i < options_.workers; ++i)
    if (auto hasher = node_->spawn<Hasher>(hasher_name(i), how, options_.root, i); !hasher)
      return troupe::failure(std::move(hasher));
  return {};
}

// ---- passes ------------------------------------------------------------------------------------

troupe::Result<void> Job::begin_pass() {
  ++pass_;
  if (pass_ > 1)
    if (auto next = collector_.ask(NextPass{pass_}, patience); !next) return troupe::failure(std::move(next));
  Begin begin{.pass = pass_, .hashers = options_.workers, .source = {.fed = is_fed() && pass_ == 1}};
  if (is_fed() && pass_ > 1)
    begin.source.manifest = feeder_->spool_path();
  else if (options_.manifest && !is_fed())
    begin.source.manifest = *options_.manifest;
  auto begun = lister_.ask(begin, patience);
  if (!begun) return troupe::failure(std::move(begun));
  return {};
}

troupe::Result<void> Job::run_pass() {
  if (auto begun = begin_pass(); !begun) return begun;
  tally_.complete = false;
  counted_at_ = Clock::now();
  do {
    const TimePoint next = std::min(chaos_->next(), next_draw_);
    if (auto waited = wait_for_progress(next); !waited) return waited;
    if (auto learned = deaths_.learn(*node_); !learned) return learned;
    look(Clock::now());
  } while (!tally_.complete && !is_stalled(Clock::now()));
  return end_pass();
}

/// A file takes its time, but not this long: the pass is ended, and its entries without a verdict count as
/// lost.
bool Job::is_stalled(TimePoint now) {
  if (tally_.counted != counted_last_ || tally_.pass != pass_ || (feeder_ && !feeder_->done())) {
    counted_last_ = tally_.counted;
    counted_at_ = now;
  }
  return now - counted_at_ > stalled_after;
}

/// Waits for the pass's end, for more input, or for the deadline, whichever is first.
troupe::Result<void> Job::wait_for_progress(TimePoint deadline) {
  if (feeder_ && !feeder_->done()) {
    const bool was_held_back = feeder_->is_held_back();
    if (auto fed = feeder_->feed(lister_, deadline); !fed) return fed;
    if (!feeder_->is_held_back() && !was_held_back) return {};
    deadline = std::min(deadline, troupe::deadline_in(2ms));  // the hashers make room meanwhile
  }
  const auto within = std::max<troupe::Duration>(deadline - Clock::now(), 1ms);
  auto tally = collector_.ask(WhenComplete{pass_}, within);
  if (tally) {
    tally_ = *tally;
    return {};
  }
  const auto kind = tally.error().kind;
  const bool goes_on = kind == troupe::ErrorKind::timed_out || kind == troupe::ErrorKind::no_reply ||
                       kind == troupe::ErrorKind::full;
  if (!goes_on) return troupe::failure(std::move(tally));
  return {};
}

troupe::Result<IdSet> Job::take_set(SetName set) {
  IdSet all;
  for (;;) {
    auto page = collector_.ask(TakePage{set, all.runs.size()}, patience);
    if (!page) return troupe::failure(std::move(page));
    all.runs.insert(all.runs.end(), page->runs.begin(), page->runs.end());
    if (!page->more) return all;
  }
}

/// Takes the results of the pass, and compares them with those of the one before.
troupe::Result<void> Job::end_pass() {
  PassResult result;
  for (const auto& [name, set] : {std::pair{SetName::seen, &result.seen},
                                  {SetName::differing, &result.differing},
                                  {SetName::missing, &result.missing},
                                  {SetName::unreadable, &result.unreadable}}) {
    auto taken = take_set(name);
    if (!taken) return troupe::failure(std::move(taken));
    *set = std::move(*taken);
  }
  auto listed = collector_.ask(TakeListed{}, patience);
  if (!listed) return troupe::failure(std::move(listed));
  result.entries = listed->entries;
  if (pass_ > 1 && result.entries != result_.entries)
    return troupe::failure(troupe::ErrorKind::refused, "the list: it had " + std::to_string(result_.entries) +
                                                           " entries at first and now " +
                                                           std::to_string(result.entries) +
                                                           "; try again when nobody installs packages");
  if (pass_ > 1 && !(result == result_))
    for (std::uint64_t id = 0; id < result.entries; ++id)
      unstable_ += result.verdict(id) != result_.verdict(id) ? 1 : 0;
  entries_expected_ = result.entries;
  result_ = std::move(result);
  outcome_.malformed = std::move(listed->malformed);
  if (!listed->errors.empty())
    outcome_.failure = listed->errors.front();
  else if (result_.entries == 0)
    outcome_.failure = options_.manifest.value_or("the package lists") +
                       ": holds no entry to check; try a list that md5sum wrote";
  outcome_.verdicts += result_.seen.size();
  outcome_.lost += result_.entries - std::min(result_.entries, result_.seen.size());
  counted_before_ += result_.seen.size();
  return {};
}

bool Job::wants_another_pass(TimePoint now) const {
  if (outcome_.failure || result_.entries == 0) return false;
  return seconds_between(begin_, now) < options_.seconds_min || !chaos_->is_satisfied(deaths_.all().size());
}

// ---- looking on --------------------------------------------------------------------------------

double Job::fraction_done() const {
  const std::uint64_t expected = entries_expected_.value_or(0);
  return expected == 0
             ? 0.0
             : static_cast<double>(counted_before_ + tally_.counted * (tally_.pass == pass_ ? 1 : 0)) /
                   static_cast<double>(expected);
}

void Job::look(TimePoint now) {
  chaos_->act(*node_, now, fraction_done(), deaths_.all().size());
  if (now < next_draw_) return;
  next_draw_ = now + refresh;
  if (auto tally = collector_.ask(HowFar{}, refresh)) {
    const bool complete = tally_.complete;
    tally_ = *tally;
    tally_.complete = tally_.complete || complete;
  }
  draw(Clock::now());
}

void Job::draw(TimePoint now) {
  const auto children = node_->children();
  if (!children) return;
  Snapshot picture{.files_done = tally_.pass == pass_ ? tally_.counted : 0,
                   .files_total = entries_expected_,
                   .elapsed = now - begin_,
                   .redone = tally_.redone,
                   .deaths = deaths_.all().size(),
                   .pass = pass_};
  if (tally_.entries && tally_.pass == pass_) picture.files_total = tally_.entries;
  const double seconds = std::max(seconds_between(begin_, now), 1e-3);
  picture.files_per_second = static_cast<double>(counted_before_ + picture.files_done) / seconds;
  picture.bytes_per_second = static_cast<double>(tally_.bytes) / seconds;
  for (const troupe::ChildInfo& child : *children) {
    Row row{.role = child.name, .pid = child.pid, .incarnation = child.incarnation, .in_hand = child.note};
    row.is_hasher = child.name.starts_with("hasher/");
    const std::size_t number = row.is_hasher ? std::stoul(child.name.substr(7)) : 0;
    if (row.is_hasher) row.done = number < tally_.done_by_hasher.size() ? tally_.done_by_hasher[number] : 0;
    if (child.name == "collector") row.done = counted_before_ + picture.files_done;
    if (child.name == "lister") row.done = entries_listed(child.note);
    if (const auto* const last = deaths_.last_of(child.name)) {
      row.death = last->reason;
      row.just_died = now - last->when < death_is_news_for;
    }
    picture.rows.push_back(std::move(row));
  }
  view_.draw(picture);
}

/// The list's number of lines, for the bar: close enough, and read in a moment.
std::uint64_t Job::estimate_entries() const {
  std::vector<std::string> files;
  if (is_fed()) return 0;
  if (options_.manifest)
    files.push_back(*options_.manifest);
  else if (auto lists = dpkg_lists(options_.root))
    files = std::move(*lists);
  std::uint64_t lines = 0;
  for (const std::string& file : files) {
    std::ifstream in{file, std::ios::binary};
    lines += static_cast<std::uint64_t>(std::count(std::istreambuf_iterator<char>{in}, {}, '\n'));
  }
  return lines;
}

// ---- the end -----------------------------------------------------------------------------------

troupe::Result<ManifestReader> Job::list() const {
  if (is_fed()) {
    auto spool = feeder_->open_spool();
    if (!spool) return troupe::failure(std::move(spool));
    return ManifestReader::over(std::move(*spool), "standard input");
  }
  if (options_.manifest) return ManifestReader::open({*options_.manifest});
  auto lists = dpkg_lists(options_.root);
  if (!lists) return troupe::failure(std::move(lists));
  return ManifestReader::open(std::move(*lists));
}

/// Names the entries that are not ok: the actors only pass their numbers on.
void Job::name_paths() {
  outcome_.files = result_.seen.size();
  outcome_.ok =
      result_.seen.size() - result_.differing.size() - result_.missing.size() - result_.unreadable.size();
  if (outcome_.ok == outcome_.files) return;
  auto reader = list();
  for (std::uint64_t id = 0; reader;) {
    auto item = reader->next();
    if (!item) continue;
    if (!*item) return;
    const auto* const entry = std::get_if<Entry>(&**item);
    if (entry == nullptr) continue;
    switch (result_.verdict(id++).value_or(Verdict::ok)) {
      case Verdict::ok: break;
      case Verdict::differing: outcome_.differing.push_back(entry->path); break;
      case Verdict::missing: outcome_.missing.push_back(entry->path); break;
      case Verdict::unreadable: outcome_.unreadable.push_back(entry->path); break;
    }
  }
}

troupe::Result<void> Job::judge_all() {
  auto reader = list();
  if (!reader) return troupe::failure(std::move(reader));
  auto judgement = judge(std::move(*reader), {.root = options_.root},
                         [this](std::uint64_t id) { return result_.verdict(id); });
  if (!judgement) return troupe::failure(std::move(judgement));
  judgement->disagreeing += unstable_;  // at least one of two different verdicts is not md5sum's
  outcome_.judgement = std::move(*judgement);
  return {};
}

/// After the last pass: counts that came late, and the end of every actor.
troupe::Result<void> Job::settle() {
  auto tally = collector_.ask(HowFar{}, patience);
  if (!tally) return troupe::failure(std::move(tally));
  outcome_.bytes = tally->bytes;
  outcome_.redone = tally->redone;
  outcome_.counted_twice = tally->doubled;
  outcome_.dropped_duplicates = tally->duplicates_dropped;
  if (auto learned = deaths_.learn(*node_); !learned) return learned;
  return node_->stop();
}

Outcome Job::run() {
  const auto whole = [this]() -> troupe::Result<void> {
    if (is_fed()) {
      auto feeder = Feeder::create(STDIN_FILENO);
      if (!feeder) return troupe::failure(std::move(feeder));
      feeder_ = std::move(*feeder);
    } else if (auto readable = list(); !readable) {
      return troupe::failure(std::move(readable));
    }
    if (const std::uint64_t lines = estimate_entries(); lines != 0) entries_expected_ = lines;
    begin_ = Clock::now();
    next_draw_ = begin_ + refresh;
    chaos_ = std::make_unique<Chaos>(options_, begin_);
    if (auto started = start_actors(); !started) return started;
    do {
      if (auto passed = run_pass(); !passed) return passed;
      ++outcome_.passes;
    } while (wants_another_pass(Clock::now()));
    outcome_.seconds = seconds_between(begin_, Clock::now());
    return settle();
  };
  outcome_.passes = 0;
  if (auto done = whole(); !done) outcome_.failure = done.error().text;
  outcome_.deaths = deaths_.all();
  view_.finish();
  node_.reset();
  if (pass_ > 0) name_paths();
  if (options_.against_md5sum && !outcome_.failure)
    if (auto judged = judge_all(); !judged) outcome_.failure = judged.error().text;
  return std::move(outcome_);
}

}  // namespace

Outcome run_job(const Options& options) { return Job{options}.run(); }

}  // namespace verify
