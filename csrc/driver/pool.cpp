#include "pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <vector>

#include "parallel.hpp"

namespace pyrnnfast {

namespace {

constexpr Size kPage = 4096;

struct Pool {
  std::mutex mutex;
  std::vector<Block> kept;  // in the order in which they came back
  Size used = 0, idle = 0, most = 0;  // bytes in use and kept; the most that ever was in use
};

Pool &pool() {
  static Pool *const only = new Pool;  // never destroyed: a tape may outlive every static
  return *only;
}

Size page_of(Size bytes) { return bytes >= kHugePage ? kHugePage : kPage; }

// Large ones by mmap: malloc may keep parts of what it is given back.
Block fresh_block(Size bytes) {
  if (bytes < kHugePage) {
    void *data = std::aligned_alloc(std::size_t(kPage), std::size_t(bytes));
    if (data == nullptr) throw std::bad_alloc();
    return {data, bytes};
  }
  void *whole = mmap(nullptr, std::size_t(bytes) + std::size_t(kHugePage), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (whole == MAP_FAILED) throw std::bad_alloc();
  char *const first = static_cast<char *>(whole);
  const Size before = kHugePage - Size(reinterpret_cast<std::uintptr_t>(first) % std::uintptr_t(kHugePage));
  munmap(first, std::size_t(before));
  if (before < kHugePage) munmap(first + before + bytes, std::size_t(kHugePage - before));
  madvise(first + before, std::size_t(bytes), MADV_HUGEPAGE);  // a wish: fewer faults and table walks
  return {first + before, bytes};
}

void let_go(Block block) {
  if (block.bytes < kHugePage)
    std::free(block.data);
  else
    munmap(block.data, std::size_t(block.bytes));
}

// Takes block i out of those that are kept.
Block removed(Pool &p, std::size_t i) {
  const Block block = p.kept[i];
  p.kept.erase(p.kept.begin() + std::ptrdiff_t(i));
  p.idle -= block.bytes;
  return block;
}

}  // namespace

Block take_block(Size bytes) {
  bytes = (bytes + page_of(bytes) - 1) / page_of(bytes) * page_of(bytes);
  if (in_forked_child()) return fresh_block(bytes);  // another thread may have held the mutex at the fork
  Pool &p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  const auto waste = [&](const Block &block) {
    return block.bytes < bytes ? std::numeric_limits<Size>::max() : block.bytes - bytes;
  };
  std::size_t best = 0;
  for (std::size_t i = 1; i < p.kept.size(); ++i)
    if (waste(p.kept[i]) < waste(p.kept[best])) best = i;
  Block block;
  if (!p.kept.empty() && waste(p.kept[best]) <= bytes / 4) {
    block = removed(p, best);
  } else {
    while (!p.kept.empty() && p.used + p.idle + bytes > p.most + p.most / 2) let_go(removed(p, 0));
    block = fresh_block(bytes);
  }
  p.used += block.bytes;
  p.most = std::max(p.most, p.used);
  return block;
}

void give_block(Block block) noexcept {
  if (in_forked_child()) return let_go(block);
  Pool &p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  if (block.bytes >= kHugePage) madvise(block.data, std::size_t(block.bytes), MADV_FREE);
  p.used -= block.bytes;
  try {
    p.kept.push_back(block);
    p.idle += block.bytes;
  } catch (const std::bad_alloc &) {
    let_go(block);
  }
}

}  // namespace pyrnnfast
