#include "notices.h"

#include <poll.h>
#include <time.h>

#include <cerrno>
#include <utility>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "irq_owners.h"
#include "mmio.h"

void Notices::Watch(uint32_t kind, const Fd* device, std::shared_ptr<Fd> eventfd) {
  const std::lock_guard lock(mutex_);
  eventfds_[kind] = std::move(eventfd);
  watchers_[kind] = device;
  state_.fetch_and(~(Left(kind) | GivenUp(kind)));
  state_.fetch_or(Heard(kind));
}

void Notices::Leave(const Fd* device) {
  const std::lock_guard lock(mutex_);
  for (uint32_t kind = 0; kind < kKinds; kind++) {
    if (watchers_[kind] != device) continue;
    watchers_[kind] = nullptr;
    state_.fetch_or(Left(kind));
  }
}

void Notices::Tell(uint32_t kind) { state_.fetch_or(Told(kind)); }

uint32_t Notices::Look() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  const int64_t tick = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  if (asked_at_.exchange(tick, std::memory_order_relaxed) != tick) Ask();
  return state_.load(std::memory_order_acquire);
}

void Notices::Ask() {
  const std::lock_guard lock(mutex_);
  for (uint32_t kind = 0; kind < kKinds; kind++) {
    if (!eventfds_[kind]) continue;
    // Its owner, another thread perhaps, may close it at any moment, which waits for the lease.
    const FdLease lease(eventfds_[kind]);
    pollfd asked = {lease.number(), POLLIN, 0};
    if (lease.number() < 0) {
      eventfds_[kind] = nullptr;
      state_.fetch_or(GivenUp(kind));
      state_.fetch_and(~Heard(kind));
    } else if (poll(&asked, 1, 0) == 1 && (asked.revents & POLLIN) != 0) {
      Tell(kind);
    }
  }
}

namespace {

struct Named {
  std::shared_ptr<Fd> fd;
  uint32_t kind;
};

// (device, kind), of a device that has joined the owners of its interrupts
std::optional<Named> NamedArguments(const Napi::CallbackInfo& info) {
  std::shared_ptr<Fd> fd = NamedArgument(info, 0, AddonOf(info.Env()).fds);
  const auto kind = Uint32Argument(info, 1);
  if (!fd || !fd->irq_owners() || !kind || *kind >= Notices::kKinds) return std::nullopt;
  return Named{std::move(fd), *kind};
}

// noticesWatch(device, kind, eventfd, or 0 where the device never tells)
std::optional<Answer> NoticesWatch(const Napi::CallbackInfo& info) {
  const auto named = NamedArguments(info);
  const auto handle = Uint32Argument(info, 2);
  std::shared_ptr<Fd> eventfd = NamedArgument(info, 2, AddonOf(info.Env()).fds);
  if (!named || !handle || (*handle != 0 && !eventfd)) return {};
  named->fd->irq_owners()->notices()->Watch(named->kind, named->fd.get(), std::move(eventfd));
  return 0;
}

// noticesTell(device, kind)
std::optional<Answer> NoticesTell(const Napi::CallbackInfo& info) {
  const auto named = NamedArguments(info);
  if (!named) return {};
  named->fd->irq_owners()->notices()->Tell(named->kind);
  return 0;
}

// What the mailbox's handle names, by that: its bits, or -EBADF.
int32_t LookAt(Notices* notices) {
  return notices == nullptr ? -EBADF : static_cast<int32_t>(notices->Look());
}

Notices* OfDevice(Addon& addon) {
  const Fd* fd = addon.fds.Find(addon.mailbox->handle);
  return fd == nullptr || !fd->irq_owners() ? nullptr : fd->irq_owners()->notices().get();
}

Notices* OfMapping(Addon& addon) {
  const Mapping* mapping = addon.mappings.Find(addon.mailbox->handle);
  return mapping == nullptr ? nullptr : mapping->notices();
}

template <Notices* (*find)(Addon& addon)>
napi_value LookByMail(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data) != napi_ok) return nullptr;
  auto* addon = static_cast<Addon*>(data);
  addon->mailbox->status = LookAt(find(*addon));
  return nullptr;
}

}  // namespace

void ExportNotices(Napi::Env env, Napi::Object exports) {
  ExportShortCall<NoticesWatch>(env, exports, "noticesWatch");
  ExportShortCall<NoticesTell>(env, exports, "noticesTell");
  ExportPlain(env, exports, "noticesOfDevice", LookByMail<OfDevice>);
  ExportPlain(env, exports, "noticesOfMapping", LookByMail<OfMapping>);
}
