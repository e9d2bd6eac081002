// SPDX-License-Identifier: MIT
// What clients ask of the keeper. Every request is bounded and answered at once; what takes time is told by a
// notice.
extern "C" {
#include <sys/pidfd.h>
}
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <troupe/runtime/keeper.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;
using control::Kind;

}  // namespace

int Keeper::add_client(SocketChannel channel, RoleId role, supervision::ChildId child,
                       Incarnation incarnation) {
  const int key = channel.descriptor();
  clients_[key] = std::make_shared<Client>(Client{std::move(channel), role, child, incarnation});
  [[maybe_unused]] const auto watched = loop_.watch(key, [this, key] { client_speaks(key); });
  return key;
}

void Keeper::drop_client(int key) {
  loop_.forget(key);
  clients_.at(key)->presence.reset();
  clients_.erase(key);
  queue_deposits_.look_at_all();
}

/// Serves one packet, or the end of the channel.
void Keeper::client_speaks(int key) {
  const auto at = clients_.find(key);
  if (at == clients_.end()) return;
  const std::shared_ptr<Client> held = at->second;  // serving it may drop it
  Client& client = *held;
  buffer_.resize(SocketChannel::packet_bytes_max);
  auto packet = client.channel.receive(buffer_, Clock::now());
  const auto process = processes_.find(client.child);
  const bool known = process != processes_.end() && process->second.channel == key;
  if (packet) {
    const std::vector<std::byte> bytes{buffer_.begin(),
                                       buffer_.begin() + static_cast<std::ptrdiff_t>(packet->bytes)};
    const auto heading = control::read<control::Heading>(bytes);
    if (!heading) return;
    client.question = heading->number;
    serve(client, std::span{bytes}.subspan(sizeof *heading), std::move(packet->descriptors));
    if (client.lost && clients_.contains(key)) lose_client(key);
    return;
  }
  if (packet.error().kind == ErrorKind::exhausted) return refuse_unread(client, packet.error());
  const bool is_dead = known && !process->second.pidfd && !process->second.start_pending;
  if (packet.error().kind == ErrorKind::timed_out && !is_dead) return;
  lose_client(key);
}

/// Its descriptors are lost, since there was no room for them here; its bytes lie in the buffer.
void Keeper::refuse_unread(Client& client, Error error) {
  const auto heading = control::read<control::Heading>(buffer_);
  client.question = heading ? heading->number : 0;
  error.text = "keeper: no room for the descriptors of a request; raise the limit of open files (ulimit -Hn)";
  if (client.question != 0) refuse(client, error);
}

/// The end of a channel: closed, broken, or its client does not take its answers.
void Keeper::lose_client(int key) {
  const Client& client = *clients_.at(key);
  const auto process = processes_.find(client.child);
  const bool known = process != processes_.end() && process->second.channel == key;
  if (client.child == 0) ending_ = true;
  drop_client(key);
  if (!known) return;
  process->second.channel = -1;
  if (!process->second.start_pending) return;
  zygote_speaks();  // its answer may lie there already
  if (process->second.start_pending && process->second.zygote != zygote_pid_)
    start_again(process->second, process->first);
}

template <class Record>
void Keeper::answer(Client& client, const Record& record, std::span<const int> descriptors) {
  send_answer(client,
              control::packet_of(control::Answer{.number = client.question}, control::bytes_of(record)),
              descriptors);
}

void Keeper::refuse(Client& client, const Error& error) {
  const control::Answer answer{.number = client.question,
                               .ok = false,
                               .error = error.kind,
                               .errnum = error.errnum,
                               .text = std::string_view{error.text}};
  send_answer(client, control::bytes_of(answer), {});
}

template <class Record>
void Keeper::answer(Client& client, const Result<Record>& result, std::span<const int> descriptors) {
  if (result)
    answer(client, *result, descriptors);
  else
    refuse(client, result.error());
}

/// Never waits: a client has one question under way, so its buffer has room unless it breaks that rule.
/// Descriptors that cannot be sent are an error of this one question; the client may ask again.
void Keeper::send_answer(Client& client, std::span<const std::byte> packet,
                         std::span<const int> descriptors) {
  const auto sent = client.channel.send(packet, descriptors, Clock::now());
  if (sent) return;
  if (!descriptors.empty() && sent.error().kind != ErrorKind::timed_out &&
      sent.error().kind != ErrorKind::closed)
    return refuse(client, sent.error());
  client.lost = true;
}

void Keeper::serve(Client& client, std::span<const std::byte> packet, std::vector<OwnedFd> descriptors) {
  const auto kind = control::read<Kind>(packet);
  const auto malformed = [&] {
    refuse(client, Error{ErrorKind::malformed, 0, "keeper: a request that it does not know"});
  };
  if (!kind) return;
  Switchboard::Given given;
  int fd = -1;
  const auto optional_fd = [&] { return fd == -1 ? std::span<const int>{} : std::span<const int>{&fd, 1}; };
  const auto with = [&]<class Record>(const Record&, auto handle) {
    if (const auto request = control::read<Record>(packet))
      handle(*request);
    else
      malformed();
  };
  switch (*kind) {
    case Kind::hello:
    case Kind::ready:
    case Kind::failed:
    case Kind::connected:
    case Kind::drained:
    case Kind::broken:
    case Kind::acknowledged:
    case Kind::items_done:
    case Kind::letters_gone:
    case Kind::quarantine: return serve_told(client, *kind, packet, descriptors);
    case Kind::attach: {
      auto attached = board_.attach(client.role, given);
      if (const auto at = processes_.find(client.child); attached && at != processes_.end()) {
        attached->name = at->second.request.name;
        attached->attempts_max = at->second.request.attempts_max;
        attached->supervisor = at->second.request.supervisor;
      }
      return answer(client, attached, given.descriptors);
    }
    case Kind::connect:
      return with(control::Connect{}, [&](const auto& request) {
        const auto connection = board_.connect(client.role, request, given);
        answer(client, connection, given.descriptors);
      });
    case Kind::deposit:
      return with(control::Deposit{}, [&](const auto& request) {
        const auto kept = board_.deposit(client.role, request, std::move(descriptors));
        if (kept)
          answer(client, control::Id{});
        else
          refuse(client, kept.error());
      });
    case Kind::withdraw:
      return with(control::Withdraw{}, [&](const auto& request) {
        const control::Id count = board_.withdraw(client.role, request, given);
        answer(client, count, given.descriptors);
      });
    case Kind::deposits: return answer(client, control::Id{board_.deposits() + queue_deposits_.size()});
    case Kind::letter_deposit:
      return with(control::LetterDeposit{}, [&](const auto& request) {
        const auto kept = board_.deposit_letter(client.role, request, std::move(descriptors));
        if (kept)
          answer(client, control::Id{});
        else
          refuse(client, kept.error());
      });
    case Kind::item_deposit:
      return with(control::ItemDeposit{}, [&](const auto& request) {
        const auto kept = queue_deposits_.deposit(request, client.presence, std::move(descriptors));
        if (kept)
          answer(client, control::Id{static_cast<std::uint64_t>(::getpid())});
        else
          refuse(client, kept.error());
      });
    case Kind::item_withdraw:
      return with(control::ItemWithdraw{}, [&](const auto& request) {
        if (descriptors.size() == 1)
          given.descriptors = queue_deposits_.withdraw(request, descriptors.front().get());
        answer(client, control::Id{given.descriptors.size()}, given.descriptors);
      });
    case Kind::pull:
      return with(control::Pull{}, [&](const auto& request) {
        const control::Change change = board_.pull(client.role, request.took, given);
        answer(client, change, given.descriptors);
      });
    case Kind::surroundings: return answer(client, add_surroundings(client, packet, std::move(descriptors)));
    case Kind::add_supervisor: return answer(client, add_supervisor(client));
    case Kind::add_child: return answer(client, add_child(client, packet, std::move(descriptors)));
    case Kind::child:
      return with(control::OfChild{}, [&](const auto& request) {
        const auto record = describe(request.id, fd);
        answer(client, record, optional_fd());
      });
    case Kind::list_children:
      return with(control::OfSupervisor{}, [&](const auto& request) {
        const auto record = list(request, fd);
        answer(client, record, optional_fd());
      });
    case Kind::stop_child:
      return with(control::OfChild{}, [&](const auto& request) {
        apply(supervision::StopChild{request.id});
        answer(client, control::Id{});
      });
    case Kind::signal_child:
      return with(control::OfChild{}, [&](const auto& request) {
        const auto sent = signal_child(request);
        if (sent)
          answer(client, control::Id{});
        else
          refuse(client, sent.error());
      });
    case Kind::remove_child:
      return with(control::OfChild{}, [&](const auto& request) {
        remove_child(request.id);
        answer(client, control::Id{});
      });
    case Kind::stop_supervisor:
      return with(control::OfSupervisor{}, [&](const auto& request) {
        apply(supervision::StopSupervisor{request.id});
        answer(client, control::Id{});
      });
    case Kind::release_supervisor:
      return with(control::OfSupervisor{}, [&](const auto& request) {
        apply(supervision::SetLifetime{request.id, supervision::Lifetime::while_needed});
        answer(client, control::Id{});
      });
    case Kind::remove_supervisor:
      return with(control::OfSupervisor{}, [&](const auto& request) {
        remove_supervisor(request.id);
        answer(client, control::Id{});
      });
    case Kind::supervisor:
      return with(control::OfSupervisor{}, [&](const auto& request) {
        const auto at = tree_.supervisors.find(request.id);
        if (at == tree_.supervisors.end())
          return refuse(client, Error{ErrorKind::closed, 0, "supervisor: unknown"});
        answer(client, control::SupervisorState{at->second.ended,
                                                static_cast<std::uint32_t>(at->second.children.size())});
      });
    case Kind::transitions:
      return with(control::SinceIndex{},
                  [&](const auto& request) { answer(client, chronicle_.transitions(request)); });
    case Kind::quarantined:
      return with(control::SinceIndex{}, [&](const auto& request) {
        const auto record = chronicle_.quarantined(request, fd);
        answer(client, record, optional_fd());
      });
    case Kind::start:
    case Kind::started: return malformed();
  }
  malformed();
}

void Keeper::serve_told(Client& client, Kind kind, std::span<const std::byte> packet,
                        std::vector<OwnedFd>& descriptors) {
  const auto at = processes_.find(client.child);
  const bool present = at != processes_.end() && at->second.incarnation == client.incarnation;
  if (kind == Kind::hello && present) {
    const auto hello = control::read<control::Hello>(packet);
    if (!hello) return;
    at->second.hello_pid = hello->pid;
    at->second.said_ready = hello->ready;
    if (at->second.pid == 0 && at->second.start_pending) {  // the zygote's own word is late, or it died
      siginfo_t info{};
      if (by_pid_.contains(hello->pid) || hello->pid == zygote_pid_) return;
      if (::waitid(P_PID, static_cast<id_t>(hello->pid), &info, WEXITED | WNOHANG | WNOWAIT) == -1)
        return;  // not our child
      if (auto pidfd = open_pidfd(hello->pid)) process_known(client.child, hello->pid, std::move(*pidfd));
    }
    if (hello->ready && !at->second.start_pending)
      apply(supervision::Ready{client.child, client.incarnation});
  } else if (kind == Kind::ready && present) {
    apply(supervision::Ready{client.child, client.incarnation});
  } else if (kind == Kind::failed && present) {
    if (const auto failed = control::read<control::Failed>(packet))
      at->second.failed_text = failed->text.view();
  } else if (kind == Kind::connected) {
    if (const auto told = control::read<control::Connected>(packet))
      board_.connected(client.role, told->lane);
  } else if (kind == Kind::drained) {
    if (const auto told = control::read<control::Drained>(packet)) board_.drained(client.role, told->lane);
  } else if (kind == Kind::broken) {
    if (const auto told = control::read<control::Broken>(packet)) board_.broken(client.role, told->lane);
  } else if (kind == Kind::acknowledged) {
    if (const auto told = control::read<control::Acknowledged>(packet))
      board_.acknowledged(client.role, told->lane);
  } else if (kind == Kind::letters_gone) {
    if (const auto gone = control::read<control::LettersGone>(packet))
      board_.letters_gone(client.role, *gone);
  } else if (kind == Kind::items_done) {
    if (descriptors.size() == 1) queue_deposits_.look(descriptors.front().get());
  } else if (kind == Kind::quarantine) {
    if (const auto told = control::read<control::Quarantine>(packet)) keep_aside(client, *told, descriptors);
  }
}

RoleId Keeper::role_of(supervision::ChildId child) const {
  if (child == 0) return program_role;
  const auto at = processes_.find(child);
  return at == processes_.end() ? RoleId{0} : at->second.role;
}

}  // namespace troupe::detail
