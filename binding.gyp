{
  # A checkout builds with --warnings_are_errors=true; other people's compilers know warnings that ours
  # do not.
  "variables": { "warnings_are_errors%": "false" },
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
        "native/glibc_floor.cc",
        "native/group.cc",
        "native/hwpt.cc",
        "native/ioas.cc",
        "native/ioeventfd.cc",
        "native/iommufd.cc",
        "native/irq_owners.cc",
        "native/irqs.cc",
        "native/kept_maps.cc",
        "native/mapping.cc",
        "native/memory.cc",
        "native/migration.cc",
        "native/mmio.cc",
        "native/mmio_poll.cc",
        "native/mmio_rows.cc",
        "native/open_file.cc",
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
      # RTTI stays on: without it std::make_shared needs a symbol of a newer libstdc++ than Node does.
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-rtti", "-fexceptions"],
      "cflags_cc": [
        "-O2",
        "-std=c++20",
        "-fno-exceptions",
        "-frtti",
        "-fvisibility=hidden",
        "-fvisibility-inlines-hidden",
        "-ffunction-sections",
        "-fdata-sections",
        "-fstack-protector-strong",
        "-U_FORTIFY_SOURCE",
        "-D_FORTIFY_SOURCE=2",
        "-Wall",
        "-Wextra",
        "-Wconversion"
      ],
      "conditions": [["warnings_are_errors=='true'", { "cflags_cc": ["-Werror"] }]],
      # The process keeps the handler of SIGBUS: the end of a worker must not unload it.
      "ldflags": [
        "-Wl,-z,nodelete",
        "-Wl,-z,relro",
        "-Wl,-z,now",
        "-Wl,-z,noexecstack",
        "-Wl,--gc-sections"
      ]
    }
  ]
}
