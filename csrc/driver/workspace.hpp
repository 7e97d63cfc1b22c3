// Aligned memory that lives as long as a call, a pack or a tape. Allocated before the parallel region, never
// inside it.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "../dispatch/kernel_table.hpp"

namespace pyrnnfast {

constexpr Size kAlignment = 64;
constexpr Size kHugePage = Size(2) << 20;

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
    // malloc keeps small pieces at hand for the next call, aligned_alloc does not
    memory_ = large ? std::aligned_alloc(std::size_t(unit), std::size_t(bytes))
                    : std::malloc(std::size_t(bytes + unit));
    if (memory_ == nullptr) throw std::bad_alloc();
    const auto address = reinterpret_cast<std::uintptr_t>(memory_);
    data_ = reinterpret_cast<T *>((address + std::uintptr_t(unit) - 1) / std::uintptr_t(unit) *
                                  std::uintptr_t(unit));
    if (large) madvise(data_, std::size_t(bytes), MADV_HUGEPAGE);  // a wish: fewer faults and table walks
    if (zero) std::memset(data_, 0, static_cast<std::size_t>(bytes));
  }
  Buffer(Buffer &&other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), data_(std::exchange(other.data_, nullptr)) {}
  Buffer &operator=(Buffer &&other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() { std::free(memory_); }

  T *data() { return data_; }
  const T *data() const { return data_; }

 private:
  void *memory_ = nullptr;
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
