// SPDX-License-Identifier: MIT
// The low-level interface is the only one whose state can be kept and carried on; OpenSSL 3 deprecates it.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "md5.hpp"

#include <fcntl.h>
#include <openssl/md5.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

namespace verify {
namespace {

using troupe::OwnedFd;
using troupe::Result;

static_assert(sizeof(MD5_CTX::data) == sizeof(Md5State::block));
static_assert(std::is_same_v<MD5_LONG, std::uint32_t>);

MD5_CTX context_of(const Md5State& state) noexcept {
  const auto bits = state.bytes * 8;
  MD5_CTX context{};
  context.A = state.words[0];
  context.B = state.words[1];
  context.C = state.words[2];
  context.D = state.words[3];
  context.Nl = static_cast<MD5_LONG>(bits);
  context.Nh = static_cast<MD5_LONG>(bits >> 32U);
  context.num = static_cast<unsigned>(state.bytes % state.block.size());
  std::memcpy(context.data, state.block.data(), state.block.size());
  return context;
}

Verdict verdict_of_errno(int errnum) noexcept {
  return errnum == ENOENT || errnum == ENOTDIR ? Verdict::missing : Verdict::unreadable;
}

std::int64_t nanoseconds(const timespec& time) noexcept {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

FileIdentity identity_of(const struct stat& status) noexcept {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = static_cast<std::uint64_t>(status.st_size),
          .modified_ns = nanoseconds(status.st_mtim),
          .changed_ns = nanoseconds(status.st_ctim)};
}

}  // namespace

void Md5State::update(std::span<const std::byte> data) noexcept {
  auto context = context_of(*this);
  MD5_Update(&context, data.data(), data.size());
  words = {context.A, context.B, context.C, context.D};
  bytes += data.size();
  std::memcpy(block.data(), context.data, block.size());
}

Digest Md5State::digest() const noexcept {
  auto context = context_of(*this);
  Digest result{};
  MD5_Final(result.data(), &context);
  return result;
}

std::string_view to_string(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::ok: return "ok";
    case Verdict::differing: return "differing";
    case Verdict::missing: return "missing";
    case Verdict::unreadable: return "unreadable";
  }
  std::abort();
}

Result<FileCheck> FileCheck::create(const std::string& root) {
  OwnedFd folder{::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!folder) return tl::unexpected{system_error(root, errno, "a folder as --root")};
  return FileCheck{std::move(folder)};
}

void FileCheck::begin(const Entry& entry, const Checkpoint& from) {
  file_.reset();
  expected_ = entry.digest;
  checkpoint_ = {};
  bytes_read_ = 0;
  verdict_ = open(entry.path.c_str(), from);
}

std::optional<Verdict> FileCheck::step() {
  if (!verdict_) verdict_ = read_step();
  if (verdict_) file_.reset();
  return verdict_;
}

std::optional<Verdict> FileCheck::open(const char* path, const Checkpoint& from) {
  struct stat status {};
  if (::fstatat(root_.get(), path, &status, 0) != 0) return verdict_of_errno(errno);
  if (!S_ISREG(status.st_mode)) return Verdict::unreadable;
  // The name may have become a fifo or a terminal since.
  file_.reset(::openat(root_.get(), path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file_) return verdict_of_errno(errno);
  if (::fstat(file_.get(), &status) != 0) return verdict_of_errno(errno);
  if (!S_ISREG(status.st_mode)) return Verdict::unreadable;

  const auto identity = identity_of(status);
  const bool goes_on =
      from.identity == identity && from.offset <= identity.size && from.md5.bytes == from.offset;
  checkpoint_ = goes_on ? from : Checkpoint{.identity = identity};
  if (identity.size > step_bytes_max) ::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::nullopt;
}

std::optional<Verdict> FileCheck::read_step() {
  for (;;) {
    const auto got =
        ::pread(file_.get(), buffer_.data(), buffer_.size(), static_cast<off_t>(checkpoint_.offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Verdict::unreadable;
    if (got == 0) return checkpoint_.md5.digest() == expected_ ? Verdict::ok : Verdict::differing;
    const auto count = static_cast<std::size_t>(got);
    checkpoint_.md5.update(std::span{buffer_}.first(count));
    checkpoint_.offset += count;
    bytes_read_ += count;
    return std::nullopt;
  }
}

}  // namespace verify
