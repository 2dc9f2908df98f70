#include "addon.h"

#include "container.h"
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
#include "map_mail.h"
#include "mapping.h"
#include "memory.h"
#include "migration.h"
#include "mmio.h"
#include "polls.h"
#include "region.h"
#include "reset.h"
#include "shared.h"
#include "small_file.h"
#include "socket.h"
#include "uevent.h"
#include "vfio_device.h"
#include "watch.h"

// All that JavaScript sees of the addon. Each function does one thing that the kernel offers: a
// system call, the same one for a row of indexes, the reading of one file. It returns the value or
// -errno; undefined says that it refused its arguments and did nothing.
static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Addon());
  ExportFd(env, exports);
  ExportVfioDevice(env, exports);
  ExportIommufd(env, exports);
  ExportGroup(env, exports);
  ExportContainer(env, exports);
  ExportMapping(env, exports);
  ExportMmio(env, exports);
  ExportMmioRows(env, exports);
  ExportMmioPoll(env, exports);
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
  return exports;
}

NODE_API_MODULE(vfio, Init)
