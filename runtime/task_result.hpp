// SPDX-License-Identifier: MIT
#pragma once
// Internal. What a function returned or threw, on its way back to the process that started it.

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <type_traits>
#include <vector>

namespace troupe::detail {

/// A memory file that two processes hold: one writes an outcome into it once, the other reads it when that
/// one has ended. So a result may be as large as memory allows, nobody waits for a reader, and who is killed
/// meanwhile leaves none. Copies are the same file.
class ResultFile {
 public:
  ResultFile() = default;  ///< none; to be loaded
  /// `exhausted` without descriptors.
  [[nodiscard]] static Result<ResultFile> create();

  /// Once. `exhausted` without memory, or beyond this process's limit for a file.
  [[nodiscard]] Result<void> keep_value(std::span<const std::byte> bytes) const;
  [[nodiscard]] Result<void> keep_error(const Error& error) const;

  /// The value's bytes, or the error that was kept; none where neither is whole. `malformed` for nonsense.
  [[nodiscard]] std::optional<Result<std::vector<std::byte>>> read() const;

  template <class Archive>
  void save(Archive& archive) const {
    archive.deposit(file_ ? file_->get() : -1);
  }
  template <class Archive>
  void load(Archive& archive) {
    file_ = std::make_shared<OwnedFd>(archive.withdraw());
  }

 private:
  struct Header;
  [[nodiscard]] Result<std::vector<std::byte>> outcome(const Header& header) const;
  [[nodiscard]] Result<void> keep(const Header& header, std::span<const std::byte> bytes) const;
  std::shared_ptr<OwnedFd> file_{};
};

/// What `thrown` was, for people: "std::out_of_range: …". A Failure is its own Error.
[[nodiscard]] Error error_of(const std::exception& thrown);

template <class R>
Result<void> keep_encoded(const ResultFile& file, const R& value) {
  std::vector<std::byte> bytes(encoded_size(value));
  auto encoded = encode(value, std::span{bytes});
  if (!encoded) return failure(std::move(encoded));
  return file.keep_value(bytes);
}

/// Calls it and keeps its outcome. What it throws is kept and thrown on: the process ends as any other would.
template <class Call>
void keep_outcome(const ResultFile& file, Call call) {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Call>>) {
      call();
      file.keep_value({}).value();
    } else {
      keep_encoded(file, call()).value();
    }
  } catch (const std::exception& thrown) {
    [[maybe_unused]] const auto kept = file.keep_error(error_of(thrown));
    throw;
  }
}

}  // namespace troupe::detail
