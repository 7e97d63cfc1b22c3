// States between the user's arrays [N][H] (any order of rows) and the driver's [N][stride] (sorted, padded
// with zeros).
#pragma once

#include <algorithm>

#include "clock.hpp"
#include "workspace.hpp"

namespace pyrnnfast {

template <class T> void sort_state(const T *user, const Clock &clock, Size hidden, Size stride, T *out) {
  std::fill_n(out, clock.rows() * stride, T(0));
  if (user != nullptr)
    for (Size n = 0; n < clock.rows(); ++n)
      std::copy_n(user + clock.user(n) * hidden, hidden, out + n * stride);
}

template <class T> Buffer<T> sorted_state(const T *user, const Clock &clock, Size hidden, Size stride) {
  Buffer<T> out(clock.rows() * stride);
  sort_state(user, clock, hidden, stride, out.data());
  return out;
}

template <class T> void unsorted_row(const T *row, const Clock &clock, Size n, Size hidden, T *user) {
  std::copy_n(row, hidden, user + clock.user(n) * hidden);
}

}  // namespace pyrnnfast
