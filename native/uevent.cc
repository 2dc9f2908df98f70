#include "uevent.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"

namespace {

// The multicast group to which the kernel sends. What udevd sends on goes to the second.
constexpr uint32_t kKernelGroup = 1;

// Room for what nobody has received yet: as much as asked for where this process may have that
// (CAP_NET_ADMIN of the initial user namespace), otherwise at most net.core.rmem_max.
int SetRoom(int fd, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) == 0) return 0;
  return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

// Which of the calls that make it failed.
enum Step : int { kSocket, kSetsockopt, kBind };

int Failed(int fd, Step step) {
  const int error = errno;
  close(fd);
  return FailedStep(step, error);
}

// ueventOpen(bytes) -> handle, or the step that failed
std::optional<Answer> UeventOpen(const Napi::CallbackInfo& info) {
  const auto bytes = Uint32Argument(info, 0);
  if (!bytes || *bytes > INT_MAX) return {};
  constexpr int kType = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const int fd = RetryOnSignal([] { return socket(AF_NETLINK, kType, NETLINK_KOBJECT_UEVENT); });
  if (fd < 0) return fd;
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kKernelGroup;
  const auto* bare = reinterpret_cast<const sockaddr*>(&address);
  if (SetRoom(fd, static_cast<int>(*bytes)) < 0) return Failed(fd, kSetsockopt);
  if (bind(fd, bare, sizeof(address)) < 0) return Failed(fd, kBind);
  return FdAnswer(fd);
}

// ueventReceive(handle, room) -> bytes; 0 of a message that the kernel did not send to all;
// -EMSGSIZE of one that is longer than the room; -EAGAIN where there is none; -ENOBUFS once where
// some were lost
std::optional<Answer> UeventReceive(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto room = BytesArgument(info, 1);
  if (!fd || !room) return {};
  sockaddr_nl sender = {};
  iovec data = {room->data(), room->size()};
  msghdr message = {};
  message.msg_name = &sender;
  message.msg_namelen = sizeof(sender);
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  const int result = RetryOnSignal([&] { return recvmsg(*fd, &message, MSG_DONTWAIT); });
  if (result < 0) return result;
  // Another process may send here where it is privileged: only the kernel has the port 0.
  const bool is_kernel = message.msg_namelen == sizeof(sender) && sender.nl_family == AF_NETLINK &&
                         sender.nl_pid == 0 && sender.nl_groups == kKernelGroup;
  if (!is_kernel) return 0;
  return (message.msg_flags & MSG_TRUNC) != 0 ? -EMSGSIZE : result;
}

}  // namespace

void ExportUevent(Napi::Env env, Napi::Object exports) {
  ExportShortCall<UeventOpen>(env, exports, "ueventOpen");
  ExportShortCall<UeventReceive>(env, exports, "ueventReceive");
}
