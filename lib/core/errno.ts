// What the addon answers where a call fails: -errno of <asm-generic/errno.h>, the same on x86-64
// and arm64. `os.constants` has them too, but is 0.35 ms of this package's import.

export const EPERM = -1;
export const ENOENT = -2;
export const EIO = -5;
export const EBADF = -9;
export const EAGAIN = -11;
export const EACCES = -13;
export const EBUSY = -16;
export const ENODEV = -19;
export const ENOTDIR = -20;
export const EISDIR = -21;
export const EINVAL = -22;
export const ENFILE = -23;
export const EMFILE = -24;
export const ENOTTY = -25;
export const ENOSPC = -28;
export const ENOMSG = -42;
export const EMSGSIZE = -90;
export const EPROTOTYPE = -91;
export const EOPNOTSUPP = -95;
export const EAFNOSUPPORT = -97;
export const ECONNRESET = -104;
export const ENOBUFS = -105;
export const ETIMEDOUT = -110;
export const ECANCELED = -125;
