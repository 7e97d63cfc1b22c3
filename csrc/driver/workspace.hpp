// Aligned memory that lives as long as a call, a pack or a tape. Allocated before the parallel region, never
// inside it.
#pragma once

#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "pool.hpp"

namespace pyrnnfast {

constexpr Size kAlignment = 64;

template <class T> class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Size count, bool zero = false) {
    if (count < 0 || count > (std::numeric_limits<Size>::max() - kHugePage) / Size(sizeof(T)))
      throw std::bad_alloc();
    const bool large = count >= kHugePage / Size(sizeof(T));
    const Size unit = large ? kHugePage : kAlignment;
    const Size bytes = (count * Size(sizeof(T)) + unit - 1) / unit * unit;
    if (bytes == 0) return;
    if (large)
      block_ = take_block(bytes);
    else
      block_.data = std::aligned_alloc(std::size_t(unit), std::size_t(bytes));
    if (block_.data == nullptr) throw std::bad_alloc();
    if (zero) std::memset(block_.data, 0, static_cast<std::size_t>(bytes));
  }
  Buffer(Buffer &&other) noexcept : block_(std::exchange(other.block_, {})) {}
  Buffer &operator=(Buffer &&other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() {
    if (block_.bytes > 0)
      give_block(block_);
    else
      std::free(block_.data);
  }

  T *data() { return static_cast<T *>(block_.data); }
  const T *data() const { return static_cast<const T *>(block_.data); }

 private:
  Block block_;  // of no bytes where it is not from the pool
};

// A row stride of at least `width` elements (a multiple of the alignment) that is not a multiple of a page:
// rows of a tile would else compete for the same set of the first-level cache.
template <class T> Size row_stride(Size width) {
  const Size unit = kAlignment / Size(sizeof(T));
  const Size stride = (width + unit - 1) / unit * unit;
  return stride * Size(sizeof(T)) % 1024 == 0 ? stride + unit : stride;
}

}  // namespace pyrnnfast
