// The control messages of what a peer sent over a channel.
#include <unistd.h>

// No descriptor of this process is closed for numbers that are made up.
#define close(number) static_cast<void>(number)
#include "../../native/socket.cc"
#undef close

#include <vector>

#include "input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Input input(data, size);
  // Of exactly the size, so that a byte beyond it is found.
  std::vector<cmsghdr> room((input.size() + sizeof(cmsghdr) - 1) / sizeof(cmsghdr) + 1);
  std::memcpy(room.data(), input.data(), input.size());
  msghdr message = {};
  message.msg_control = room.data();
  message.msg_controllen = input.size();
  std::array<int, kMostFds> numbers = {};
  Require(FdsIn(message, numbers) <= numbers.size());
  return 0;
}
