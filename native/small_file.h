#pragma once

#include <napi.h>

// Reading the small text files and folders of a kernel's file system, which never wait for a disk.
void ExportSmallFile(Napi::Env env, Napi::Object exports);
