// SPDX-License-Identifier: MIT
#include "manifest.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>

namespace verify {
namespace {

using troupe::ErrorKind;
using troupe::failure;
using troupe::OwnedFd;
using troupe::Result;

constexpr std::size_t hex_characters = 2 * Digest{}.size();
constexpr std::size_t window_bytes = 2 * line_bytes_max;

// md5sum works on C strings: behind the last character stands a NUL.
char at(std::string_view text, std::size_t i) noexcept { return i < text.size() ? text[i] : '\0'; }

bool is_blank(char c) noexcept { return c == ' ' || c == '\t'; }

std::size_t skip_blanks(std::string_view text, std::size_t i) noexcept {
  while (is_blank(at(text, i))) ++i;
  return i;
}

std::optional<unsigned> hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

std::optional<Digest> digest_at(std::string_view text, std::size_t start) noexcept {
  Digest digest{};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const auto high = hex_value(at(text, start + 2 * i));
    const auto low = hex_value(at(text, start + 2 * i + 1));
    if (!high || !low) return std::nullopt;
    digest[i] = static_cast<std::uint8_t>(*high << 4U | *low);
  }
  return digest;
}

std::optional<std::string> unescaped(std::string_view name) {
  std::string plain;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '\0') return std::nullopt;
    if (name[i] != '\\') {
      plain += name[i];
      continue;
    }
    switch (at(name, ++i)) {
      case 'n': plain += '\n'; break;
      case 'r': plain += '\r'; break;
      case '\\': plain += '\\'; break;
      default: return std::nullopt;
    }
  }
  return plain;
}

std::optional<std::string> read_name(std::string_view name, bool escaped) {
  return escaped ? unescaped(name) : std::string{name.substr(0, name.find('\0'))};
}

std::optional<Entry> entry_of(std::optional<Digest> digest, std::optional<std::string> name) {
  if (!digest || !name || *name == "-") return std::nullopt;
  return Entry{*digest, *std::move(name)};
}

// What follows "MD5 (": `name) = hex`. The last parenthesis closes the name.
std::optional<Entry> parse_tagged(std::string_view text, bool escaped) {
  const auto close = text.rfind(')');
  if (close == std::string_view::npos) return std::nullopt;
  const auto equals = skip_blanks(text, close + 1);
  if (at(text, equals) != '=') return std::nullopt;
  const auto hex = skip_blanks(text, equals + 1);
  if (at(text, hex + hex_characters) != '\0') return std::nullopt;
  return entry_of(digest_at(text, hex), read_name(text.substr(0, close), escaped));
}

std::optional<Entry> parse_plain(std::string_view text, bool escaped, Separator& separator) {
  if (text.size() < hex_characters + 2) return std::nullopt;
  const auto digest = digest_at(text, 0);
  if (!digest || !is_blank(text[hex_characters])) return std::nullopt;
  auto rest = text.substr(hex_characters + 1);
  if (rest.size() == 1 || (rest[0] != ' ' && rest[0] != '*')) {
    if (separator == Separator::two_characters) return std::nullopt;
    separator = Separator::one_character;
  } else if (separator != Separator::one_character) {
    separator = Separator::two_characters;
    rest.remove_prefix(1);
  }
  return entry_of(digest, read_name(rest, escaped));
}

std::string_view without_carriage_return(std::string_view line) noexcept {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

Item item_of(std::string_view line, Separator& separator, const std::string& name, std::uint64_t number) {
  if (auto entry = parse_line(without_carriage_return(line), separator)) return *std::move(entry);
  return Malformed{name, number};
}

}  // namespace

std::optional<Entry> parse_line(std::string_view line, Separator& separator) {
  constexpr std::string_view tag = "MD5";
  auto start = skip_blanks(line, 0);
  const bool escaped = at(line, start) == '\\';
  if (escaped) ++start;
  const auto text = line.substr(start);
  if (!text.starts_with(tag)) return parse_plain(text, escaped, separator);
  const auto open = tag.size() + (at(text, tag.size()) == ' ' ? 1 : 0);
  if (at(text, open) != '(') return std::nullopt;
  return parse_tagged(text.substr(open + 1), escaped);
}

bool is_comment(std::string_view line) noexcept {
  return line.starts_with('#') || without_carriage_return(line).empty();
}

Result<ManifestReader> ManifestReader::open(std::vector<std::string> files, Place from) {
  ManifestReader reader{std::move(files), from};
  if (reader.place_.file < reader.files_.size()) {
    if (auto opened = reader.open_current(); !opened) return failure(std::move(opened));
  }
  return reader;
}

Result<ManifestReader> ManifestReader::over(OwnedFd list, std::string name, Place from) {
  ManifestReader reader{{std::move(name)}, from};
  reader.fd_ = std::move(list);
  return reader;
}

Result<std::optional<Item>> ManifestReader::next() {
  while (place_.file < files_.size()) {
    if (!fd_) {
      if (auto opened = open_current(); !opened) {
        next_file();
        return failure(std::move(opened));
      }
    }
    const auto line = next_line();
    if (!line) {
      next_file();
      return tl::unexpected{line.error()};
    }
    if (!*line) {
      next_file();
    } else if (auto item = item_of_line(**line)) {
      return item;
    }
  }
  return std::optional<Item>{};
}

std::optional<Item> ManifestReader::item_of_line(Line line) {
  const auto& name = files_[place_.file];
  text_ = line.overlong ? std::string_view{} : line.text;
  if (line.overlong && !line.text.starts_with('#')) return Malformed{name, place_.line};
  if (is_comment(line.text)) return std::nullopt;
  return item_of(line.text, place_.separator, name, place_.line);
}

Result<void> ManifestReader::open_current() {
  const auto& name = files_[place_.file];
  // Not to wait for the writer of a pipe that happens to stand here.
  OwnedFd fd{::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (!fd) return tl::unexpected{system_error(name, errno, "a list that this user may read")};
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return tl::unexpected{system_error(name, errno)};
  if (S_ISDIR(status.st_mode)) {
    return failure(ErrorKind::invalid, name + ": is a folder, not a list; try a file in md5sum's format");
  }
  if (!S_ISREG(status.st_mode)) {
    return failure(ErrorKind::invalid, name + ": is not a regular file; try --manifest - < " + name);
  }
  fd_ = std::move(fd);
  return {};
}

// The next line of the current list, with the place set behind it; nullopt at the list's end.
Result<std::optional<ManifestReader::Line>> ManifestReader::next_line() {
  std::size_t searched = 0;
  for (;;) {
    const auto ahead = window();
    const auto newline = ahead.find('\n', searched);
    if (newline != std::string_view::npos) return take_line(newline, newline + 1);
    if (ahead.size() > line_bytes_max) return skip_line();
    searched = ahead.size();
    const auto got = fill();
    if (!got) return tl::unexpected{got.error()};
    if (*got == 0) {
      if (ahead.empty()) return std::optional<Line>{};
      return take_line(searched, searched);
    }
  }
}

ManifestReader::Line ManifestReader::take_line(std::size_t length, std::size_t consumed) noexcept {
  const Line line{window().substr(0, length), length > line_bytes_max};
  consume(consumed);
  ++place_.line;
  return line;
}

// Passes over a line that does not fit the window. Only whether it is a comment is kept of it.
Result<std::optional<ManifestReader::Line>> ManifestReader::skip_line() {
  const bool comment = is_comment(window());
  for (;;) {
    const auto newline = window().find('\n');
    if (newline != std::string_view::npos) {
      consume(newline + 1);
      break;
    }
    consume(window().size());
    const auto got = fill();
    if (!got) return tl::unexpected{got.error()};
    if (*got == 0) break;
  }
  ++place_.line;
  return Line{comment ? "#" : "", true};
}

void ManifestReader::consume(std::size_t count) noexcept {
  begin_ += count;
  place_.offset += count;
}

// Reads more behind the window; 0 at the list's end.
Result<std::size_t> ManifestReader::fill() {
  window_.resize(window_bytes);
  std::copy(window_.data() + begin_, window_.data() + end_, window_.data());
  end_ -= std::exchange(begin_, 0);
  for (;;) {
    const auto got = ::pread(fd_.get(), window_.data() + end_, window_.size() - end_,
                             static_cast<off_t>(place_.offset + end_));
    if (got >= 0) {
      end_ += static_cast<std::size_t>(got);
      return static_cast<std::size_t>(got);
    }
    if (errno != EINTR) return tl::unexpected{system_error(files_[place_.file], errno)};
  }
}

void ManifestReader::next_file() noexcept {
  fd_.reset();
  begin_ = end_ = 0;
  place_ = {.file = place_.file + 1, .separator = place_.separator};
}

std::vector<Item> LineSplitter::feed(std::string_view bytes) {
  std::vector<Item> items;
  while (!bytes.empty()) {
    const auto newline = bytes.find('\n');
    add_to_tail(bytes.substr(0, newline), items);
    if (newline == std::string_view::npos) break;
    end_line(items);
    bytes.remove_prefix(newline + 1);
  }
  return items;
}

std::vector<Item> LineSplitter::finish() {
  std::vector<Item> items;
  if (state_.skipping || !state_.tail.empty()) end_line(items);
  return items;
}

void LineSplitter::add_to_tail(std::string_view piece, std::vector<Item>& items) {
  if (state_.skipping) return;
  if (state_.tail.size() + piece.size() <= line_bytes_max) {
    state_.tail += piece;
    return;
  }
  state_.skipping = true;
  if (!is_comment(state_.tail.empty() ? piece : state_.tail))
    items.emplace_back(Malformed{name_, state_.line + 1});
  state_.tail.clear();
}

void LineSplitter::end_line(std::vector<Item>& items) {
  ++state_.line;
  if (!state_.skipping && !is_comment(state_.tail)) {
    items.push_back(item_of(state_.tail, state_.separator, name_, state_.line));
  }
  state_.skipping = false;
  state_.tail.clear();
}

Result<std::vector<std::string>> dpkg_lists(const std::string& root) {
  const auto folder = root + (root.ends_with('/') ? "" : "/") + "var/lib/dpkg/info";
  constexpr std::string_view attempt = "another --root, or --manifest FILE";
  const std::unique_ptr<DIR, int (*)(DIR*)> open{::opendir(folder.c_str()), ::closedir};
  if (!open) return tl::unexpected{system_error(folder, errno, attempt)};
  std::vector<std::string> lists;
  while (const dirent* file = ::readdir(open.get())) {
    const std::string_view name = file->d_name;
    if (name.ends_with(".md5sums")) lists.push_back(folder + "/" + std::string{name});
  }
  if (lists.empty()) {
    return failure(ErrorKind::invalid, folder + ": holds no *.md5sums lists; try " + std::string{attempt});
  }
  std::sort(lists.begin(), lists.end());
  return lists;
}

troupe::Error system_error(std::string what, int errnum, std::string_view attempt) {
  auto text = std::move(what) + ": " + std::generic_category().message(errnum);
  if (!attempt.empty()) text.append("; try ").append(attempt);
  return {ErrorKind::system, errnum, std::move(text)};
}

}  // namespace verify
