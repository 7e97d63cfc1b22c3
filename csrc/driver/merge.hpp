// The outputs of two directions as one: their sum, mean or product, number by number (Keras' merge_mode), and
// its gradient.
#pragma once

#include "pack.hpp"

namespace pyrnnfast {

// both: in those of the forward direction, out the merged ones; [count] each.
template <class T> void merge(Merge how, const T *reverse, Size count, T *both) {
  if (how == Merge::mul)
    for (Size u = 0; u < count; ++u) both[u] *= reverse[u];
  else
    for (Size u = 0; u < count; ++u) both[u] += reverse[u];
  if (how == Merge::mean)
    for (Size u = 0; u < count; ++u) both[u] *= T(0.5);
}

// d: gradient of the merged; out: [2][count] of each direction's, whose outputs were `forward` and `reverse`.
template <class T>
void unmerge(Merge how, const T *d, const T *forward, const T *reverse, Size count, T *out) {
  for (Size u = 0; u < count; ++u) {
    const T scale = how == Merge::mean ? T(0.5) : T(1);
    out[u] = d[u] * (how == Merge::mul ? reverse[u] : scale);
    out[count + u] = d[u] * (how == Merge::mul ? forward[u] : scale);
  }
}

}  // namespace pyrnnfast
