#include "hot.h"

#include "find_entries.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "answers.h"
#include "arguments.h"
#include "export.h"

namespace {

struct Numbers {
  uint32_t major;
  uint32_t minor;
  bool operator==(const Numbers&) const = default;
};

// What the links that are looked for lead to.
struct Wanted {
  std::vector<Numbers> nodes;
  std::vector<std::string> targets;
};

// What the link leads to is stat'ed without asking a server: a network that hangs keeps nobody.
bool IsWantedNode(int folder, const char* name, const std::vector<Numbers>& nodes) {
  struct statx stat = {};
  if (statx(folder, name, AT_STATX_DONT_SYNC, STATX_TYPE, &stat) < 0) return false;
  if (!S_ISCHR(stat.stx_mode)) return false;
  const Numbers numbers = {stat.stx_rdev_major, stat.stx_rdev_minor};
  return std::find(nodes.begin(), nodes.end(), numbers) != nodes.end();
}

// An entry that goes away meanwhile, or is no link, is not wanted.
bool IsWanted(int folder, const char* name, const Wanted& wanted) {
  std::array<char, PATH_MAX> text;
  const ssize_t length = readlinkat(folder, name, text.data(), text.size());
  if (length <= 0) return false;
  const std::string_view target(text.data(), static_cast<size_t>(length));
  const auto& targets = wanted.targets;
  if (std::find(targets.begin(), targets.end(), target) != targets.end()) return true;
  // What is no path, such as socket:[7], is no node.
  return target.starts_with('/') && IsWantedNode(folder, name, wanted.nodes);
}

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

// The names of a folder's entries that are wanted, or -errno.
using Found = std::variant<int, std::vector<std::string>>;

Found FindIn(const std::string& folder, const Wanted& wanted) {
  const std::unique_ptr<DIR, CloseDir> dir(opendir(folder.c_str()));
  if (!dir) return -errno;
  std::vector<std::string> names;
  for (;;) {
    errno = 0;  // readdir answers null at the end, and where it fails
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this stream.
    const dirent* entry = readdir(dir.get());
    if (!entry) break;
    if (IsWanted(dirfd(dir.get()), entry->d_name, wanted)) names.emplace_back(entry->d_name);
  }
  if (errno != 0) return -errno;
  return names;
}

Napi::Value ValueOf(Napi::Env env, const Found& found) {
  if (const int* error = std::get_if<int>(&found)) return Napi::Number::New(env, *error);
  const auto& names = *std::get_if<std::vector<std::string>>(&found);
  return ArrayFrom(env, names.size(), [&](uint32_t at) { return names[at]; });
}

// findEntries(folders, numbers, targets) -> of every folder the names of its links that lead to a
// character device with one of these `[major, minor, …]`, or whose text is one of `targets`
Call FindEntries(const Napi::CallbackInfo& info) {
  auto folders = StringsArgument(info, 0);
  const auto numbers = Uint32ArrayArgument(info, 1, 0);
  auto targets = StringsArgument(info, 2);
  if (!folders || !numbers || numbers->size() % 2 != 0 || !targets) return {};
  Wanted wanted = {{}, std::move(*targets)};
  for (size_t at = 0; at < numbers->size(); at += 2) {
    wanted.nodes.push_back({(*numbers)[at], (*numbers)[at + 1]});
  }
  return [folders = std::move(*folders), wanted = std::move(wanted)]() -> Answer {
    std::vector<Found> found;
    found.reserve(folders.size());
    for (const std::string& folder : folders) found.push_back(FindIn(folder, wanted));
    return Answer([found = std::move(found)](Napi::Env env) -> Napi::Value {
      return ArrayFrom(env, found.size(), [&](uint32_t at) { return ValueOf(env, found[at]); });
    });
  };
}

}  // namespace

void ExportFindEntries(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<FindEntries>(env, exports, "findEntries");
}
