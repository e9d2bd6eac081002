// SPDX-License-Identifier: MIT
#include <troupe/zmq/place.hpp>

#include <arpa/inet.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <troupe/transport/syscall.hpp>
#include <troupe/zmq/whereabouts.hpp>

namespace troupe::zmq::detail {
namespace {

constexpr std::string_view ipc = "ipc://";
constexpr std::string_view tcp = "tcp://";
constexpr std::string_view own_folder = "troupe-zmq-";  // then machine, pid and start of its maker, in hex
constexpr const char* socket_name = "s";

bool has_curve(const Security& security) { return !security.own.secret_key.empty(); }

/// Only what is a loopback address by its digits: a name may lead anywhere by the time it is looked up.
bool is_loopback(std::string_view endpoint) {
  const auto address = endpoint.substr(tcp.size());
  const std::string host{address.substr(0, address.rfind(':'))};
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24U) == 127;
  return host == "[::1]";
}

Result<void> check_tcp(const std::string& endpoint, const Security& security) {
  if (endpoint.rfind(':') < tcp.size())
    return failure(ErrorKind::invalid, endpoint + ": no port; try " + endpoint + ":*");
  if (is_loopback(endpoint) || has_curve(security)) return {};
  return failure(ErrorKind::refused,
                 endpoint +
                     ": off loopback anybody could read and write here without keys; try "
                     "Security with keys of your own (Keys::generate), or tcp://127.0.0.1:*");
}

Result<void> check_keys(const std::string& endpoint, const Security& security) {
  if (!has_curve(security) || !security.allowed.empty()) return {};
  return failure(ErrorKind::refused,
                 endpoint +
                     ": nobody's key is allowed; try Security::allowed with the public keys of those that "
                     "are to come");
}

bool is_private(const std::string& folder) {
  struct stat found {};
  return ::lstat(folder.c_str(), &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == ::geteuid() &&
         (found.st_mode & 077U) == 0;
}

std::string base_folder() {
  const char* const runtime = ::secure_getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr && *runtime == '/' && is_private(runtime) ? runtime : "/tmp";
}

std::string in_hex(std::uint64_t number) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, 16).ptr;
  return {digits.data(), end};
}

Result<std::string> make_folder() {
  const auto own = find_whereabouts();
  if (!own) return tl::unexpected<Error>{own.error()};
  sweep_places(own->machine);
  std::string folder = base_folder() + '/' + std::string{own_folder} + in_hex(own->machine) + '-' +
                       in_hex(static_cast<std::uint64_t>(own->process.pid)) + '-' +
                       in_hex(own->process.started) + "-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return troupe::detail::system_failure("make the folder " + folder);
  return folder;
}

void remove_folder(const std::string& folder) noexcept {
  ::unlink((folder + '/' + socket_name).c_str());
  ::rmdir(folder.c_str());
}

/// Takes the hex number in front of the next dash off `text`.
std::optional<std::uint64_t> next_number(std::string_view& text) {
  std::uint64_t number = 0;
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + dash, number, 16);
  if (error != std::errc{} || end != text.data() + dash) return std::nullopt;
  text.remove_prefix(dash + 1);
  return number;
}

/// The maker's mark, of a folder that a process of this machine has made.
std::optional<ProcessMark> maker_of(std::string_view name, std::uint64_t here) {
  if (!name.starts_with(own_folder)) return std::nullopt;
  name.remove_prefix(own_folder.size());
  const auto machine = next_number(name);
  const auto pid = machine ? next_number(name) : std::nullopt;
  const auto started = pid ? next_number(name) : std::nullopt;
  if (!started || *machine != here) return std::nullopt;
  return ProcessMark{static_cast<std::int32_t>(*pid), *started};
}

bool has_ended(const ProcessMark& process) {
  const auto watch = watch_process(process);
  if (!watch) return watch.error().kind == ErrorKind::down;
  return troupe::detail::wait_readable(watch->get(), Clock::now());
}

void sweep_folder(const std::filesystem::path& folder, std::uint64_t here) {
  const auto maker = maker_of(folder.filename().native(), here);
  if (!maker || !is_private(folder.native())) return;
  if (has_ended(*maker)) remove_folder(folder.native());
}

Result<void> check_ipc(const std::string& endpoint) {
  const std::filesystem::path path{endpoint.substr(ipc.size())};
  if (!path.is_absolute() || !path.has_filename())
    return failure(ErrorKind::invalid, endpoint + ": no absolute path; try ipc://*");
  if (path.native().size() >= sizeof(sockaddr_un::sun_path))
    return failure(ErrorKind::invalid, endpoint + ": the path is too long for a socket; try ipc://*");
  if (is_private(path.parent_path().native())) return {};
  return failure(ErrorKind::refused, endpoint +
                                         ": others can enter its folder; try ipc://*, or a folder of mode "
                                         "0700 that is yours");
}

}  // namespace

Result<Place> Place::create(const std::string& endpoint, const Security& security) {
  if (auto usable = check_keys(endpoint, security); !usable) return failure(std::move(usable));
  if (endpoint == "ipc://*") {
    auto folder = make_folder();
    if (!folder) return failure(std::move(folder));
    return Place{std::string{ipc} + *folder + '/' + socket_name, *folder};
  }
  if (auto usable = check_reachable(endpoint, security); !usable) return failure(std::move(usable));
  return Place{endpoint, {}};
}

Place::~Place() {
  if (!folder_.empty() && !guard_.forked()) remove_folder(folder_);
}

Result<void> check_reachable(const std::string& endpoint, const Security& security) {
  if (endpoint.starts_with(tcp)) return check_tcp(endpoint, security);
  if (endpoint.starts_with(ipc)) return check_ipc(endpoint);
  return failure(ErrorKind::invalid, endpoint + ": no endpoint; try ipc://* or tcp://127.0.0.1:*");
}

void sweep_place(const std::string& endpoint) noexcept {
  if (!endpoint.starts_with(ipc)) return;
  sweep_folder(std::filesystem::path{endpoint.substr(ipc.size())}.parent_path(), this_machine());
}

void sweep_places(std::uint64_t here) noexcept {
  std::error_code fault;  // then the rest is left to the next one who sweeps
  const std::filesystem::directory_iterator end;
  for (std::filesystem::directory_iterator at{base_folder(), fault}; !fault && at != end; at.increment(fault))
    sweep_folder(at->path(), here);
}

}  // namespace troupe::zmq::detail
