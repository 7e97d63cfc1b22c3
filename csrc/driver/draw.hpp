// Drawing a token from a row of logits. reference/sampling.py defines each step to the last tie, and numbers
// them 1 to 6.
#pragma once

#include <cstdint>
#include <vector>

#include "../dispatch/kernel_table.hpp"

namespace pyrnnfast {

struct DrawOptions {
  double temperature;     // 0: the most probable token
  int64_t top_k;          // 0: off
  double top_p;           // 1: off
  const uint8_t *banned;  // [V] 1: never drawn
  int64_t redraw;         // drawn again when it comes up; -1: none
  uint64_t seed;
};

class Drawer {
 public:
  Drawer(const DrawOptions &options, Size classes)
      : options_(options), classes_(classes), score_(classes), weight_(classes), order_(classes) {}

  // Throws std::domain_error when a logit is NaN or +infinity, or leaves no token that may be drawn.
  template <class T> int64_t draw(const T *logits, Size step, Size row);

 private:
  template <class T> void set_scores(const T *logits);
  void set_weights();
  void keep_most_probable();
  int64_t best(int64_t without) const;
  int64_t invert(double u) const;
  double uniform(Size step, Size row, uint32_t attempt) const;

  DrawOptions options_;
  Size classes_;
  std::vector<double> score_, weight_;  // [V] z and w
  std::vector<int64_t> order_;          // [V] by falling z
};

}  // namespace pyrnnfast
