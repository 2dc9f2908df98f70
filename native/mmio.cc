#include "hot.h"

#include "mmio.h"

#include <cstring>

#include "addon.h"
#include "export.h"
#include "external_buffer.h"
#include "fault_guard.h"

// Single accesses. What an argument and a result cost in Node-API would be most of their time, so
// they take neither: JavaScript writes into the mailbox where to go, calls, and finds there what
// came of it. Refused is what does not lie in the mapping or is not aligned, and a handle that
// names nothing.

namespace {

// Where the mailbox's words lead; null where they are refused.
template <typename T>
volatile std::byte* Place(const Mailbox& mailbox, HandleTable<Mapping>& mappings, bool write) {
  uint64_t offset = 0;
  if (!OffsetOf(mailbox, &offset)) return nullptr;
  const Mapping* mapping = mappings.Find(mailbox.handle);
  if (mapping == nullptr || !mapping->Holds(offset, sizeof(T))) return nullptr;
  if (!mapping->IsAligned(offset, sizeof(T))) return nullptr;
  if (write && !mapping->IsWritable(offset, sizeof(T))) return nullptr;
  return mapping->at(offset);
}

template <typename T>
int32_t Read(Mailbox& mailbox, HandleTable<Mapping>& mappings) {
  const volatile std::byte* place = Place<T>(mailbox, mappings, false);
  if (place == nullptr) return kRefused;
  return Guarded(place, sizeof(T), [&] { mailbox.value = Load<T>(place); });
}

template <typename T>
int32_t Write(Mailbox& mailbox, HandleTable<Mapping>& mappings) {
  volatile std::byte* place = Place<T>(mailbox, mappings, true);
  if (place == nullptr) return kRefused;
  return Guarded(place, sizeof(T), [&] { Store<T>(place, static_cast<T>(mailbox.value)); });
}

int32_t Barrier(Mailbox&, HandleTable<Mapping>&) {
  FullBarrier();
  return kDone;
}

using Access = int32_t (*)(Mailbox& mailbox, HandleTable<Mapping>& mappings);

template <Access access>
napi_value AccessByMail(napi_env env, napi_callback_info info) {
  Addon* addon = AddonOfCall(env, info);
  if (addon == nullptr) return nullptr;
  addon->mailbox->status = access(*addon->mailbox, addon->mappings);
  return nullptr;
}

// mailbox() -> the same ArrayBuffer each time
std::optional<Answer> MailboxOf(const Napi::CallbackInfo&) {
  return Answer([](Napi::Env env) { return AddonOf(env).mailbox_owner.Value(); });
}

void ExportMailbox(Napi::Env env, Napi::Object exports) {
  Addon& addon = AddonOf(env);
  void* words = KeptWords(env, sizeof(Mailbox), &addon.mailbox_owner);
  // Any call fails, and throws, in a worker that is being terminated while it loads the addon.
  if (words == nullptr) return;
  addon.mailbox = static_cast<Mailbox*>(words);
  ExportShortCall<MailboxOf>(env, exports, "mailbox");
}

}  // namespace

void ExportPlain(Napi::Env env, Napi::Object exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, env.GetInstanceData<Addon>(),
                           &function) != napi_ok) {
    Napi::Error::New(env).ThrowAsJavaScriptException();
    return;
  }
  exports[name] = Napi::Value(env, function);
}

void ExportMmio(Napi::Env env, Napi::Object exports) {
  ExportMailbox(env, exports);
  ExportPlain(env, exports, "read8", AccessByMail<Read<uint8_t>>);
  ExportPlain(env, exports, "read16", AccessByMail<Read<uint16_t>>);
  ExportPlain(env, exports, "read32", AccessByMail<Read<uint32_t>>);
  ExportPlain(env, exports, "read64", AccessByMail<Read<uint64_t>>);
  ExportPlain(env, exports, "write8", AccessByMail<Write<uint8_t>>);
  ExportPlain(env, exports, "write16", AccessByMail<Write<uint16_t>>);
  ExportPlain(env, exports, "write32", AccessByMail<Write<uint32_t>>);
  ExportPlain(env, exports, "write64", AccessByMail<Write<uint64_t>>);
  ExportPlain(env, exports, "barrier", AccessByMail<Barrier>);
}
