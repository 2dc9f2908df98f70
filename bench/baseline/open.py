#!/usr/bin/env python3
"""open.py <sysfs device>: what people would script, in the steps of open.c's cdev rounds.

For every number on standard input so many rounds; a JSON object of nanoseconds a line and round.
"""

import ctypes
import fcntl
import json
import os
import sys
from time import perf_counter_ns

IOMMU_IOAS_ALLOC = 0x3B81
VFIO_DEVICE_GET_INFO = 0x3B6B
VFIO_DEVICE_GET_REGION_INFO = 0x3B6C
VFIO_DEVICE_GET_IRQ_INFO = 0x3B6D
VFIO_DEVICE_BIND_IOMMUFD = 0x3B76
VFIO_DEVICE_ATTACH_IOMMUFD_PT = 0x3B77


def struct(name, **fields):
    """A ctypes.Structure of these fields, in their order."""
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


u32, u64, s32 = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32
BindIommufd = struct("BindIommufd", argsz=u32, flags=u32, iommufd=s32, out_devid=u32)
AttachPt = struct("AttachPt", argsz=u32, flags=u32, pt_id=u32)
IoasAlloc = struct("IoasAlloc", size=u32, flags=u32, out_ioas_id=u32)
DeviceInfo = struct(
    "DeviceInfo", argsz=u32, flags=u32, num_regions=u32, num_irqs=u32, cap_offset=u32, pad=u32
)
RegionInfo = struct(
    "RegionInfo", argsz=u32, flags=u32, index=u32, cap_offset=u32, size=u64, offset=u64
)
IrqInfo = struct("IrqInfo", argsz=u32, flags=u32, index=u32, count=u32)


def get_info(device, request, kind, index=None):
    """An info struct, asked for again with the room that the kernel wants; None where it has none."""
    room = ctypes.sizeof(kind)
    while True:
        buffer = bytearray(room)
        info = kind.from_buffer(buffer)
        info.argsz = room
        if index is not None:
            info.index = index
        try:
            fcntl.ioctl(device, request, buffer)
        except OSError:
            return None
        if info.argsz <= room:
            return info
        room = info.argsz


def find_cdev(sysfs_device):
    """The cdev's name and its device numbers."""
    folder = f"{sysfs_device}/vfio-dev"
    [name] = [entry for entry in os.listdir(folder) if entry.startswith("vfio")]
    with open(f"{folder}/{name}/dev", encoding="ascii") as file:
        major, minor = map(int, file.read().split(":"))
    return name, os.makedev(major, minor)


def round_trip(sysfs_device):
    """Opens and closes the device; the nanoseconds of each step."""
    times = {}
    last = perf_counter_ns()

    def lap(step):
        nonlocal last
        now = perf_counter_ns()
        times[step] = now - last
        last = perf_counter_ns()

    name, numbers = find_cdev(sysfs_device)
    lap("lookup")
    device = os.open(f"/dev/vfio/devices/{name}", os.O_RDWR | os.O_CLOEXEC)
    if os.fstat(device).st_rdev != numbers:
        sys.exit(f"{name} is another device")
    iommufd = os.open("/dev/iommu", os.O_RDWR | os.O_CLOEXEC)
    lap("open")
    bind = BindIommufd(argsz=ctypes.sizeof(BindIommufd), iommufd=iommufd)
    fcntl.ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, bind)
    lap("bind")
    info = get_info(device, VFIO_DEVICE_GET_INFO, DeviceInfo)
    for index in range(info.num_regions):
        get_info(device, VFIO_DEVICE_GET_REGION_INFO, RegionInfo, index)
    for index in range(info.num_irqs):
        get_info(device, VFIO_DEVICE_GET_IRQ_INFO, IrqInfo, index)
    lap("info")
    ioas = IoasAlloc(size=ctypes.sizeof(IoasAlloc))
    fcntl.ioctl(iommufd, IOMMU_IOAS_ALLOC, ioas)
    attach = AttachPt(argsz=ctypes.sizeof(AttachPt), pt_id=ioas.out_ioas_id)
    fcntl.ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach)
    lap("attach")
    os.close(device)
    os.close(iommufd)
    lap("close")
    return times


def main():
    for line in sys.stdin:
        rounds = [round_trip(sys.argv[1]) for _ in range(int(line))]
        for times in rounds:
            print(json.dumps(times))
        sys.stdout.flush()


main()
