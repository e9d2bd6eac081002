// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace verify {

/// Text that is safe on a terminal: control, direction and invisible characters and invalid UTF-8
/// as `\xNN`, all else as it is.
[[nodiscard]] std::string printable(std::string_view text);
/// How many bytes the well-formed UTF-8 character at the front takes; 0 if there is none.
[[nodiscard]] std::size_t utf8_length(std::string_view text) noexcept;
/// An upper bound of the columns that printable text takes: exact for Latin, wide for what may be wide.
[[nodiscard]] std::size_t columns_of(std::string_view text) noexcept;
/// 1,234,567
[[nodiscard]] std::string grouped(std::uint64_t number);
/// 12 B, 3.4 kB, 5.6 GB
[[nodiscard]] std::string bytes_text(double bytes);

/// One process.
struct Row {
  std::string role{};
  int pid = 0;  ///< 0: none lives at the moment
  std::uint64_t incarnation = 0;
  std::string in_hand{};  ///< the path it works on
  std::uint64_t done = 0;
  std::string death{};     ///< the last one's cause; empty: none yet
  bool just_died = false;  ///< the death is shown in place of the file
  bool is_hasher = false;
};

/// All that a picture of the job needs.
struct Snapshot {
  std::vector<Row> rows{};
  std::uint64_t files_done = 0;  ///< of this pass
  std::optional<std::uint64_t> files_total{};
  std::chrono::nanoseconds elapsed{};
  double files_per_second = 0;
  double bytes_per_second = 0;
  std::uint64_t redone = 0;
  std::uint64_t deaths = 0;
  std::uint64_t pass = 1;
};

enum class Colour : bool { no, yes };

/// More processes than this are summed up as "... and 12 more hashers".
inline constexpr std::size_t rows_max = 6;

/// The picture, line by line without newlines: a line a process, the bar, what to try. No line is
/// wider than `columns`, and none holds a control byte other than our colour sequences.
[[nodiscard]] std::vector<std::string> render(const Snapshot& snapshot, std::size_t columns, Colour colour);

/// The same in one line, for where nothing can be drawn.
[[nodiscard]] std::string plain_line(const Snapshot& snapshot);

enum class ViewMode : std::uint8_t { silent, lines, live };

/// `live` on a terminal that can draw, else `lines`; `silent` if asked for.
[[nodiscard]] ViewMode view_mode(int fd, bool quiet);
/// Unless NO_COLOR is set to something.
[[nodiscard]] Colour view_colour();

/// Draws snapshots in place, or prints a line every `line_every`. Borrows `fd`. The cursor stays
/// visible and no terminal mode is changed, so a process killed in mid-draw leaves nothing behind.
/// What cannot be written is dropped.
class TerminalView {
 public:
  static constexpr std::chrono::seconds line_every{3};

  TerminalView(int fd, ViewMode mode, Colour colour) noexcept : fd_{fd}, mode_{mode}, colour_{colour} {}
  TerminalView(const TerminalView&) = delete;
  TerminalView& operator=(const TerminalView&) = delete;
  ~TerminalView() { finish(); }

  void draw(const Snapshot& snapshot);
  /// Wipes the picture; the next output stands where it stood.
  void finish();

 private:
  void draw_live(const Snapshot& snapshot);
  [[nodiscard]] std::string back_to_top(std::size_t columns) const;

  int fd_;
  ViewMode mode_;
  Colour colour_;
  std::vector<std::size_t> drawn_{};  // the widths of the lines on the terminal
  std::chrono::nanoseconds next_line_{line_every};
};

}  // namespace verify
