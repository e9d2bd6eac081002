// SPDX-License-Identifier: MIT
#include <troupe/foreign/request.hpp>

#include <troupe/foreign/contract.hpp>

namespace troupe::foreign::detail {
namespace {

using contract::name_bytes_max;

Result<std::string> read_name(const Value& request, std::string_view name) {
  const Value* const value = request.member(name);
  const auto* const text = value == nullptr ? nullptr : value->as<std::string>();
  if (text == nullptr || text->empty() || text->size() > name_bytes_max)
    return failure(ErrorKind::malformed, std::string{name} + ": wanted is a string of 1 to " +
                                             std::to_string(name_bytes_max) + " bytes");
  return *text;
}

Result<void> check_version(const Value& request) {
  const Value* const value = request.member(contract::request::version);
  if (value == nullptr) return {};
  const auto* const number = value->as<std::int64_t>();
  if (number != nullptr && *number == contract::version) return {};
  return failure(ErrorKind::refused,
                 "version: this endpoint speaks version " + std::to_string(contract::version));
}

Result<std::optional<Duration>> read_within(const Value& request, Duration within_max) {
  const Value* const value = request.member(contract::request::within_ms);
  if (value == nullptr || value->is_null()) return std::nullopt;
  const auto max = std::chrono::duration_cast<std::chrono::milliseconds>(within_max).count();
  const auto* const number = value->as<std::int64_t>();
  if (number == nullptr || *number < 1 || *number > max)
    return failure(ErrorKind::malformed, "within_ms: wanted is an integer from 1 to " + std::to_string(max));
  return std::chrono::milliseconds{*number};
}

Result<Request> read_members(const Value& object, Duration within_max) {
  if (auto sound = check_version(object); !sound) return failure(std::move(sound));
  auto id = read_name(object, contract::request::id);
  if (!id) return failure(std::move(id));
  auto to = read_name(object, contract::request::to);
  if (!to) return failure(std::move(to));
  auto type = read_name(object, contract::request::type);
  if (!type) return failure(std::move(type));
  auto within = read_within(object, within_max);
  if (!within) return failure(std::move(within));
  const Value* const body = object.member(contract::request::body);
  return Request{std::move(*id), std::move(*to), std::move(*type),
                 body == nullptr ? Value{Value::Object{}} : *body, *within};
}

/// An actor's own words may be any bytes.
std::string as_utf8(std::string text) {
  if (is_utf8(text)) return text;
  for (char& c : text)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return text;
}

}  // namespace

tl::expected<Request, Unreadable> read_request(std::span<const std::byte> bytes, Encoding encoding,
                                               const Limits& limits, Duration within_max) {
  auto object = parse(bytes, encoding, limits);
  if (!object) return tl::unexpected<Unreadable>{{std::nullopt, std::move(object.error())}};
  if (object->as<Value::Object>() == nullptr)
    return tl::unexpected<Unreadable>{
        {std::nullopt, {ErrorKind::malformed, 0, "message: wanted is an object"}}};
  auto request = read_members(*object, within_max);
  if (request) return std::move(*request);
  auto id = read_name(*object, contract::request::id);
  return tl::unexpected<Unreadable>{
      {id ? std::optional{std::move(*id)} : std::nullopt, std::move(request.error())}};
}

Value make_reply(const std::optional<std::string>& id, Outcome outcome) {
  namespace reply = contract::reply;
  Value::Object members;
  members.push_back({std::string{reply::id}, id ? Value{*id} : Value{}});
  members.push_back({std::string{reply::ok}, Value{outcome.has_value()}});
  if (!outcome) {
    const Error& error = outcome.error();
    members.push_back({std::string{reply::error},
                       object({{std::string{reply::kind}, Value{std::string{to_string(error.kind)}}},
                               {std::string{reply::text}, Value{as_utf8(error.text)}}})});
  } else if (*outcome) {
    members.push_back({std::string{reply::value}, std::move(**outcome)});
  }
  return object(std::move(members));
}

}  // namespace troupe::foreign::detail
