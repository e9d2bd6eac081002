// SPDX-License-Identifier: MIT
#pragma once

#include <troupe/runtime/process.hpp>
#include <troupe/runtime/task_result.hpp>

namespace troupe {

namespace detail {

template <class R, class... P>
int run_task_pointer(std::span<const std::byte> bytes, DescriptorStore& descriptors) {
  const auto function = function_in_front<R (*)(P...)>(bytes);
  auto arguments = decode_arguments<std::tuple<ResultFile, std::decay_t<P>...>>(bytes, descriptors);
  keep_outcome(std::get<0>(arguments), [&] {
    return std::apply([&](const ResultFile&, auto&... rest) { return function(std::move(rest)...); },
                      arguments);
  });
  return 0;
}

template <class F, class... P>
int run_task_callable(std::span<const std::byte> bytes, DescriptorStore& descriptors) {
  auto arguments = decode_arguments<std::tuple<ResultFile, P...>>(bytes, descriptors);
  keep_outcome(std::get<0>(arguments), [&] {
    return std::apply([](const ResultFile&, auto&... rest) { return F{}(std::move(rest)...); }, arguments);
  });
  return 0;
}

/// As pack_call, with the file for the outcome in front of the arguments.
template <class R, class... P, class... A>
Result<PackedCall> pack_task(const ResultFile& file, R (*function)(P...), A&&... arguments) {
  auto entry = entry_id(&run_task_pointer<R, P...>);
  if (!entry) return failure(std::move(entry));
  auto id = entry_id(function);
  if (!id) return failure(std::move(id));
  return pack_arguments(*entry,
                        std::tuple<ResultFile, std::decay_t<P>...>{file, std::forward<A>(arguments)...},
                        control::bytes_of(*id));
}

template <class F, class... P, class... A>
Result<PackedCall> pack_task_callable(std::type_identity<std::tuple<P...>> /*parameters*/,
                                      const ResultFile& file, A&&... arguments) {
  auto entry = entry_id(&run_task_callable<F, P...>);
  if (!entry) return failure(std::move(entry));
  return pack_arguments(*entry, std::tuple<ResultFile, P...>{file, std::forward<A>(arguments)...});
}

template <class F, class... A>
Result<PackedCall> pack_task(const ResultFile& file, const F& /*stateless*/, A&&... arguments) {
  return pack_task_callable<F>(parameters_for<F, A...>(), file, std::forward<A>(arguments)...);
}

}  // namespace detail

/// A Process whose function's value, or exception, comes back.
///
/// The value may be of any size and any type that the codec takes, but for those that hold descriptors. It
/// lies in memory of its own, so the process ends without waiting for whoever reads it.
template <class R>
class Task : public Process {
 public:
  /// Throws Failure when the arguments cannot be encoded, or there is no descriptor for the result.
  template <class F, class... A>
  requires(!std::is_same_v<std::decay_t<F>, Task> &&
           !std::is_same_v<std::decay_t<F>, ProcessOptions>) explicit Task(F&& function, A&&... arguments)
      : Task{ProcessOptions{}, std::forward<F>(function), std::forward<A>(arguments)...} {}

  template <class F, class... A>
  Task(ProcessOptions options, F&& function, A&&... arguments)
      : Task{std::move(options), made(function, std::forward<A>(arguments)...)} {}

  /// Waits for the end of the process. The value; what the function threw (a Failure as its Error, anything
  /// else as `down` with its type and text); `down` with the reason if the process died without either;
  /// `timed_out`, `invalid` as join(). May be repeated.
  [[nodiscard]] Result<R> result(Duration within = Duration::max()) {
    auto report = join(within);
    if (!report) return failure(std::move(report));
    auto bytes = result_.read();
    if (!bytes)
      return failure(ErrorKind::down, "task " + report->name + ": it ended without a result (" +
                                          to_string(report->reason) + ")");
    if (!*bytes) return failure(std::move(*bytes));
    if constexpr (std::is_void_v<R>)
      return {};
    else
      return decode<R>(**bytes);
  }

 private:
  struct Made {
    detail::ResultFile result{};
    detail::PackedCall call{};
  };
  Task(ProcessOptions options, Made made)
      : Process{std::move(options), std::move(made.call)}, result_{std::move(made.result)} {}

  template <class F, class... A>
  static Made made(const F& function, A&&... arguments) {
    if constexpr (detail::can_be_packed<F, A...>()) {
      auto result = detail::ResultFile::create().value();
      auto call =
          detail::pack_task(result, detail::callable(function), std::forward<A>(arguments)...).value();
      return {std::move(result), std::move(call)};
    } else {
      return {};
    }
  }
  detail::ResultFile result_;
};

template <class F, class... A>
requires std::is_invocable_v<std::decay_t<F>, A...> Task(F, A...)
->Task<std::decay_t<std::invoke_result_t<std::decay_t<F>, A...>>>;
template <class F, class... A>
requires std::is_invocable_v<std::decay_t<F>, A...> Task(ProcessOptions, F, A...)
->Task<std::decay_t<std::invoke_result_t<std::decay_t<F>, A...>>>;

}  // namespace troupe
