// Who is active when. Rows are ordered longest first, so that the rows active at step s are the first
// active(s), and the cost of a ragged batch follows the sum of its lengths. Each direction has its own clock:
// at step s the forward direction is at time s of every row, the reverse direction at time length - 1 - s.
//
// "Sorted row" n counts rows in this order; a (step, sorted row) pair has the compact index offset(s) + n.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "../dispatch/kernel_table.hpp"

namespace pyrnnfast {

class Clock {
 public:
  Clock(Size steps, Size rows, const int64_t *lengths) : order_(rows), length_(rows, steps) {
    std::iota(order_.begin(), order_.end(), int64_t{0});
    if (lengths != nullptr) {
      std::stable_sort(order_.begin(), order_.end(),
                       [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
      for (Size n = 0; n < rows; ++n) length_[n] = lengths[order_[n]];
    }
    steps_ = rows > 0 ? length_[0] : 0;
    offset_.assign(steps_ + 1, 0);
    Size active = rows;
    for (Size s = 0; s < steps_; ++s) {
      while (active > 0 && length_[active - 1] <= s) --active;
      offset_[s + 1] = offset_[s] + active;
    }
    ragged_ = rows > 0 && (length_[rows - 1] != steps);
  }

  Size steps() const { return steps_; }  // the longest length
  Size rows() const { return Size(order_.size()); }  // N
  Size total() const { return offset_[steps_]; }  // sum of the lengths
  bool ragged() const { return ragged_; }  // some row is shorter than the input
  Size offset(Size s) const { return offset_[s]; }
  Size active(Size s) const { return s < steps_ ? offset_[s + 1] - offset_[s] : 0; }
  Size length(Size n) const { return length_[n]; }
  Size user(Size n) const { return order_[n]; }  // the user's index of a sorted row
  const int64_t *users(Size n) const { return order_.data() + n; }
  Size time(bool reverse, Size s, Size n) const { return reverse ? length_[n] - 1 - s : s; }

  // Sorted rows [row_begin(i), row_begin(i + 1)) are part i of `parts`, of about equal summed length.
  Size row_begin(Size part, Size parts) const {
    if (part <= 0) return 0;
    if (part >= parts) return rows();
    Size sum = 0, n = 0;
    while (n < rows() && sum * parts < total() * part) sum += length_[n++];
    return n;
  }

 private:
  std::vector<int64_t> order_, length_;
  std::vector<Size> offset_;
  Size steps_ = 0;
  bool ragged_ = false;
};

}  // namespace pyrnnfast
