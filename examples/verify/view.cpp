// SPDX-License-Identifier: MIT
#include "view.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <tuple>
#include <utility>

namespace verify {
namespace {

constexpr std::size_t columns_default = 80;
constexpr std::size_t rows_default = 24;

constexpr std::string_view red = "\x1b[31m";
constexpr std::string_view green = "\x1b[32m";
constexpr std::string_view bold = "\x1b[1m";
constexpr std::string_view plain = "\x1b[0m";

template <class... Arguments>
std::string formatted(const char* format, Arguments... arguments) {
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), format, arguments...);
  return text.data();
}

// Of a character that utf8_length has found well-formed.
char32_t code_point(std::string_view character) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  switch (character.size()) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1fU) << 6U | (byte(1) & 0x3fU);
    case 3: return (byte(0) & 0x0fU) << 12U | (byte(1) & 0x3fU) << 6U | (byte(2) & 0x3fU);
    default:
      return (byte(0) & 0x07U) << 18U | (byte(1) & 0x3fU) << 12U | (byte(2) & 0x3fU) << 6U |
             (byte(3) & 0x3fU);
  }
}

// Characters that move the cursor, turn the direction of writing, or are not seen at all.
bool is_hidden(char32_t c) noexcept {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
         (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
         c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

std::size_t columns_of_character(std::string_view character) noexcept {
  const auto c = code_point(character);
  const bool narrow = c < 0x1100 || (c >= 0x1e00 && c < 0x2300) || (c >= 0x2500 && c < 0x2600);
  return narrow ? 1 : 2;
}

// The character at the front, or one byte of what is none.
std::string_view first_character(std::string_view text) noexcept {
  return text.substr(0, std::max<std::size_t>(1, utf8_length(text)));
}

std::string clipped(std::string_view text, std::size_t columns) {
  std::size_t used = 0;
  std::size_t length = 0;
  while (length < text.size()) {
    const auto character = first_character(text.substr(length));
    used += columns_of_character(character);
    if (used > columns) break;
    length += character.size();
  }
  return std::string{text.substr(0, length)};
}

// A path's end says more than its beginning.
std::string clipped_front(std::string_view text, std::size_t columns) {
  constexpr std::string_view dots = "...";
  if (columns_of(text) <= columns) return std::string{text};
  if (columns <= dots.size()) return clipped(text, columns);
  auto left = columns_of(text);
  while (left > columns - dots.size()) {
    const auto character = first_character(text);
    left -= columns_of_character(character);
    text.remove_prefix(character.size());
  }
  return std::string{dots} + std::string{text};
}

std::string padded(std::string text, std::size_t columns) {
  const auto used = columns_of(text);
  if (used < columns) text.append(columns - used, ' ');
  return text;
}

std::string coloured(std::string text, std::string_view sequence, Colour colour) {
  if (colour == Colour::no || text.empty()) return text;
  return std::string{sequence} + std::move(text) + std::string{plain};
}

std::string clock_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds >= 360'000) return "?";
  const auto whole = std::lround(std::ceil(seconds));
  if (whole < 3600) return formatted("%ld:%02ld", whole / 60, whole % 60);
  return formatted("%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

double share_done(const Snapshot& snapshot) noexcept {
  if (!snapshot.files_total) return 0;
  if (*snapshot.files_total == 0) return 1;
  const auto share = static_cast<double>(snapshot.files_done) / static_cast<double>(*snapshot.files_total);
  return std::min(1.0, share);
}

std::string eta_text(const Snapshot& snapshot) {
  if (!snapshot.files_total || snapshot.files_per_second <= 0) return "?";
  const auto left = *snapshot.files_total - std::min(snapshot.files_done, *snapshot.files_total);
  return clock_text(static_cast<double>(left) / snapshot.files_per_second);
}

std::string percent_text(const Snapshot& snapshot) {
  return snapshot.files_total ? formatted("%3d %%", static_cast<int>(share_done(snapshot) * 100)) : "  ? %";
}

std::string rate_text(double per_second) {
  return std::isfinite(per_second) && per_second > 0
             ? grouped(static_cast<std::uint64_t>(std::min(per_second, 1e15)))
             : "0";
}

std::string counters_text(const Snapshot& snapshot) {
  auto text = rate_text(snapshot.files_per_second) + " files/s  " +
              rate_text(snapshot.bytes_per_second / 1e6) + " MB/s  eta " + eta_text(snapshot) + "  redone " +
              grouped(snapshot.redone) + "  deaths " + grouped(snapshot.deaths);
  if (snapshot.pass > 1) text += "  pass " + grouped(snapshot.pass);
  return text;
}

std::string bar_line(const Snapshot& snapshot, std::size_t columns, Colour colour) {
  constexpr std::size_t narrowest = 4;
  constexpr std::size_t widest = 30;
  const auto behind = " " + percent_text(snapshot) + "  " + counters_text(snapshot);
  const auto taken = behind.size() + 2;
  const auto width = std::clamp(columns > taken ? columns - taken : 0, narrowest, widest);
  const auto filled = static_cast<std::size_t>(share_done(snapshot) * static_cast<double>(width));
  const auto bar = "[" + std::string(filled, '#') + std::string(width - filled, '-') + "]";
  const auto line = clipped(bar + behind, columns);
  const auto shown = std::min(bar.size(), line.size());
  return coloured(line.substr(0, shown), green, colour) + line.substr(shown);
}

std::string row_line(const Row& row, std::size_t role_columns, std::size_t columns, Colour colour) {
  const auto life = (columns >= 100 ? "incarnation " : "#") + std::to_string(row.incarnation);
  auto head =
      clipped(padded(printable(row.role), role_columns) + "  pid " +
                  padded(row.pid > 0 ? std::to_string(row.pid) : "-", 7) + "  " +
                  padded(life, columns >= 100 ? 15 : 4) + "  " + padded(grouped(row.done) + " done", 13),
              columns);
  const auto used = columns_of(head) + 2;
  if (used >= columns) return head;
  if (row.just_died)
    return head + "  " + coloured(clipped("died: " + printable(row.death), columns - used), red, colour);
  auto line = head + "  " + clipped_front(printable(row.in_hand), columns - used);
  const auto last = "  (last death: " + printable(row.death) + ")";
  if (!row.death.empty() && columns_of(line) + columns_of(last) <= columns) line += last;
  return line;
}

// Which rows to show when there are too many: all that are no hasher, then the hashers that have
// just died, then the busiest; in their own order.
std::vector<const Row*> chosen_rows(const std::vector<Row>& rows) {
  std::vector<const Row*> chosen;
  chosen.reserve(rows.size());
  for (const auto& row : rows) chosen.push_back(&row);
  if (rows.size() <= rows_max) return chosen;
  const auto rank = [](const Row* row) {
    return std::tuple{!row->is_hasher, row->just_died, !row->in_hand.empty(), row->done};
  };
  std::stable_sort(chosen.begin(), chosen.end(),
                   [&](const Row* a, const Row* b) { return rank(a) > rank(b); });
  chosen.resize(rows_max - 1);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

// A hasher's pid if one lives: killing it shows most.
int pid_to_try(const std::vector<const Row*>& rows) noexcept {
  int pid = 0;
  for (const auto* row : rows) {
    if (!row->is_hasher || row->pid == 0) continue;
    if (!row->just_died) return row->pid;
    pid = row->pid;  // better than none
  }
  return pid;
}

std::size_t ioctl_columns(int fd, std::size_t& rows) noexcept {
  winsize size{};
  const bool known = ::ioctl(fd, TIOCGWINSZ, &size) == 0;
  rows = known && size.ws_row > 0 ? size.ws_row : rows_default;
  return known && size.ws_col > 0 ? size.ws_col : columns_default;
}

void write_all(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const auto written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string_view environment(const char* name) noexcept {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view{} : value;
}

}  // namespace

std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const unsigned first = byte(0);
  if (text.empty()) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first < 0xf0) {
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) >= 0xa0;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first < 0xf5) {
    const bool overlong = first == 0xf0 && byte(1) < 0x90;
    const bool too_large = first == 0xf4 && byte(1) >= 0x90;
    return follows(1) && follows(2) && follows(3) && !overlong && !too_large ? 4 : 0;
  }
  return 0;
}

std::string printable(std::string_view text) {
  std::string safe;
  while (!text.empty()) {
    const auto character = first_character(text);
    if (utf8_length(text) == 0 || is_hidden(code_point(character))) {
      for (const char c : character)
        safe += formatted("\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      safe += character;
    }
    text.remove_prefix(character.size());
  }
  return safe;
}

std::size_t columns_of(std::string_view text) noexcept {
  std::size_t columns = 0;
  while (!text.empty()) {
    const auto character = first_character(text);
    columns += columns_of_character(character);
    text.remove_prefix(character.size());
  }
  return columns;
}

std::string grouped(std::uint64_t number) {
  auto text = std::to_string(number);
  for (auto i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
  return text;
}

std::string bytes_text(double bytes) {
  constexpr std::array units{"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < units.size()) {
    bytes /= 1000;
    ++unit;
  }
  return formatted(unit == 0 || bytes >= 99.95 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

std::vector<std::string> render(const Snapshot& snapshot, std::size_t columns, Colour colour) {
  const auto rows = chosen_rows(snapshot.rows);
  std::size_t role_columns = 0;
  for (const auto* row : rows) role_columns = std::max(role_columns, columns_of(printable(row->role)));
  std::vector<std::string> lines;
  lines.reserve(rows.size() + 3);
  for (const auto* row : rows) lines.push_back(row_line(*row, role_columns, columns, colour));
  if (const auto more = snapshot.rows.size() - rows.size(); more > 0) {
    lines.push_back(clipped("... and " + grouped(more) + " more hashers", columns));
  }
  lines.push_back(bar_line(snapshot, columns, colour));
  const int pid = pid_to_try(rows);
  const auto attempt = pid > 0 ? "try: kill -9 " + std::to_string(pid) : std::string{};
  lines.push_back(coloured(clipped(attempt, columns), bold, colour));
  return lines;
}

std::string plain_line(const Snapshot& snapshot) {
  auto files = grouped(snapshot.files_done);
  if (snapshot.files_total) files += "/" + grouped(*snapshot.files_total);
  return percent_text(snapshot) + "  " + files + " files  " + counters_text(snapshot);
}

ViewMode view_mode(int fd, bool quiet) {
  if (quiet) return ViewMode::silent;
  const auto terminal = environment("TERM");
  return ::isatty(fd) == 1 && !terminal.empty() && terminal != "dumb" ? ViewMode::live : ViewMode::lines;
}

Colour view_colour() { return environment("NO_COLOR").empty() ? Colour::yes : Colour::no; }

void TerminalView::draw(const Snapshot& snapshot) {
  switch (mode_) {
    case ViewMode::silent: return;
    case ViewMode::live: return draw_live(snapshot);
    case ViewMode::lines:
      if (snapshot.elapsed < next_line_) return;
      next_line_ = snapshot.elapsed + line_every;
      write_all(fd_, plain_line(snapshot) + "\n");
      return;
  }
  std::abort();
}

void TerminalView::finish() {
  if (drawn_.empty()) return;
  std::size_t rows = 0;
  write_all(fd_, back_to_top(ioctl_columns(fd_, rows)) + "\x1b[J");
  drawn_.clear();
}

void TerminalView::draw_live(const Snapshot& snapshot) {
  std::size_t rows = 0;
  const auto columns = ioctl_columns(fd_, rows);
  // The last column stays free: a full line would wrap on some terminals.
  auto lines = render(snapshot, columns - 1, colour_);
  const auto widths = render(snapshot, columns - 1, Colour::no);
  if (lines.size() >= rows) lines.resize(rows - 1);
  auto frame = back_to_top(columns);
  drawn_.clear();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    frame += lines[i] + "\x1b[K\n";
    drawn_.push_back(columns_of(widths[i]));
  }
  write_all(fd_, frame + "\x1b[J");
}

// Lines that were drawn on a wider terminal take several of its rows now.
std::string TerminalView::back_to_top(std::size_t columns) const {
  std::size_t rows = 0;
  for (const auto width : drawn_) rows += std::max<std::size_t>(1, (width + columns - 1) / columns);
  return rows == 0 ? std::string{} : "\r\x1b[" + std::to_string(rows) + "A";
}

}  // namespace verify
