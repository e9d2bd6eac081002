// SPDX-License-Identifier: MIT
#pragma once
// Internal. A function and its arguments as bytes that another process of this program can run.

#include <cstddef>
#include <span>
#include <string>
#include <troupe/runtime/control.hpp>
#include <troupe/runtime/function_id.hpp>
#include <troupe/transport/codec.hpp>
#include <tuple>
#include <type_traits>
#include <vector>

namespace troupe::detail {

/// What a start needs: the function that decodes, and the bytes that it decodes.
struct PackedCall {
  FunctionId entry{};
  std::vector<std::byte> arguments{};
};

/// How an argument is kept for the other process: a string literal as a string.
template <class T>
using Stored =
    std::conditional_t<std::is_same_v<std::decay_t<T>, const char*> || std::is_same_v<std::decay_t<T>, char*>,
                       std::string, std::decay_t<T>>;

template <class Tuple>
Tuple decode_arguments(std::span<const std::byte> bytes) {
  return decode<Tuple>(bytes).value();
}

/// `invalid` when the arguments need more than control::start_bytes_max.
template <class Tuple>
Result<std::vector<std::byte>> encode_arguments(const Tuple& arguments) {
  std::vector<std::byte> bytes(encoded_size(arguments));
  if (bytes.size() > control::start_bytes_max)
    return failure(ErrorKind::invalid, "start: its arguments take " + std::to_string(bytes.size()) +
                                           " bytes, and a start carries at most " +
                                           std::to_string(control::start_bytes_max) +
                                           "; try sending them as messages");
  if (auto encoded = encode(arguments, std::span{bytes}); !encoded) return failure(std::move(encoded));
  return bytes;
}

template <class F, class... P>
int run_callable(std::span<const std::byte> bytes) {
  std::apply(F{}, decode_arguments<std::tuple<P...>>(bytes));
  return 0;
}

template <class R, class... P>
int run_pointer(std::span<const std::byte> bytes) {
  using Function = R (*)(P...);
  FunctionId id{};
  std::memcpy(&id, bytes.data(), sizeof id);
  const auto function = reinterpret_cast<Function>(reinterpret_cast<std::uintptr_t>(resolve(id).value()));
  std::apply(function, decode_arguments<std::tuple<std::decay_t<P>...>>(bytes.subspan(sizeof id)));
  return 0;
}

template <class Entry>
Result<FunctionId> entry_id(Entry* entry) {
  return function_id(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(entry)));
}

/// A plain function: its own id goes in front of the arguments, which are converted to its parameter types
/// here.
template <class R, class... P, class... A>
Result<PackedCall> pack_call(R (*function)(P...), A&&... arguments) {
  auto entry = entry_id(&run_pointer<R, P...>);
  if (!entry) return failure(std::move(entry));
  auto id = entry_id(function);
  if (!id) return failure(std::move(id));
  auto encoded = encode_arguments(std::tuple<std::decay_t<P>...>{std::forward<A>(arguments)...});
  if (!encoded) return failure(std::move(encoded));
  std::vector<std::byte> bytes(sizeof *id);
  std::memcpy(bytes.data(), &*id, sizeof *id);
  bytes.insert(bytes.end(), encoded->begin(), encoded->end());
  return PackedCall{*entry, std::move(bytes)};
}

template <class F, class... P, class... A>
Result<PackedCall> pack_callable(std::type_identity<std::tuple<P...>> /*parameters*/, A&&... arguments) {
  auto entry = entry_id(&run_callable<F, P...>);
  if (!entry) return failure(std::move(entry));
  auto encoded = encode_arguments(std::tuple<P...>{std::forward<A>(arguments)...});
  if (!encoded) return failure(std::move(encoded));
  return PackedCall{*entry, std::move(*encoded)};
}

template <class R, class C, class... P>
std::type_identity<std::tuple<std::decay_t<P>...>> parameters_of(R (C::* /*call*/)(P...) const);
template <class R, class C, class... P>
std::type_identity<std::tuple<std::decay_t<P>...>> parameters_of(R (C::* /*call*/)(P...));

/// A lambda without captures: its type is its name. Arguments are converted to its parameter types where it
/// has just one set of them.
template <class F, class... A>
Result<PackedCall> pack_call(const F& /*stateless*/, A&&... arguments) {
  if constexpr (requires { &F::operator(); })
    return pack_callable<F>(decltype(parameters_of(&F::operator())){}, std::forward<A>(arguments)...);
  else
    return pack_callable<F>(std::type_identity<std::tuple<Stored<A>...>>{}, std::forward<A>(arguments)...);
}

}  // namespace troupe::detail
