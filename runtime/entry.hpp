// SPDX-License-Identifier: MIT
#pragma once
// Internal. A function and its arguments as bytes that another process of this program can run.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <troupe/runtime/control.hpp>
#include <troupe/runtime/function_id.hpp>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/descriptor_store.hpp>
#include <tuple>
#include <type_traits>
#include <vector>

namespace troupe::detail {

/// What a start needs: the function that decodes, the bytes that it decodes, and the descriptors that they
/// name.
struct PackedCall {
  FunctionId entry{};
  std::vector<std::byte> arguments{};
  std::vector<OwnedFd> descriptors{};
  /// The arguments themselves, if they hold descriptors: an end of a channel that was moved in stays whole
  /// until the start has been taken, or is given up with this object.
  std::shared_ptr<const void> held{};
  std::vector<DescriptorStore::OnceKnown> once_known{};  ///< to be told the pid
};

/// How an argument is kept for the other process: a string literal as a string.
template <class T>
using Stored =
    std::conditional_t<std::is_same_v<std::decay_t<T>, const char*> || std::is_same_v<std::decay_t<T>, char*>,
                       std::string, std::decay_t<T>>;

template <class Tuple>
Tuple decode_arguments(std::span<const std::byte> bytes, DescriptorStore& descriptors) {
  return decode<Tuple>(bytes, &descriptors).value();
}

/// What the arguments hold, and what is to be done once there is a process to get them.
struct StartList final : DescriptorList {
  StartList() noexcept : DescriptorList{control::start_descriptors_max} {}
  bool once_known(const OnceKnown& act) override {
    acts.push_back(act);
    return true;
  }
  std::vector<OnceKnown> acts{};
};

/// The arguments behind `prefix`. `invalid` when they need more than control::start_bytes_max, `exhausted`
/// when they hold more than control::start_descriptors_max descriptors.
template <class Tuple>
Result<PackedCall> pack_arguments(FunctionId entry, Tuple arguments, std::span<const std::byte> prefix = {}) {
  PackedCall call{.entry = entry, .arguments = {prefix.begin(), prefix.end()}};
  call.arguments.resize(prefix.size() + encoded_size(arguments));
  if (call.arguments.size() > control::start_bytes_max)
    return failure(ErrorKind::invalid, "start: its arguments take " + std::to_string(call.arguments.size()) +
                                           " bytes, and a start carries at most " +
                                           std::to_string(control::start_bytes_max) +
                                           "; try a Blob, or sending them as messages");
  StartList descriptors;
  auto encoded = encode(arguments, std::span{call.arguments}.subspan(prefix.size()), &descriptors);
  if (!encoded) return failure(std::move(encoded));
  call.once_known = std::move(descriptors.acts);
  if (descriptors.empty() && call.once_known.empty()) return call;
  call.descriptors = std::move(descriptors).take();
  call.held = std::make_shared<const Tuple>(std::move(arguments));
  return call;
}

template <class F, class... P>
int run_callable(std::span<const std::byte> bytes, DescriptorStore& descriptors) {
  std::apply(F{}, decode_arguments<std::tuple<P...>>(bytes, descriptors));
  return 0;
}

/// The function whose id is in front of the arguments; `bytes` are the arguments then.
template <class Function>
Function function_in_front(std::span<const std::byte>& bytes) {
  FunctionId id{};
  std::memcpy(&id, bytes.data(), sizeof id);
  bytes = bytes.subspan(sizeof id);
  return reinterpret_cast<Function>(reinterpret_cast<std::uintptr_t>(resolve(id).value()));
}

template <class R, class... P>
int run_pointer(std::span<const std::byte> bytes, DescriptorStore& descriptors) {
  const auto function = function_in_front<R (*)(P...)>(bytes);
  std::apply(function, decode_arguments<std::tuple<std::decay_t<P>...>>(bytes, descriptors));
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
  return pack_arguments(*entry, std::tuple<std::decay_t<P>...>{std::forward<A>(arguments)...},
                        control::bytes_of(*id));
}

template <class F, class... P, class... A>
Result<PackedCall> pack_callable(std::type_identity<std::tuple<P...>> /*parameters*/, A&&... arguments) {
  auto entry = entry_id(&run_callable<F, P...>);
  if (!entry) return failure(std::move(entry));
  return pack_arguments(*entry, std::tuple<P...>{std::forward<A>(arguments)...});
}

template <class R, class C, class... P>
std::type_identity<std::tuple<std::decay_t<P>...>> parameters_of(R (C::* /*call*/)(P...) const);
template <class R, class C, class... P>
std::type_identity<std::tuple<std::decay_t<P>...>> parameters_of(R (C::* /*call*/)(P...));

/// A lambda's parameters, or the arguments where it has more than one set of them.
template <class F, class... A>
auto parameters_for() {
  if constexpr (requires { &F::operator(); })
    return decltype(parameters_of(&F::operator())){};
  else
    return std::type_identity<std::tuple<Stored<A>...>>{};
}

/// A lambda without captures: its type is its name.
template <class F, class... A>
Result<PackedCall> pack_call(const F& /*stateless*/, A&&... arguments) {
  return pack_callable<F>(parameters_for<F, A...>(), std::forward<A>(arguments)...);
}

/// Whether another process can be told to call it; if not, the compiler says why.
template <class F, class... A>
consteval bool can_be_packed() {
  using Callable = std::decay_t<F>;
  constexpr bool is_stateless = std::is_pointer_v<Callable> || std::is_empty_v<Callable>;
  static_assert(is_stateless,
                "troupe: this callable holds captured state, which another process cannot see; pass it as "
                "an argument");
  static_assert(std::is_invocable_v<Callable, A...>,
                "troupe: the function cannot be called with these arguments");
  return is_stateless && std::is_invocable_v<Callable, A...>;
}

/// As packing takes it: a function decayed to a pointer, a lambda as it is.
template <class F>
decltype(auto) callable(const F& function) {
  if constexpr (std::is_pointer_v<std::decay_t<F>>)
    return static_cast<std::decay_t<F>>(function);
  else
    return function;
}

}  // namespace troupe::detail
