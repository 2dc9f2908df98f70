// What is kept of maps, by what the kernel says it mapped and unmapped; compared with a plain list.
#include "../../native/kept_maps.cc"

#include <algorithm>
#include <vector>

#include "input.h"

// The kernel, to which all maps go back in the end.
int UnmapIoas(int, const MapExtent&, uint64_t* bytes) {
  *bytes = 0;
  return 0;
}
int UnmapContainer(int, uint32_t, uint64_t, uint64_t, uint64_t* bytes) {
  *bytes = 0;
  return 0;
}
bool IsContainerEmpty(int) { return true; }
Memory::~Memory() = default;

namespace {

struct Model {
  MapExtent extent;
  uint64_t serial;
};

// Without any arithmetic that could overflow.
bool Within(const MapExtent& range, const MapExtent& extent) {
  using Wide = unsigned __int128;
  const Wide most = Wide{1} << 64;
  const auto end = [&](const MapExtent& one) {
    return std::min(Wide{one.iova} + one.length, most);
  };
  return range.length > 0 && range.ioas == extent.ioas && range.iova <= extent.iova &&
         end(extent) <= end(range);
}

MapExtent TakeExtent(Input& input) {
  // Few address spaces, and often the same places: what meets nothing tells nothing.
  const uint32_t ioas = input.Take<uint8_t>() % 3;
  const uint8_t shift = input.Take<uint8_t>() % 61;
  const uint64_t iova = uint64_t{input.Take<uint8_t>()} << shift;
  const uint64_t length = uint64_t{input.Take<uint8_t>()} << (input.Take<uint8_t>() % 57);
  return {ioas, iova, length};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  KeptMaps maps;
  std::vector<Model> model;
  uint64_t serial = 0;
  while (input.size() > 0) {
    const uint8_t what = input.Take<uint8_t>();
    const MapExtent extent = TakeExtent(input);
    const uint64_t moment = serial - std::min<uint64_t>(serial, what >> 4);
    const auto those = [&](const Model& one) {
      return one.serial <= moment && Within(extent, one.extent);
    };
    switch (what % 4) {
      case 0:
        // The kernel maps nothing of no length.
        if (extent.length == 0) break;
        maps.Add(extent, nullptr);
        model.push_back({extent, ++serial});
        break;
      case 1:
        maps.RemoveWithin(extent, moment);
        std::erase_if(model, those);
        break;
      case 2:
        maps.RemoveExactly(extent, moment);
        std::erase_if(model, [&](const Model& one) {
          return extent.length > 0 && one.serial <= moment && one.extent == extent;
        });
        break;
      default: {
        uint64_t bytes = 0;
        for (const Model& one : model) bytes += those(one) ? one.extent.length : 0;
        Require(maps.BytesWithin(extent, moment) == bytes);
        for (const auto& [copy, memory] : maps.CopiesOf(extent, 7, 0)) {
          Require(copy.ioas == 7 && copy.length > 0 && copy.length <= extent.length);
        }
      }
    }
    Require(maps.empty() == model.empty());
  }
  return 0;
}
