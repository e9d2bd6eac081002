// SPDX-License-Identifier: MIT
#include "actors.hpp"

#include <algorithm>

namespace verify {
namespace {

constexpr const char* lister_name = "lister";
constexpr const char* collector_name = "collector";

}  // namespace

std::string hasher_name(std::uint32_t number) { return "hasher/" + std::to_string(number); }

// ---- Hasher ------------------------------------------------------------------------------------

void Hasher::on(const Batch& batch, troupe::Self& self) {
  const bool goes_on = kept.pass == batch.pass && kept.first == batch.first;
  const std::uint32_t again =
      self.attempt() - (goes_on ? 0 : 1);  // a commit starts the count of attempts anew
  if (!goes_on) kept = Kept{.pass = batch.pass, .first = batch.first};
  kept.redone += again;
  if (!files_) files_ = FileCheck::create(root).value();
  while (kept.verdicts.size() < batch.entries.size()) {
    const Verdict verdict = check(batch.entries[kept.verdicts.size()], self);
    kept.verdicts.push_back(verdict);
    kept.checkpoint = {};
    if (kept.verdicts.size() < batch.entries.size()) self.commit();
  }
  self.ref<Collector>(collector_name)
      .send(Verdicts{kept.pass, kept.first, kept.verdicts, kept.bytes, kept.redone, number});
  self.ref<Lister>(lister_name).send(Want{number});
  kept = {};
}

Verdict Hasher::check(const Entry& entry, troupe::Self& self) {
  self.note(entry.path);
  files_->begin(entry, kept.checkpoint);
  std::uint64_t committed = 0;
  std::uint64_t counted = 0;
  for (;;) {
    const auto verdict = files_->step();
    kept.bytes += files_->bytes_read() - std::exchange(counted, files_->bytes_read());
    if (verdict) return *verdict;
    if (files_->bytes_read() - committed < commit_bytes) {
      self.progress();
      continue;
    }
    committed = files_->bytes_read();
    kept.checkpoint = files_->checkpoint();
    self.commit();
  }
}

// ---- Lister ------------------------------------------------------------------------------------

bool Lister::on(const Begin& begin, troupe::Self& self) {
  if (begin.pass <= kept.pass) return true;
  const bool first = kept.pass == 0;
  Kept next;
  next.pass = begin.pass;
  next.hashers = begin.hashers;
  next.source = begin.source;
  next.wanting =
      std::move(kept.wanting);  // of the hashers that were left without work at the end of the last pass
  kept = std::move(next);
  reader_.reset();
  if (first)
    for (std::uint32_t round = 0; round < batches_under_way; ++round)
      for (std::uint32_t hasher = 0; hasher < begin.hashers; ++hasher) kept.wanting.push_back(hasher);
  serve(self);
  return true;
}

void Lister::on(const Want& want, troupe::Self& self) {
  kept.wanting.push_back(want.hasher);
  serve(self);
}

Fed Lister::on(const Feed& feed, troupe::Self& self) {
  if (feed.number == kept.next_piece && !kept.ended) {
    ++kept.next_piece;
    LineSplitter splitter{"standard input", kept.splitter};
    take_items(splitter.feed(feed.text));
    if (feed.last) take_items(splitter.finish());
    kept.splitter = splitter.state();
    kept.ended = feed.last;
    serve(self);
  }
  return {kept.next_piece, kept.waiting.size() < waiting_max};
}

void Lister::take_items(std::vector<Item> items) {
  for (Item& item : items) {
    if (auto* const entry = std::get_if<Entry>(&item))
      kept.waiting.push_back(std::move(*entry));
    else
      note_malformed(std::move(std::get<Malformed>(item)));
  }
}

void Lister::note_malformed(Malformed malformed) {
  ++kept.malformed_count;
  if (kept.malformed.size() < malformed_shown_max) kept.malformed.push_back(std::move(malformed));
}

/// Answers as many Wants as there are entries for; says so when there are no more.
void Lister::serve(troupe::Self& self) {
  // Small batches at first: a short list of large files is shared out evenly, a long one soon costs few
  // messages.
  const std::size_t batch_max = std::clamp<std::size_t>(
      kept.next_id / (std::size_t{4} * std::max(kept.hashers, 1U)), 1, batch_entries_max);
  std::size_t served = 0;
  for (; served < kept.wanting.size(); ++served) {
    Batch batch{.pass = kept.pass, .first = kept.next_id};
    std::size_t path_bytes = 0;
    while (batch.entries.size() < batch_max && path_bytes < batch_path_bytes_max) {
      auto entry = next_entry();
      if (!entry) break;
      path_bytes += entry->path.size();
      batch.entries.push_back(std::move(*entry));
    }
    if (batch.entries.empty()) break;
    kept.next_id += batch.entries.size();
    self.note("entry " + std::to_string(kept.next_id));
    self.ref<Hasher>(hasher_name(kept.wanting[served])).send(batch);
  }
  kept.wanting.erase(kept.wanting.begin(), kept.wanting.begin() + static_cast<std::ptrdiff_t>(served));
  if (!kept.ended || !kept.waiting.empty() || kept.told) return;
  kept.told = true;
  self.ref<Collector>(collector_name)
      .send(Listed{kept.pass, kept.next_id, kept.malformed, kept.malformed_count, kept.errors});
}

std::optional<Entry> Lister::next_entry() {
  if (kept.source.fed) {
    if (kept.waiting.empty()) return std::nullopt;
    Entry entry = std::move(kept.waiting.front());
    kept.waiting.erase(kept.waiting.begin());
    return entry;
  }
  while (auto item = next_item()) {
    if (auto* const entry = std::get_if<Entry>(&*item)) return std::move(*entry);
    note_malformed(std::move(std::get<Malformed>(*item)));
  }
  return std::nullopt;
}

/// The next item of the lists on disk. A list that cannot be read is noted and passed over.
std::optional<Item> Lister::next_item() {
  while (!kept.ended) {
    if (!reader_) {
      if (auto opened = open_lists(); !opened) {
        kept.errors.push_back(opened.error().text);
        kept.ended = true;
        return std::nullopt;
      }
    }
    auto item = reader_->next();
    kept.place = reader_->place();
    if (!item) {
      if (kept.errors.size() < malformed_shown_max) kept.errors.push_back(item.error().text);
      continue;
    }
    if (*item) return std::move(**item);
    kept.ended = true;
  }
  return std::nullopt;
}

troupe::Result<void> Lister::open_lists() {
  std::vector<std::string> files{kept.source.manifest};
  if (kept.source.manifest.empty()) {
    auto lists = dpkg_lists(root);
    if (!lists) return troupe::failure(std::move(lists));
    files = std::move(*lists);
  }
  auto reader = ManifestReader::open(std::move(files), kept.place);
  if (!reader) return troupe::failure(std::move(reader));
  reader_ = std::move(*reader);
  return {};
}

// ---- Collector ---------------------------------------------------------------------------------

void Collector::start(troupe::Self& /*self*/) {
  kept.duplicates_dropped += std::exchange(kept.duplicates_here, 0);
}

void Collector::on(const Verdicts& message, troupe::Self& self) {
  if (message.pass != kept.pass) {
    kept.doubled += message.verdicts.size();  // of a pass that was complete without them
    return;
  }
  std::uint64_t id = message.first;
  for (const Verdict verdict : message.verdicts) {
    if (!kept.seen.add(id)) ++kept.doubled;
    if (verdict == Verdict::differing) kept.differing.add(id);
    if (verdict == Verdict::missing) kept.missing.add(id);
    if (verdict == Verdict::unreadable) kept.unreadable.add(id);
    ++id;
  }
  kept.counted += message.verdicts.size();
  kept.bytes += message.bytes;
  kept.redone += message.redone;
  if (kept.done_by_hasher.size() <= message.hasher) kept.done_by_hasher.resize(message.hasher + 1);
  kept.done_by_hasher[message.hasher] += message.verdicts.size();
  answer_if_complete(self);
}

void Collector::on(const Listed& listed, troupe::Self& self) {
  if (listed.pass == kept.pass) kept.listed = listed;
  answer_if_complete(self);
}

bool Collector::is_complete() const noexcept {
  return kept.listed && kept.seen.size() >= kept.listed->entries;
}

Tally Collector::tally(troupe::Self& self) {
  kept.duplicates_here = self.duplicates_dropped();
  Tally tally{.pass = kept.pass,
              .counted = kept.seen.size(),
              .complete = is_complete(),
              .doubled = kept.doubled,
              .bytes = kept.bytes,
              .redone = kept.redone,
              .duplicates_dropped = kept.duplicates_dropped + kept.duplicates_here,
              .done_by_hasher = kept.done_by_hasher};
  if (kept.listed) tally.entries = kept.listed->entries;
  return tally;
}

Tally Collector::on(const HowFar& /*question*/, troupe::Self& self) { return tally(self); }

void Collector::on(const WhenComplete& question, troupe::Reply<Tally> reply, troupe::Self& self) {
  if (question.pass == kept.pass && !is_complete())
    waiting_.emplace(std::move(reply));
  else
    std::move(reply).send(tally(self));
}

void Collector::answer_if_complete(troupe::Self& self) {
  if (!waiting_ || !is_complete()) return;
  std::move(*waiting_).send(tally(self));
  waiting_.reset();
}

Page Collector::on(const TakePage& question) {
  const auto set = [&]() -> const IdSet& {
    switch (question.set) {
      case SetName::seen: return kept.seen;
      case SetName::differing: return kept.differing;
      case SetName::missing: return kept.missing;
      case SetName::unreadable: return kept.unreadable;
    }
    return kept.seen;
  };
  const std::vector<IdSet::Run>& runs = set().runs;
  const std::uint64_t from = std::min<std::uint64_t>(question.from, runs.size());
  const std::uint64_t count = std::min(page_runs_max, runs.size() - from);
  const auto first = runs.begin() + static_cast<std::ptrdiff_t>(from);
  return {{first, first + static_cast<std::ptrdiff_t>(count)}, from + count < runs.size()};
}

Listed Collector::on(const TakeListed& /*question*/) { return kept.listed.value_or(Listed{}); }

bool Collector::on(const NextPass& next) {
  if (next.pass != kept.pass + 1) return next.pass == kept.pass;
  kept.pass = next.pass;
  kept.seen = {};
  kept.differing = {};
  kept.missing = {};
  kept.unreadable = {};
  kept.listed.reset();
  return true;
}

}  // namespace verify
