{
  "targets": [
    {
      "target_name": "vfio",
      "sources": [
        "native/addon.cc",
        "native/answers.cc",
        "native/arguments.cc",
        "native/container.cc",
        "native/eventfd.cc",
        "native/fault_guard.cc",
        "native/fd.cc",
        "native/find_entries.cc",
        "native/feature.cc",
        "native/gfx.cc",
        "native/group.cc",
        "native/hwpt.cc",
        "native/ioas.cc",
        "native/ioeventfd.cc",
        "native/iommufd.cc",
        "native/irqs.cc",
        "native/mapping.cc",
        "native/memory.cc",
        "native/migration.cc",
        "native/mmio.cc",
        "native/mmio_poll.cc",
        "native/mmio_rows.cc",
        "native/polls.cc",
        "native/region.cc",
        "native/reset.cc",
        "native/shared.cc",
        "native/slow_call.cc",
        "native/small_file.cc",
        "native/socket.cc",
        "native/vfio_device.cc",
        "native/watch.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=8",
        "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"
      ],
      "cflags!": ["-Wno-unused-parameter"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-frtti", "-fexceptions"],
      "cflags_cc": [
        "-std=c++20",
        "-fno-exceptions",
        "-fno-rtti",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror"
      ],
      "ldflags": ["-Wl,-z,nodelete"]
    }
  ]
}
