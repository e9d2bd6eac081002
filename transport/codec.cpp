// SPDX-License-Identifier: MIT
#include <troupe/transport/codec.hpp>

#include <string>

namespace troupe::detail {
namespace {

tl::unexpected<Error> without_store() {
  return failure(
      ErrorKind::refused,
      "it holds descriptors, and there are only bytes here; try a message to an actor, an argument of "
      "a Process, or a channel over sockets");
}

}  // namespace

Deposits::~Deposits() {
  for (auto name = names.rbegin(); name != names.rend(); ++name) store->drop(*name);
}

/// Nothing is put for a value that is lost already.
std::uint64_t OutputArchive::put_into_store(int fd) {
  if (!deposits_) deposits_ = std::make_unique<Deposits>(store_);
  Deposits& deposits = *deposits_;
  if (store_ == nullptr) deposits.outcome = without_store();
  if (!deposits.outcome || fault_ != nullptr || overflowed()) return 0;
  const auto name = store_->put(fd);
  if (!name) {
    deposits.outcome = tl::unexpected<Error>{name.error()};
    return 0;
  }
  deposits.names.push_back(*name);
  return *name;
}

void OutputArchive::refuse(Error why) {
  if (!deposits_) deposits_ = std::make_unique<Deposits>(store_);
  if (deposits_->outcome) deposits_->outcome = tl::unexpected{std::move(why)};
}

OwnedFd InputArchive::withdraw() {
  std::uint64_t name = 0;
  take(name);
  if (store_ == nullptr) throw NotWithdrawn{without_store().value()};
  auto fd = store_->get(name);
  if (!fd) throw NotWithdrawn{std::move(fd.error())};
  return std::move(*fd);
}

Error no_room(std::string_view type, std::size_t needed, std::size_t room) {
  return {ErrorKind::full, 0,
          "encode " + std::string{type} + ": it takes " + std::to_string(needed) +
              " bytes and the room was " + std::to_string(room)};
}

Error wrong_size(std::string_view type, std::size_t size, std::size_t expected) {
  return {ErrorKind::malformed, 0,
          "decode " + std::string{type} + ": " +
              (size < expected ? "the bytes end too early" : "bytes are left over") + ", " +
              std::to_string(size) + " came and it takes " + std::to_string(expected)};
}

Error not_encodable(std::string_view type, std::string_view why) {
  return {ErrorKind::invalid, 0, "encode " + std::string{type} + ": " + std::string{why}};
}

Error not_deposited(std::string_view type, const Error& why) {
  return {why.kind, why.errnum, "encode " + std::string{type} + ": " + why.text};
}

Error not_withdrawn(std::string_view type, const Error& why) {
  return {why.kind, why.errnum, "decode " + std::string{type} + ": " + why.text};
}

Error no_memory(std::string_view what, std::string_view type) {
  return {ErrorKind::exhausted, 0,
          std::string{what} + " " + std::string{type} + ": there is no memory for it"};
}

Error not_decodable(std::string_view type, std::string_view why, std::size_t at, std::size_t size) {
  return {ErrorKind::malformed, 0,
          "decode " + std::string{type} + ": " + std::string{why} + ", at byte " + std::to_string(at) +
              " of " + std::to_string(size)};
}

}  // namespace troupe::detail
