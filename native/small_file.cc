#include "small_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"

namespace {

// No attribute of sysfs is longer than a page.
constexpr size_t kMostBytes = 4096;

// What was read: -errno, a text, or the names in a folder. Made on any thread.
using Content = std::variant<int, std::string, std::vector<std::string>>;

// A path is looked up from the folder that the descriptor `at` is, as openat does.

// O_NONBLOCK: what stands in a file's place may be a FIFO, whose open could wait for ever.
Content ReadText(int at, const char* path) {
  const int fd = RetryOnSignal([&] { return openat(at, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); });
  if (fd < 0) return fd;
  std::array<char, kMostBytes> text;
  const int length = RetryOnSignal([&] { return read(fd, text.data(), text.size()); });
  close(fd);
  if (length < 0) return length;
  std::string_view all(text.data(), static_cast<size_t>(length));
  if (all.ends_with('\n')) all.remove_suffix(1);
  return std::string(all);
}

Content ReadPresence(int at, const char* path) {
  return faccessat(at, path, F_OK, 0) < 0 ? -errno : 0;
}

Content ReadTarget(int at, const char* path) {
  std::array<char, PATH_MAX> target;
  const ssize_t length = readlinkat(at, path, target.data(), target.size());
  if (length < 0) return -errno;
  return std::string(target.data(), static_cast<size_t>(length));
}

// Appends the names in what getdents64 filled, without '.' and '..'. An entry says itself where the
// next one begins.
void AppendNamesIn(std::span<const char> entries, std::vector<std::string>& names) {
  constexpr size_t kName = offsetof(dirent, d_name);
  while (entries.size() > kName) {
    decltype(dirent::d_reclen) length = 0;
    std::memcpy(&length, &entries[offsetof(dirent, d_reclen)], sizeof(length));
    if (length <= kName || length > entries.size()) return;
    const char* start = &entries[kName];
    const std::string_view name(start, strnlen(start, length - kName));
    if (name != "." && name != "..") names.emplace_back(name);
    entries = entries.subspan(length);
  }
}

// Appends the names in a folder; 0 or -errno. readdir would make three system calls more for a
// folder of one entry. glibc has getdents64 since 2.30 only, musl no dirent64; where numbers of
// files have 64 bits, dirent is the kernel's.
int AppendNames(int folder, std::vector<std::string>& names) {
  static_assert(sizeof(ino_t) == 8 && sizeof(off_t) == 8);
  alignas(dirent) std::array<char, kMostBytes> entries;
  for (;;) {
    const int length = RetryOnSignal(
        [&] { return syscall(SYS_getdents64, folder, entries.data(), entries.size()); });
    if (length <= 0) return length;
    AppendNamesIn(std::span(entries).first(static_cast<size_t>(length)), names);
  }
}

Content ReadNames(int at, const char* path) {
  const int fd =
      RetryOnSignal([&] { return openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return fd;
  std::vector<std::string> names;
  const int result = AppendNames(fd, names);
  close(fd);
  if (result < 0) return result;
  return names;
}

Napi::Value ValueOf(Napi::Env env, const Content& content) {
  if (const auto* text = std::get_if<std::string>(&content)) return Napi::String::New(env, *text);
  if (const auto* names = std::get_if<std::vector<std::string>>(&content)) {
    return ArrayFrom(env, names->size(), [&](uint32_t at) { return names->data()[at]; });
  }
  return Napi::Number::New(env, *std::get_if<int>(&content));
}

using Read = Content (*)(int at, const char* path);

// readSmallFile(path) -> its text without the last newline, as far as a page holds it;
// listFolder(path) -> the names in it
template <Read read>
std::optional<Answer> ReadHere(const Napi::CallbackInfo& info) {
  const auto path = StringArgument(info, 0);
  if (!path) return {};
  return Answer(
      [content = read(AT_FDCWD, path->c_str())](Napi::Env env) { return ValueOf(env, content); });
}

struct Entry {
  std::string path;
  Read read;
  std::string link;  // without which it is not read; empty: it always is
};

// The kind of an entry is its last character, as `ls -F` marks it; `?` asks only whether it is
// there. A file that is read only while a link is there has that behind a colon.
Entry ParseEntry(const std::string& marked) {
  const std::string path = marked.substr(0, marked.empty() ? 0 : marked.size() - 1);
  if (marked.ends_with('@')) return {path, ReadTarget, {}};
  if (marked.ends_with('/')) return {path, ReadNames, {}};
  if (marked.ends_with('?')) return {path, ReadPresence, {}};
  const size_t colon = marked.find(':');
  if (colon == std::string::npos) return {marked, ReadText, {}};
  return {marked.substr(0, colon), ReadText, marked.substr(colon + 1)};
}

Content ReadEntry(int folder, const Entry& entry) {
  const bool is_always = entry.link.empty();
  // As if it were not there: reading it may wait, where the link is not.
  if (!is_always && std::holds_alternative<int>(ReadTarget(folder, entry.link.c_str())))
    return -ENOENT;
  return entry.read(folder, entry.path.c_str());
}

// All from one opened folder: what takes its place meanwhile, under the same name, is not read.
void ReadEntries(const std::string& folder, const std::vector<Entry>& entries,
                 std::vector<Content>& contents) {
  const int fd =
      RetryOnSignal([&] { return open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); });
  for (const Entry& entry : entries) {
    contents.push_back(fd < 0 ? Content(fd) : ReadEntry(fd, entry));
  }
  if (fd >= 0) close(fd);
}

Napi::Value ArrayOf(Napi::Env env, const std::vector<Content>& contents) {
  return ArrayFrom(env, contents.size(), [&](uint32_t at) { return ValueOf(env, contents[at]); });
}

// readFolders(folders, entries) -> the entries of the first folder in their order, then those of
// the next; slow not for its files, but for their number
Call ReadFolders(const Napi::CallbackInfo& info) {
  auto folders = StringsArgument(info, 0);
  const auto marked = StringsArgument(info, 1);
  if (!folders || !marked) return {};
  std::vector<Entry> entries;
  for (const std::string& entry : *marked) entries.push_back(ParseEntry(entry));
  return [folders = std::move(*folders), entries = std::move(entries)]() -> Answer {
    std::vector<Content> contents;
    contents.reserve(folders.size() * entries.size());
    for (const std::string& folder : folders) ReadEntries(folder, entries, contents);
    return Answer([contents = std::move(contents)](Napi::Env env) -> Napi::Value {
      return ArrayOf(env, contents);
    });
  };
}

}  // namespace

void ExportSmallFile(Napi::Env env, Napi::Object exports) {
  ExportShortCall<ReadHere<ReadText>>(env, exports, "readSmallFile");
  ExportShortCall<ReadHere<ReadNames>>(env, exports, "listFolder");
  ExportSlowCall<ReadFolders>(env, exports, "readFolders");
}
