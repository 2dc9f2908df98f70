// What keeps the addon loadable where glibc is 2.28 and libstdc++ that of GCC 8, which are what
// Node's own binaries need. The headers of newer compilers refer to two symbols that those lack, so
// they are defined here, hidden from everybody else. test/package/binaries.test.ts reads the
// versions.

#include <cstdlib>

// NOLINTBEGIN: reserved names are what this is about.

#define HIDDEN __attribute__((visibility("hidden")))

// Reading it is an optimisation of std::shared_ptr for programs of one thread; Node has several.
extern "C" {
HIDDEN extern const char __libc_single_threaded;
const char __libc_single_threaded = 0;
}

namespace std {

// Where an allocation's size overflows. Nothing here catches exceptions: throwing would end the
// process, too.
[[noreturn]] HIDDEN void __throw_bad_array_new_length() { abort(); }

}  // namespace std

// NOLINTEND
