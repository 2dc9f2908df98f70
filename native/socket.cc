#include "socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <span>

#include "addon.h"
#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"

// Unix sockets whose messages keep their bounds and carry descriptors (SOCK_SEQPACKET, SCM_RIGHTS).
// No call here blocks: -EAGAIN, and the environment's loop tells when it is worth trying again.

namespace {

// Only the socket's own mode says that accepting and connecting shall not wait.
int NewSocket() {
  constexpr int kType = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
  return RetryOnSignal([] { return socket(AF_UNIX, kType, 0); });
}

// Which of the calls that make a socket ready for use failed.
enum ListenStep : int { kListenSocket, kFchmod, kBind, kFchmodat, kListen };
enum ConnectStep : int { kConnectSocket, kConnect };

// Closes what could not be made ready for use.
int Failed(int fd, int step) {
  const int error = errno;
  close(fd);
  return FailedStep(step, error);
}

// The address of a path; empty where it is too long for one.
std::optional<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return std::nullopt;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// socketPair(Uint32Array [handle, handle])
std::optional<Answer> SocketPair(const Napi::CallbackInfo& info) {
  const auto out = Uint32ArrayArgument(info, 0, 2);
  if (!out) return {};
  std::array<int, 2> ends = {};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) < 0) {
    return -errno;
  }
  for (size_t at = 0; at < ends.size(); at++)
    out->data()[at] = AddonOf(info.Env()).fds.Add(std::make_shared<Fd>(ends.at(at)));
  return 0;
}

// Of a socket that is bound: 0, or what failed; it is closed then.
int StartListening(int fd, const std::string& path, uint32_t mode, int backlog) {
  // Past the umask; and never through a link that somebody put in its place.
  if (fchmodat(AT_FDCWD, path.c_str(), mode, AT_SYMLINK_NOFOLLOW) < 0) return Failed(fd, kFchmodat);
  return listen(fd, backlog) < 0 ? Failed(fd, kListen) : 0;
}

// socketListen(path, mode, backlog) -> handle, or the step that failed. Only this user may connect
// before the mode says otherwise: the mode that a socket has when it is bound is that of its file.
std::optional<Answer> SocketListen(const Napi::CallbackInfo& info) {
  const auto path = StringArgument(info, 0);
  const auto mode = Uint32Argument(info, 1);
  const auto backlog = Uint32Argument(info, 2);
  if (!path || !mode || *mode > 0777 || !backlog || *backlog > INT_MAX) {
    return {};
  }
  const auto address = AddressOf(*path);
  if (!address) return FailedStep(kBind, ENAMETOOLONG);
  const int fd = NewSocket();
  if (fd < 0) return fd;
  const auto* bare = reinterpret_cast<const sockaddr*>(&*address);
  if (fchmod(fd, S_IRUSR | S_IWUSR) < 0) return Failed(fd, kFchmod);
  if (bind(fd, bare, sizeof(*address)) < 0) return Failed(fd, kBind);
  const int result = StartListening(fd, *path, *mode, static_cast<int>(*backlog));
  if (result == 0) return FdAnswer(fd);
  unlink(path->c_str());
  return result;
}

// socketConnect(path) -> handle, or the step that failed: connect with EAGAIN where too many wait
// to be accepted
std::optional<Answer> SocketConnect(const Napi::CallbackInfo& info) {
  const auto path = StringArgument(info, 0);
  if (!path) return {};
  const auto address = AddressOf(*path);
  if (!address) return FailedStep(kConnect, ENAMETOOLONG);
  const int fd = NewSocket();
  if (fd < 0) return fd;
  const auto* bare = reinterpret_cast<const sockaddr*>(&*address);
  if (connect(fd, bare, sizeof(*address)) < 0) return Failed(fd, kConnect);
  return FdAnswer(fd);
}

// socketAccept(handle) -> handle; -EAGAIN where nobody waits
std::optional<Answer> SocketAccept(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  if (!fd) return {};
  return FdAnswer(RetryOnSignal([&] { return accept4(*fd, nullptr, nullptr, SOCK_CLOEXEC); }));
}

// An option that is an integer, or -errno.
int OptionOf(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof(value);
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -errno : value;
}

// socketKind(handle) -> 1 of such a socket that does not listen, 0 of another; -ENOTSOCK
std::optional<Answer> SocketKind(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  if (!fd) return {};
  const int type = OptionOf(*fd, SO_TYPE);
  if (type < 0) return type;
  return type == SOCK_SEQPACKET && OptionOf(*fd, SO_DOMAIN) == AF_UNIX &&
         OptionOf(*fd, SO_ACCEPTCONN) == 0;
}

// socketPeer(handle, Int32Array [pid, uid, gid]): who connected, or listened, or made the pair
std::optional<Answer> SocketPeer(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto out = Int32ArrayArgument(info, 1, 3);
  if (!fd || !out) return {};
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -errno;
  out->data()[0] = peer.pid;
  out->data()[1] = static_cast<int32_t>(peer.uid);
  out->data()[2] = static_cast<int32_t>(peer.gid);
  return 0;
}

// SCM_MAX_FD of the kernel: it puts no more into one message.
constexpr size_t kMostFds = 253;

// What else a message may bring, asked for by an option of the socket that others who have it may
// set at any time: credentials and a security label, before the descriptors, and a descriptor of
// the peer's process behind them. Of a longer label the kernel says that it was cut.
constexpr size_t kMostLabel = 256;
constexpr size_t kUnasked =
    CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(kMostLabel) + CMSG_SPACE(sizeof(int));

// Room for the control messages of one message. One begins where this does.
struct Control {
  alignas(cmsghdr) std::array<std::byte, kUnasked + CMSG_SPACE(kMostFds * sizeof(int))> bytes;
};

// socketSend(handle, bytes, Int32Array of descriptor numbers) -> bytes sent, which are all
std::optional<Answer> SocketSend(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto bytes = BytesArgument(info, 1);
  const auto numbers = Int32ArrayArgument(info, 2, 0);
  if (!fd || !bytes || !numbers || numbers->size() > kMostFds) return {};
  iovec data = {bytes->data(), bytes->size()};
  Control control = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!numbers->empty()) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(numbers->size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(numbers->size_bytes());
    std::memcpy(CMSG_DATA(header), numbers->data(), numbers->size_bytes());
  }
  return RetryOnSignal([&] { return sendmsg(*fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
}

// Older headers lack it.
constexpr int kScmPidfd = 4;

// Nobody asked for a descriptor of the peer's process. There is none where the kernel had no number
// left for it.
void CloseUnasked(const cmsghdr* header) {
  int pidfd = -1;
  std::memcpy(&pidfd, CMSG_DATA(header), sizeof(pidfd));
  if (pidfd >= 0) close(pidfd);
}

// The descriptors of a message that was received: the kernel has put them into this process. It
// says no length that is not so, and none is believed to reach beyond the room.
size_t FdsIn(msghdr& message, std::span<int> numbers) {
  size_t count = 0;
  const auto* end = static_cast<const std::byte*>(message.msg_control) + message.msg_controllen;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    const auto room = static_cast<size_t>(end - reinterpret_cast<const std::byte*>(header));
    if (header->cmsg_len < CMSG_LEN(0) || header->cmsg_len > room) break;
    if (header->cmsg_level != SOL_SOCKET) continue;
    const size_t size = header->cmsg_len - CMSG_LEN(0);
    if (header->cmsg_type == kScmPidfd && size >= sizeof(int)) CloseUnasked(header);
    if (header->cmsg_type != SCM_RIGHTS) continue;
    const size_t fits = std::min(size / sizeof(int), numbers.size() - count);
    std::memcpy(&numbers.data()[count], CMSG_DATA(header), fits * sizeof(int));
    count += fits;
  }
  return count;
}

// socketReceive(handle, room, most, Uint32Array for 253 handles, Int32Array [flags, descriptors])
// -> bytes, 0 at the end. There is room for `most` descriptors; a few more come where nothing else
// needs the room of what nobody asked for.
std::optional<Answer> SocketReceive(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto room = BytesArgument(info, 1);
  const auto most = Uint32Argument(info, 2);
  const auto handles = Uint32ArrayArgument(info, 3, kMostFds);
  const auto out = Int32ArrayArgument(info, 4, 2);
  if (!fd || !room || !most || *most > kMostFds || !handles || !out) return {};
  iovec data = {room->data(), room->size()};
  Control control = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = kUnasked + CMSG_SPACE(*most * sizeof(int));
  const int result =
      RetryOnSignal([&] { return recvmsg(*fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC); });
  if (result < 0) return result;
  std::array<int, kMostFds> numbers = {};
  const size_t count = FdsIn(message, numbers);
  for (size_t at = 0; at < count; at++) {
    const int number = numbers.at(at);
    auto received = std::make_shared<Fd>(number, OpenFile::Of(number));
    handles->data()[at] = AddonOf(info.Env()).fds.Add(std::move(received));
  }
  out->data()[0] = message.msg_flags;
  out->data()[1] = static_cast<int32_t>(count);
  return result;
}

}  // namespace

void ExportSocket(Napi::Env env, Napi::Object exports) {
  ExportShortCall<SocketPair>(env, exports, "socketPair");
  ExportShortCall<SocketListen>(env, exports, "socketListen");
  ExportShortCall<SocketConnect>(env, exports, "socketConnect");
  ExportShortCall<SocketAccept>(env, exports, "socketAccept");
  ExportShortCall<SocketKind>(env, exports, "socketKind");
  ExportShortCall<SocketPeer>(env, exports, "socketPeer");
  ExportShortCall<SocketSend>(env, exports, "socketSend");
  ExportShortCall<SocketReceive>(env, exports, "socketReceive");
}
