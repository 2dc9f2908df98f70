{
  # A checkout builds with --warnings_are_errors=true; other people's compilers know warnings that ours
  # do not.
  "variables": { "warnings_are_errors%": "false" },
  "targets": [
    {
      "target_name": "vfio",
      "sources": [
        "addon.cc",
        "answers.cc",
        "arguments.cc",
        "container.cc",
        "dma_poll.cc",
        "eventfd.cc",
        "fault_guard.cc",
        "fd.cc",
        "find_entries.cc",
        "feature.cc",
        "gfx.cc",
        "glibc_floor.cc",
        "group.cc",
        "hwpt.cc",
        "ioas.cc",
        "ioeventfd.cc",
        "iommufd.cc",
        "irq_owners.cc",
        "irqs.cc",
        "kept_maps.cc",
        "kvm.cc",
        "map_mail.cc",
        "mapping.cc",
        "memory.cc",
        "migration.cc",
        "mmio.cc",
        "mmio_poll.cc",
        "mmio_rows.cc",
        "notices.cc",
        "open_file.cc",
        "polls.cc",
        "prepared.cc",
        "region.cc",
        "reset.cc",
        "shared.cc",
        "slow_call.cc",
        "small_file.cc",
        "socket.cc",
        "uevent.cc",
        "vfio_device.cc",
        "viommu.cc",
        "watch.cc"
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
        "-Os",
        "-std=c++20",
        "-fno-exceptions",
        # Nothing unwinds this code: no exception passes it. The tables are a tenth of a packed addon.
        "-fno-asynchronous-unwind-tables",
        "-fno-unwind-tables",
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
