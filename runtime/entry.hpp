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

template <class R, class... P>
int run_pointer(std::span<const std::byte> bytes, DescriptorStore& descriptors) {
  using Function = R (*)(P...);
  FunctionId id{};
  std::memcpy(&id, bytes.data(), sizeof id);
  const auto function = reinterpret_cast<Function>(reinterpret_cast<std::uintptr_t>(resolve(id).value()));
  std::apply(function,
             decode_arguments<std::tuple<std::decay_t<P>...>>(bytes.subspan(sizeof id), descriptors));
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
