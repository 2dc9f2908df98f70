#include "addon.h"

#include "container.h"
#include "dma_poll.h"
#include "eventfd.h"
#include "fd.h"
#include "feature.h"
#include "find_entries.h"
#include "gfx.h"
#include "group.h"
#include "hwpt.h"
#include "ioas.h"
#include "ioeventfd.h"
#include "iommufd.h"
#include "irq_owners.h"
#include "irqs.h"
#include "kvm.h"
#include "map_mail.h"
#include "mapping.h"
#include "memory.h"
#include "migration.h"
#include "mmio.h"
#include "notices.h"
#include "polls.h"
#include "prepared.h"
#include "region.h"
#include "reset.h"
#include "shared.h"
#include "small_file.h"
#include "socket.h"
#include "uevent.h"
#include "vfio_device.h"
#include "viommu.h"
#include "watch.h"

constinit thread_local LastCaller last_caller = {};

Addon* AskForAddon(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data) != napi_ok) return nullptr;
  last_caller = {env, static_cast<Addon*>(data)};
  return last_caller.addon;
}

// All that JavaScript sees of the addon. Each function does one thing that the kernel offers: a
// system call, the same one for a row of indexes, the reading of one file. It returns the value or
// -errno; undefined says that it refused its arguments and did nothing.
static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Addon());
  ExportFd(env, exports);
  ExportVfioDevice(env, exports);
  ExportViommu(env, exports);
  ExportIommufd(env, exports);
  ExportGroup(env, exports);
  ExportContainer(env, exports);
  ExportMapping(env, exports);
  ExportMmio(env, exports);
  ExportMmioRows(env, exports);
  ExportMmioPoll(env, exports);
  ExportPrepared(env, exports);
  ExportDmaPoll(env, exports);
  ExportNotices(env, exports);
  ExportRegion(env, exports);
  ExportIoas(env, exports);
  ExportMapMail(env, exports);
  ExportHwpt(env, exports);
  ExportMemory(env, exports);
  ExportShared(env, exports);
  ExportSmallFile(env, exports);
  ExportFindEntries(env, exports);
  ExportWatch(env, exports);
  ExportEventfd(env, exports);
  ExportPolls(env, exports);
  ExportSocket(env, exports);
  ExportUevent(env, exports);
  ExportIrqs(env, exports);
  ExportIrqOwners(env, exports);
  ExportReset(env, exports);
  ExportFeature(env, exports);
  ExportMigration(env, exports);
  ExportGfx(env, exports);
  ExportIoeventfd(env, exports);
  ExportKvm(env, exports);
  return exports;
}

NODE_API_MODULE(vfio, Init)
