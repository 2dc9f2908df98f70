// Runs a target without a fuzzer: replay SEED RUNS FILE… gives it the files, and then as many
// changes of them, which the seed decides. It ends by a signal where the target does.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "input.h"

using Bytes = std::vector<uint8_t>;

static Bytes ReadFile(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

static void Change(Bytes& bytes, std::mt19937_64& random) {
  const auto below = [&](size_t most) { return most == 0 ? 0 : random() % most; };
  for (size_t left = 1 + below(4); left > 0; left--) {
    const auto at = static_cast<std::ptrdiff_t>(below(bytes.size() + 1));
    switch (below(4)) {
      case 0:
        bytes.insert(bytes.begin() + at, static_cast<uint8_t>(random()));
        break;
      case 1:
        bytes.resize(static_cast<size_t>(at));
        break;
      default:
        if (bytes.empty()) break;
        bytes[below(bytes.size())] = below(2) != 0 ? static_cast<uint8_t>(random()) : 0xff;
    }
  }
}

int main(int argc, char** argv) {
  std::vector<Bytes> corpus;
  for (int at = 3; at < argc; at++) corpus.push_back(ReadFile(argv[at]));
  for (const Bytes& bytes : corpus) LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  if (argc < 4) return 1;
  std::mt19937_64 random(std::stoull(argv[1]));
  const unsigned long long runs = std::stoull(argv[2]);
  for (unsigned long long run = 0; run < runs; run++) {
    Bytes bytes = corpus[random() % corpus.size()];
    Change(bytes, random);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%zu files and %llu changes of them\n", corpus.size(), runs);
}
