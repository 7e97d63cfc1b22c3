// Aligned memory that lives as long as a call, a pack or a tape. Allocated before the parallel region, never
// inside it.
#pragma once

#include <cstdint>
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
    const Size unit = kAlignment, bytes = (count * Size(sizeof(T)) + unit - 1) / unit * unit;
    if (bytes == 0) return;
    if (bytes >= kPooled) {
      block_ = take_block(bytes);
      data_ = static_cast<T *>(block_.data);
    } else {  // malloc keeps small pieces at hand for the next call, aligned_alloc does not
      block_.data = std::malloc(std::size_t(bytes + unit));
      if (block_.data == nullptr) throw std::bad_alloc();
      const auto address = reinterpret_cast<std::uintptr_t>(block_.data);
      data_ = reinterpret_cast<T *>((address + std::uintptr_t(unit) - 1) / std::uintptr_t(unit) *
                                    std::uintptr_t(unit));
    }
    if (zero) std::memset(data_, 0, static_cast<std::size_t>(bytes));
  }
  Buffer(Buffer &&other) noexcept
      : block_(std::exchange(other.block_, {})), data_(std::exchange(other.data_, nullptr)) {}
  Buffer &operator=(Buffer &&other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    return *this;
  }
  // A view of the caller's memory, which must be aligned and outlive it.
  static Buffer over(T *data) {
    Buffer view;
    view.data_ = data;
    return view;
  }
  ~Buffer() {
    if (block_.bytes > 0)
      give_block(block_);
    else
      std::free(block_.data);
  }

  T *data() { return data_; }
  const T *data() const { return data_; }

 private:
  Block block_;  // of no bytes where it is not from the pool
  T *data_ = nullptr;
};

// A row stride of at least `width` elements (a multiple of the alignment) that is not a multiple of a page:
// rows of a tile would else compete for the same set of the first-level cache.
template <class T> Size row_stride(Size width) {
  const Size unit = kAlignment / Size(sizeof(T));
  const Size stride = (width + unit - 1) / unit * unit;
  return stride * Size(sizeof(T)) % 1024 == 0 ? stride + unit : stride;
}

}  // namespace pyrnnfast
