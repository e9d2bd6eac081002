// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace troupe::test {

/// One value of JSON: null, true or false, a number, a string of bytes, an array, an object.
struct Json {
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json>;
  std::variant<std::nullptr_t, bool, double, std::string, Array, Object> value{nullptr};

  /// Each throws if the value is of another kind, or the object has no such key.
  [[nodiscard]] const std::string& text() const { return std::get<std::string>(value); }
  [[nodiscard]] double number() const { return std::get<double>(value); }
  [[nodiscard]] const Array& array() const { return std::get<Array>(value); }
  [[nodiscard]] const Object& object() const { return std::get<Object>(value); }
  [[nodiscard]] const Json& operator[](const std::string& key) const { return object().at(key); }
  [[nodiscard]] std::uint64_t whole() const {
    const auto whole = static_cast<std::uint64_t>(number());
    if (static_cast<double>(whole) != number()) throw std::runtime_error{"not a whole number"};
    return whole;
  }
};

/// Reads one JSON text as RFC 8259 has it and refuses whatever that does not allow: a key twice, a bare
/// control character, bytes that are not UTF-8, a comma too many, anything behind the value but white space.
///
/// \udcNN with NN from 80 to ff is the byte NN, as Python's surrogateescape has it; no other lone surrogate
/// is taken.
class JsonReader {
 public:
  [[nodiscard]] static Json read(std::string_view text) {
    JsonReader reader{text};
    Json value = reader.value();
    reader.skip_blanks();
    if (reader.at_ != text.size()) reader.refuse("something behind the value");
    return value;
  }

 private:
  explicit JsonReader(std::string_view text) : text_{text} {}

  [[noreturn]] void refuse(const std::string& why) const {
    const auto from = at_ < 40 ? 0 : at_ - 40;
    throw std::runtime_error{"JSON, byte " + std::to_string(at_) + ": " + why +
                             ", near: " + std::string{text_.substr(from, 80)}};
  }
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  char take() {
    if (at_ == text_.size()) refuse("the end");
    return text_[at_++];
  }
  void expect(char wanted) {
    if (take() != wanted) refuse(std::string{"no "} + wanted);
  }
  void skip_blanks() {
    while (at_ < text_.size() && std::string_view{" \t\r\n"}.find(text_[at_]) != std::string_view::npos)
      ++at_;
  }
  bool skip(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  Json value() {
    skip_blanks();
    switch (peek()) {
      case '{': return {object()};
      case '[': return {array()};
      case '"': return {string()};
      default: break;
    }
    if (skip("null")) return {nullptr};
    if (skip("true")) return {true};
    if (skip("false")) return {false};
    return {number()};
  }

  Json::Object object() {
    Json::Object members;
    expect('{');
    skip_blanks();
    if (skip("}")) return members;
    do {
      skip_blanks();
      auto key = string();
      skip_blanks();
      expect(':');
      if (!members.emplace(key, value()).second) refuse("the key " + key + " twice");
      skip_blanks();
    } while (skip(","));
    expect('}');
    return members;
  }

  Json::Array array() {
    Json::Array elements;
    expect('[');
    skip_blanks();
    if (skip("]")) return elements;
    do {
      elements.push_back(value());
      skip_blanks();
    } while (skip(","));
    expect(']');
    return elements;
  }

  double number() {
    const auto start = at_;
    skip("-");
    if (!skip("0")) digits();
    if (skip(".")) digits();
    if (skip("e") || skip("E")) {
      if (!skip("+")) skip("-");
      digits();
    }
    double number = 0;
    std::from_chars(text_.data() + start, text_.data() + at_, number);
    return number;
  }
  void digits() {
    if (!is_digit(peek())) refuse("no digit");
    while (is_digit(peek())) ++at_;
  }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  std::string string() {
    std::string text;
    expect('"');
    for (char c = take(); c != '"'; c = take()) {
      if (c == '\\') {
        text += escaped();
      } else if (static_cast<unsigned char>(c) < 0x20) {
        refuse("a bare control character");
      } else {
        --at_;
        text += character();
      }
    }
    return text;
  }

  std::string escaped() {
    constexpr std::string_view names = "\"\\/bfnrt";
    constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
    const char c = take();
    if (const auto at = names.find(c); at != std::string_view::npos) return {meanings[at]};
    if (c != 'u') refuse("an escape that is none");
    const auto unit = hex4();
    if (unit >= 0xdc80 && unit <= 0xdcff) return {static_cast<char>(unit & 0xffU)};
    if (unit < 0xd800 || unit > 0xdfff) return utf8(unit);
    if (unit > 0xdbff || !skip("\\u")) refuse("half a pair");
    const auto low = hex4();
    if (low < 0xdc00 || low > 0xdfff) refuse("half a pair");
    return utf8(0x10000 + ((unit - 0xd800) << 10U) + (low - 0xdc00));
  }

  std::uint32_t hex4() {
    std::uint32_t unit = 0;
    const auto digits = text_.substr(at_, 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
    if (error != std::errc{} || end != digits.data() + 4) refuse("not four hexadecimal digits");
    at_ += 4;
    return unit;
  }

  static std::string utf8(std::uint32_t point) {
    const auto tail = [point](unsigned shift) { return static_cast<char>(0x80U | (point >> shift & 0x3fU)); };
    if (point < 0x80) return {static_cast<char>(point)};
    if (point < 0x800) return {static_cast<char>(0xc0U | point >> 6U), tail(0)};
    if (point < 0x10000) return {static_cast<char>(0xe0U | point >> 12U), tail(6), tail(0)};
    return {static_cast<char>(0xf0U | point >> 18U), tail(12), tail(6), tail(0)};
  }

  /// One character as it stands there; well-formed if it is the shortest form of a code point that exists.
  std::string_view character() {
    const auto first = static_cast<unsigned char>(peek());
    const std::size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    const auto bytes = text_.substr(at_, length);
    std::uint32_t point = length == 1 ? first : first & (0x7fU >> length);
    for (const char c : bytes.substr(1)) point = point << 6U | (static_cast<unsigned char>(c) & 0x3fU);
    const bool exists = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
    if (!exists || utf8(point) != bytes) refuse("bytes that are not UTF-8");
    at_ += length;
    return bytes;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace troupe::test
