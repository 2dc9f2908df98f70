// What getdents64 says is in a folder, which may be of a file system that a user made.
#include "../../native/small_file.cc"
#include "input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // In words, since entries are aligned, and as many bytes as there are.
  std::vector<uint64_t> room((size + 7) / 8 + 1);
  if (size > 0) std::memcpy(room.data(), data, size);
  std::vector<std::string> names;
  AppendNamesIn({reinterpret_cast<const char*>(room.data()), size}, names);
  size_t length = 0;
  for (const std::string& name : names) {
    Require(name != "." && name != ".." && name.find('\0') == std::string::npos);
    length += name.size();
  }
  Require(length <= size);
  return 0;
}
