// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <utility>
#include <variant>
#include <vector>

namespace verify {

using Digest = std::array<std::uint8_t, 16>;

/// One promise of a list: this file has this digest. The path is relative to the root, or absolute.
struct Entry {
  Digest digest{};
  std::string path{};
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// A line that promises nothing we can read. md5sum warns and goes on, and so do we.
struct Malformed {
  std::string manifest{};
  std::uint64_t line = 0;
  friend bool operator==(const Malformed&, const Malformed&) = default;
};

using Item = std::variant<Entry, Malformed>;

/// What stands between digest and name. The first untagged line of a run decides it for all that
/// follow, over all lists, as in md5sum: otherwise a name could gain or lose a leading space.
enum class Separator : std::uint8_t { undecided, two_characters, one_character };

/// A longer line is malformed, and skipped to its end in constant memory.
inline constexpr std::size_t line_bytes_max = 64 * 1024;

/// Reads one line exactly as `md5sum -c` of coreutils 9.1 does: `<hex>  name`, `<hex> *name`,
/// `<hex> name`, `MD5 (name) = <hex>`, each with blanks before it and, behind a leading backslash,
/// with `\n`, `\r` and `\\` in the name. Without its line end; nullopt means malformed.
/// A NUL ends an unescaped name; the name `-` (standard input) is malformed.
[[nodiscard]] std::optional<Entry> parse_line(std::string_view line, Separator& separator);

/// Lines that are neither an entry nor an error: empty ones, and those that begin with '#'.
[[nodiscard]] bool is_comment(std::string_view line) noexcept;

/// Where a reader stands between two lines: kept state, with which another process goes on.
struct Place {
  std::uint32_t file = 0;
  std::uint64_t offset = 0;
  std::uint64_t line = 0;  ///< lines of this file that lie behind
  Separator separator = Separator::undecided;
  friend bool operator==(const Place&, const Place&) = default;
};

/// Streams the items of lists that are regular files, in constant memory.
///
/// An Error speaks of one list, with its name and the reason; the next call goes on behind it.
/// A list that shrinks or grows meanwhile is read as far as it goes.
class ManifestReader {
 public:
  [[nodiscard]] static troupe::Result<ManifestReader> open(std::vector<std::string> files, Place from = {});
  /// The same over one list that is open already, such as spooled standard input.
  [[nodiscard]] static troupe::Result<ManifestReader> over(troupe::OwnedFd list, std::string name,
                                                           Place from = {});

  /// The next entry or malformed line; nullopt at the end of the last list.
  [[nodiscard]] troupe::Result<std::optional<Item>> next();
  /// Behind the last item returned.
  [[nodiscard]] const Place& place() const noexcept { return place_; }
  /// The last item as it was written, without its newline; empty if it was too long. Valid until `next`.
  [[nodiscard]] std::string_view text() const noexcept { return text_; }

 private:
  struct Line {
    std::string_view text{};
    bool overlong = false;
  };
  ManifestReader(std::vector<std::string> files, Place from) : files_{std::move(files)}, place_{from} {}
  [[nodiscard]] troupe::Result<void> open_current();
  [[nodiscard]] troupe::Result<std::optional<Line>> next_line();
  [[nodiscard]] troupe::Result<std::optional<Line>> skip_line();
  [[nodiscard]] Line take_line(std::size_t length, std::size_t consumed) noexcept;
  [[nodiscard]] std::optional<Item> item_of_line(Line line);
  [[nodiscard]] troupe::Result<std::size_t> fill();
  [[nodiscard]] std::string_view window() const noexcept { return {window_.data() + begin_, end_ - begin_}; }
  void consume(std::size_t count) noexcept;
  void next_file() noexcept;

  std::vector<std::string> files_;
  Place place_;
  troupe::OwnedFd fd_{};
  std::vector<char> window_{};  // bytes from place_.offset on are window_[begin_, end_)
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::string_view text_{};
};

/// What a LineSplitter remembers between two pieces: a plain value.
struct SplitterState {
  std::string tail{};  ///< an unfinished line, at most `line_bytes_max`
  std::uint64_t line = 0;
  Separator separator = Separator::undecided;
  bool skipping = false;  ///< inside a line that was too long
  friend bool operator==(const SplitterState&, const SplitterState&) = default;
};

/// The same for text that arrives in pieces, such as standard input. A splitter made from
/// another one's state goes on where that one stood.
class LineSplitter {
 public:
  explicit LineSplitter(std::string name, SplitterState state = {})
      : name_{std::move(name)}, state_{std::move(state)} {}

  [[nodiscard]] std::vector<Item> feed(std::string_view bytes);
  /// At the end of the text: the item of a last line that has no newline.
  [[nodiscard]] std::vector<Item> finish();
  [[nodiscard]] const SplitterState& state() const noexcept { return state_; }

 private:
  void add_to_tail(std::string_view piece, std::vector<Item>& items);
  void end_line(std::vector<Item>& items);

  std::string name_;
  SplitterState state_;
};

/// Debian's lists under `root` (its var/lib/dpkg/info/*.md5sums), sorted by name. Their names are relative to
/// the root.
[[nodiscard]] troupe::Result<std::vector<std::string>> dpkg_lists(const std::string& root);

/// A failed system call as an Error of the shape "what: why; try …".
[[nodiscard]] troupe::Error system_error(std::string what, int errnum, std::string_view attempt = {});

}  // namespace verify
