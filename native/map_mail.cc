#include "hot.h"

#include "map_mail.h"

#include <memory>
#include <optional>
#include <utility>

#include "addon.h"
#include "export.h"
#include "external_buffer.h"
#include "ioas.h"

// Made on the JavaScript thread, which is the only one that can close what the handles name: so no
// leases are needed, as those of the calls on other threads are.

namespace {

constexpr int32_t kRefused = 1;

MapPlace PlaceOf(const MapMail& mail) { return {mail.ioas, mail.flags, mail.length, mail.iova}; }

int32_t Answered(MapMail& mail, int result, const MapPlace& place) {
  if (result < 0) return result;
  mail.iova = place.iova;
  return 0;
}

// mapMemoryByMail(): IOMMU_IOAS_MAP of a part of a memory of ours
int32_t MapMemory(Addon& addon, MapMail& mail) {
  const Fd* iommufd = addon.fds.Find(mail.iommufd);
  std::shared_ptr<Memory> memory = addon.memories.Share(mail.memory);
  if (iommufd == nullptr || !memory || !memory->Has(mail.offset, mail.length)) return kRefused;
  MapPlace place = PlaceOf(mail);
  const uint64_t address = AddressOf(memory->data() + mail.offset);
  return Answered(mail, MapAddress(*iommufd, &place, address, std::move(memory)), place);
}

// mapMemoryFileByMail(): IOMMU_IOAS_MAP_FILE of the same
int32_t MapMemoryFile(Addon& addon, MapMail& mail) {
  const Fd* iommufd = addon.fds.Find(mail.iommufd);
  const Memory* memory = addon.memories.Find(mail.memory);
  if (iommufd == nullptr || memory == nullptr) return kRefused;
  if (!memory->Has(mail.offset, mail.length)) return kRefused;
  MapPlace place = PlaceOf(mail);
  return Answered(mail, MapFile(*iommufd, &place, memory->fd(), mail.offset), place);
}

// unmapByMail(): IOMMU_IOAS_UNMAP
int32_t Unmap(Addon& addon, MapMail& mail) {
  const Fd* iommufd = addon.fds.Find(mail.iommufd);
  if (iommufd == nullptr) return kRefused;
  const MapExtent range = {mail.ioas, mail.iova, mail.length};
  const int result = UnmapRange(*iommufd, range, &mail.length);
  return result < 0 ? result : 0;
}

using MapCall = int32_t (*)(Addon& addon, MapMail& mail);

template <MapCall call>
napi_value ByMail(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data) != napi_ok) return nullptr;
  auto* addon = static_cast<Addon*>(data);
  addon->map_mail->status = call(*addon, *addon->map_mail);
  return nullptr;
}

// mapMail() -> the same ArrayBuffer each time
std::optional<Answer> MapMailOf(const Napi::CallbackInfo&) {
  return Answer([](Napi::Env env) { return AddonOf(env).map_mail_owner.Value(); });
}

}  // namespace

void ExportMapMail(Napi::Env env, Napi::Object exports) {
  Addon& addon = AddonOf(env);
  void* words = KeptWords(env, sizeof(MapMail), &addon.map_mail_owner);
  // A worker that is being terminated while it loads the addon.
  if (words == nullptr) return;
  addon.map_mail = static_cast<MapMail*>(words);
  ExportShortCall<MapMailOf>(env, exports, "mapMail");
  ExportPlain(env, exports, "mapMemoryByMail", ByMail<MapMemory>);
  ExportPlain(env, exports, "mapMemoryFileByMail", ByMail<MapMemoryFile>);
  ExportPlain(env, exports, "unmapByMail", ByMail<Unmap>);
}
