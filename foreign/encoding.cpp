// SPDX-License-Identifier: MIT
#include <troupe/foreign/encoding.hpp>

#include <cmath>
#include <nlohmann/json.hpp>

namespace troupe::foreign {
namespace {

using nlohmann::json;

bool is_blank(std::byte byte) noexcept {
  return byte == std::byte{' '} || byte == std::byte{'\t'} || byte == std::byte{'\r'} ||
         byte == std::byte{'\n'};
}

bool is_msgpack_map(std::byte byte) noexcept {
  return (byte & std::byte{0xf0}) == std::byte{0x80} || byte == std::byte{0xde} || byte == std::byte{0xdf};
}

/// Builds a Value from the events of nlohmann's parsers, and ends the parse at the first thing that a Value
/// must not hold. Sizes that a peer announces allocate nothing: memory grows with the bytes that are there.
class Builder {
 public:
  explicit Builder(const Limits& limits) noexcept : limits_{limits} {}

  // What nlohmann calls: false ends the parse.
  bool null() { return add({}); }
  bool boolean(bool value) { return add({value}); }
  bool number_integer(std::int64_t value) {
    return value < -Value::integer_max ? number(static_cast<double>(value)) : add({value});
  }
  bool number_unsigned(std::uint64_t value) {
    return value > std::uint64_t{Value::integer_max} ? number(static_cast<double>(value))
                                                     : add({static_cast<std::int64_t>(value)});
  }
  bool number_float(double value, const std::string& /*digits*/) { return number(value); }
  bool string(std::string& value) {
    return is_utf8(value) ? add({std::move(value)}) : refuse("text that is not UTF-8");
  }
  bool binary(json::binary_t& /*value*/) { return refuse("bytes, or an extension type"); }
  bool start_object(std::size_t /*announced*/) { return open({Value::Object{}}); }
  bool start_array(std::size_t /*announced*/) { return open({Value::Array{}}); }
  bool key(std::string& name) {
    if (!is_utf8(name)) return refuse("a name that is not UTF-8");
    std::get<Value::Object>(stack_.back().content).push_back({std::move(name), {}});
    return true;
  }
  bool end_object() {
    auto& members = std::get<Value::Object>(stack_.back().content);
    std::ranges::sort(members, {}, &Value::Member::name);
    if (std::ranges::adjacent_find(members, {}, &Value::Member::name) != members.end())
      return refuse("a name that occurs twice in an object");
    return close();
  }
  bool end_array() { return close(); }
  bool parse_error(std::size_t position, const std::string& /*token*/, const json::exception& /*why*/) {
    return refuse("no value of its encoding, at byte " + std::to_string(position));
  }

  [[nodiscard]] Value take_root() { return std::move(root_); }
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

 private:
  bool refuse(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }
  bool number(double value) {
    return std::isfinite(value) ? add({value}) : refuse("a number that is not finite");
  }
  bool count() { return ++elements_ <= limits_.elements_max ? true : refuse("too many values"); }

  bool add(Value value) {
    if (!count()) return false;
    place(std::move(value));
    return true;
  }
  bool open(Value empty) {
    if (!count()) return false;
    if (stack_.size() == limits_.depth_max) return refuse("nested too deeply");
    stack_.push_back(std::move(empty));
    return true;
  }
  bool close() {
    Value done = std::move(stack_.back());
    stack_.pop_back();
    place(std::move(done));
    return true;
  }
  void place(Value value) {
    if (stack_.empty())
      root_ = std::move(value);
    else if (auto* const array = std::get_if<Value::Array>(&stack_.back().content))
      array->push_back(std::move(value));
    else
      std::get<Value::Object>(stack_.back().content).back().value = std::move(value);
  }

  const Limits& limits_;
  std::vector<Value> stack_{};  ///< open objects and arrays, outermost first
  Value root_{};
  std::size_t elements_ = 0;
  std::string problem_{};
};

json as_json(const Value& value);

struct AsJson {
  json operator()(std::monostate /*null*/) const { return nullptr; }
  json operator()(bool value) const { return value; }
  json operator()(std::int64_t value) const { return value; }
  json operator()(double value) const { return value; }
  json operator()(const std::string& value) const { return value; }
  json operator()(const Value::Array& values) const {
    json array = json::array();
    for (const Value& value : values) array.push_back(as_json(value));
    return array;
  }
  json operator()(const Value::Object& members) const {
    json object = json::object();
    for (const Value::Member& member : members) object.emplace(member.name, as_json(member.value));
    return object;
  }
};

json as_json(const Value& value) { return std::visit(AsJson{}, value.content); }

/// The length of the sequence that begins with this byte, and the least that its second may be; 0: none does.
struct Lead {
  std::size_t length = 0;
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xbf;
};

/// Of Unicode's table of well-formed sequences: nothing overlong, no surrogates, nothing beyond 10ffff.
Lead lead_of(unsigned char byte) noexcept {
  if (byte < 0x80) return {1};
  if (byte < 0xc2) return {};
  if (byte < 0xe0) return {2};
  if (byte == 0xe0) return {3, 0xa0};
  if (byte == 0xed) return {3, 0x80, 0x9f};
  if (byte < 0xf0) return {3};
  if (byte == 0xf0) return {4, 0x90};
  if (byte < 0xf4) return {4};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {};
}

}  // namespace

Encoding encoding_of(std::span<const std::byte> bytes) noexcept {
  const auto first = std::ranges::find_if_not(bytes, is_blank);
  return first == bytes.begin() && first != bytes.end() && is_msgpack_map(*first) ? Encoding::msgpack
                                                                                  : Encoding::json;
}

Result<Value> parse(std::span<const std::byte> bytes, Encoding encoding, const Limits& limits) {
  if (bytes.size() > limits.message_bytes_max)
    return failure(ErrorKind::malformed, "message: " + std::to_string(bytes.size()) +
                                             " bytes, more than the " +
                                             std::to_string(limits.message_bytes_max) + " that are taken");
  Builder builder{limits};
  const auto* const begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const auto format = encoding == Encoding::json ? json::input_format_t::json : json::input_format_t::msgpack;
  if (!json::sax_parse(begin, begin + bytes.size(), &builder, format))
    return failure(ErrorKind::malformed, "message: " + builder.problem());
  return builder.take_root();
}

std::vector<std::byte> print(const Value& value, Encoding encoding) {
  const json whole = as_json(value);
  std::vector<std::byte> bytes;
  const auto append = [&](const auto& from) {
    const auto span = std::as_bytes(std::span{from});
    bytes.assign(span.begin(), span.end());
  };
  if (encoding == Encoding::json)
    append(whole.dump());
  else
    append(json::to_msgpack(whole));
  return bytes;
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const Lead lead = lead_of(static_cast<unsigned char>(text.front()));
    if (lead.length == 0 || text.size() < lead.length) return false;
    for (std::size_t i = 1; i < lead.length; ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte < (i == 1 ? lead.second_min : 0x80) || byte > (i == 1 ? lead.second_max : 0xbf)) return false;
    }
    text.remove_prefix(lead.length);
  }
  return true;
}

}  // namespace troupe::foreign
