// States between the user's arrays [N][H] (any order of rows) and the driver's [N][stride] (sorted, padded
// with zeros).
#pragma once

#include <algorithm>

#include "clock.hpp"
#include "workspace.hpp"

namespace pyrnnfast {

template <class T> Buffer<T> sorted_state(const T *user, const Clock &clock, Size hidden, Size stride) {
  Buffer<T> out(clock.rows() * stride, true);
  if (user != nullptr)
    for (Size n = 0; n < clock.rows(); ++n)
      std::copy_n(user + clock.user(n) * hidden, hidden, out.data() + n * stride);
  return out;
}

template <class T> void unsorted_row(const T *row, const Clock &clock, Size n, Size hidden, T *user) {
  std::copy_n(row, hidden, user + clock.user(n) * hidden);
}

}  // namespace pyrnnfast
