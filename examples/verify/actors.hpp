// SPDX-License-Identifier: MIT
#pragma once
// The three kinds of actor: one lister reads the list, hashers check files, one collector counts.
//
// Work is pulled: a hasher has a few Wants under way and the lister answers each with a Batch, so nobody is
// ever sent more than it can take. Every actor keeps its state with Troupe: a death costs at most 4 MiB of
// one file.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <troupe/troupe.hpp>
#include <vector>

#include "id_set.hpp"
#include "manifest.hpp"
#include "md5.hpp"

namespace verify {

inline constexpr std::size_t batch_entries_max = 16;
inline constexpr std::size_t batch_path_bytes_max = 4 * 1024;  ///< of all paths but the first
inline constexpr std::uint32_t batches_under_way = 2;          ///< of one hasher: one in hand, one waiting
inline constexpr std::uint64_t commit_bytes = 4 * 1024 * 1024;
inline constexpr std::size_t malformed_shown_max = 100;  ///< the rest are counted

[[nodiscard]] std::string hasher_name(std::uint32_t number);

// ---- messages ----------------------------------------------------------------------------------

/// Entries of one pass, numbered from `first`.
struct Batch {
  std::uint32_t pass = 0;
  std::uint64_t first = 0;
  std::vector<Entry> entries{};
};

/// A hasher has room for one more batch.
struct Want {
  std::uint32_t hasher = 0;
};

struct Verdicts {
  std::uint32_t pass = 0;
  std::uint64_t first = 0;
  std::vector<Verdict> verdicts{};
  std::uint64_t bytes = 0;
  std::uint32_t redone = 0;
  std::uint32_t hasher = 0;
};

/// The list of this pass has ended: so many entries, and what could not be read of it.
struct Listed {
  std::uint32_t pass = 0;
  std::uint64_t entries = 0;
  std::vector<Malformed> malformed{};
  std::uint64_t malformed_count = 0;
  std::vector<std::string> errors{};
};

/// Where a pass takes its entries from.
struct Source {
  bool fed = false;        ///< from Feed messages
  std::string manifest{};  ///< else from this file, or from dpkg's lists if it is empty
};

/// Program → lister: begin a pass. Said again, it changes nothing.
struct Begin {
  using reply = bool;
  std::uint32_t pass = 0;
  std::uint32_t hashers = 0;
  Source source{};
};

/// Program → lister: the next piece of standard input. Said again, it changes nothing; the answer tells what
/// comes next.
struct Fed {
  std::uint64_t next = 0;  ///< number of the piece that is expected
  bool has_room = false;
};
struct Feed {
  using reply = Fed;
  std::uint64_t number = 0;
  std::string text{};
  bool last = false;
};

/// What the collector has counted of its present pass.
struct Tally {
  std::uint32_t pass = 0;
  std::uint64_t counted = 0;
  bool complete = false;
  std::optional<std::uint64_t> entries{};
  std::uint64_t doubled =
      0;  ///< ids that were counted more than once: 0, unless the library breaks its promise
  std::uint64_t bytes = 0;
  std::uint64_t redone = 0;
  std::uint64_t duplicates_dropped = 0;
  std::vector<std::uint64_t> done_by_hasher{};
};
/// Program → collector: tell me now. / Tell me when the pass is complete.
struct HowFar {
  using reply = Tally;
};
struct WhenComplete {
  using reply = Tally;
  std::uint32_t pass = 0;
};
/// Program → collector: a page of one set of ids of the present pass.
enum class SetName : std::uint8_t { seen, differing, missing, unreadable };
struct Page {
  std::vector<IdSet::Run> runs{};
  bool more = false;
};
struct TakePage {
  using reply = Page;
  SetName set = SetName::seen;
  std::uint64_t from = 0;  ///< index of the first run
};
/// Program → collector: what the lister said at the end of the present pass.
struct TakeListed {
  using reply = Listed;
};
/// Program → collector: forget the present pass, and count the next one. Said again, it changes nothing.
struct NextPass {
  using reply = bool;
  std::uint32_t pass = 0;
};

// ---- actors ------------------------------------------------------------------------------------

struct Hasher {
  using accepts = troupe::messages<Batch>;

  std::string root{};
  std::uint32_t number = 0;
  struct Kept {              ///< the batch in hand
    std::uint32_t pass = 0;  ///< 0: none
    std::uint64_t first = 0;
    std::vector<Verdict> verdicts{};
    Checkpoint checkpoint{};
    std::uint64_t bytes = 0;
    std::uint32_t redone = 0;
  } kept{};

  void on(const Batch& batch, troupe::Self& self);

 private:
  Verdict check(const Entry& entry, troupe::Self& self);
  std::optional<FileCheck> files_{};

 public:
  Hasher() = default;
  Hasher(std::string root_folder, std::uint32_t own_number)
      : root{std::move(root_folder)}, number{own_number} {}
};

struct Lister {
  using accepts = troupe::messages<Begin, Want, Feed>;

  std::string root{};
  struct Kept {
    std::uint32_t pass = 0;
    std::uint32_t hashers = 0;
    Source source{};
    Place place{};
    SplitterState splitter{};
    std::vector<Entry> waiting{};  ///< read ahead: the end of a piece of standard input
    std::uint64_t next_piece = 0;
    bool ended = false;  ///< the list is read
    bool told = false;   ///< and the collector knows
    std::uint64_t next_id = 0;
    std::vector<std::uint32_t> wanting{};  ///< hashers that could not be served yet, in order
    std::vector<Malformed> malformed{};
    std::uint64_t malformed_count = 0;
    std::vector<std::string> errors{};
  } kept{};

  explicit Lister(std::string root_folder) : root{std::move(root_folder)} {}
  bool on(const Begin& begin, troupe::Self& self);
  void on(const Want& want, troupe::Self& self);
  Fed on(const Feed& feed, troupe::Self& self);

 private:
  static constexpr std::size_t waiting_max = 1024;
  void serve(troupe::Self& self);
  std::optional<Entry> next_entry();
  std::optional<Item> next_item();
  troupe::Result<void> open_lists();
  void note_malformed(Malformed malformed);
  void take_items(std::vector<Item> items);
  std::optional<ManifestReader> reader_{};
};

struct Collector {
  using accepts = troupe::messages<Verdicts, Listed, HowFar, WhenComplete, TakePage, TakeListed, NextPass>;

  struct Kept {
    std::uint32_t pass = 1;
    IdSet seen{};
    IdSet differing{};
    IdSet missing{};
    IdSet unreadable{};
    std::uint64_t doubled = 0;
    std::uint64_t counted = 0;
    std::uint64_t bytes = 0;
    std::uint64_t redone = 0;
    std::uint64_t duplicates_dropped = 0;  ///< by incarnations before the present one
    std::uint64_t duplicates_here = 0;     ///< by the incarnation that saved this
    std::vector<std::uint64_t> done_by_hasher{};
    std::optional<Listed> listed{};
  } kept{};

  void start(troupe::Self& self);
  void on(const Verdicts& verdicts, troupe::Self& self);
  void on(const Listed& listed, troupe::Self& self);
  Tally on(const HowFar& question, troupe::Self& self);
  void on(const WhenComplete& question, troupe::Reply<Tally> reply, troupe::Self& self);
  Page on(const TakePage& question);
  Listed on(const TakeListed& question);
  bool on(const NextPass& next);

 private:
  static constexpr std::uint64_t page_runs_max = 16 * 1024;
  [[nodiscard]] bool is_complete() const noexcept;
  Tally tally(troupe::Self& self);
  void answer_if_complete(troupe::Self& self);
  std::optional<troupe::Reply<Tally>> waiting_{};
};

}  // namespace verify
