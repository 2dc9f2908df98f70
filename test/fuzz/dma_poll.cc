// A ring in memory that a device writes at will, and the layout that a program says it has.
#include "../../native/dma_poll.cc"

#include <vector>

#include "input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  DmaPoll::Layout layout = {};
  layout.is_counter = (input.Take<uint8_t>() & 1) != 0;
  layout.width = input.Take<uint8_t>();
  layout.mask = input.Take<uint32_t>();
  layout.value = input.Take<uint32_t>();
  layout.step = input.Take<uint32_t>();
  layout.count = input.Take<uint32_t>();
  // How many one look finds is only how long it takes.
  layout.most = input.Take<uint8_t>();
  layout.offset = input.Take<uint64_t>();
  layout.stride = input.Take<uint64_t>();
  if (!layout.IsSensible()) return 0;
  // Of exactly the size: whoever reads beyond it is found. malloc aligns it as a page is.
  std::vector<char> bytes(input.data(), input.data() + input.size());
  if (!layout.IsWithin(bytes.size())) return 0;
  Memory memory(-1, bytes.data(), bytes.size());
  DmaPoll poll(1, memory, layout);
  for (int look = 0; look < 4; look++) Require(poll.Take() <= layout.most);
  return 0;
}

// The fuzzer's memory is nobody's mapping.
Memory::~Memory() = default;
