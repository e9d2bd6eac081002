// SPDX-License-Identifier: MIT
#include <string>
#include <troupe/transport/codec.hpp>

namespace troupe::detail {

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

Error not_decodable(std::string_view type, std::string_view why, std::size_t at, std::size_t size) {
  return {ErrorKind::malformed, 0,
          "decode " + std::string{type} + ": " + std::string{why} + ", at byte " + std::to_string(at) +
              " of " + std::to_string(size)};
}

}  // namespace troupe::detail
