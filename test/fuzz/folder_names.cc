// What getdents64 says is in a folder, which may be of a file system that a user made.
#include "../../native/small_file.cc"
#include "input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> names;
  AppendNamesIn({reinterpret_cast<const char*>(data), size}, names);
  size_t length = 0;
  for (const std::string& name : names) {
    Require(name != "." && name != ".." && name.find('\0') == std::string::npos);
    length += name.size();
  }
  Require(length <= size);
  return 0;
}
