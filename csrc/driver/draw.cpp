#include "draw.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "../dispatch/philox.hpp"

namespace pyrnnfast {

namespace {

constexpr uint32_t kPurpose = 2u << 16, kAttempts = 64;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

template <class T> int64_t Drawer::draw(const T *logits, Size step, Size row) {
  set_scores(logits);
  if (options_.temperature == 0 && (options_.redraw < 0 || best(-1) != options_.redraw)) return best(-1);
  set_weights();
  const int64_t redraw = options_.redraw;
  if (redraw < 0 || weight_[redraw] == 0) return invert(uniform(step, row, 0));
  const bool alone = std::all_of(weight_.begin(), weight_.end(),
                                 [&](const double &w) { return w == 0 || &w == &weight_[redraw]; });
  if (alone) {
    const int64_t next = best(redraw);
    return score_[next] > -kInfinity ? next : redraw;
  }
  for (uint32_t attempt = 0; attempt < kAttempts; ++attempt) {
    const int64_t token = invert(uniform(step, row, attempt));
    if (token != redraw) return token;
  }
  weight_[redraw] = 0;
  return invert(uniform(step, row, kAttempts));
}

// 1. z = logits, banned tokens at -infinity
template <class T> void Drawer::set_scores(const T *logits) {
  for (Size i = 0; i < classes_; ++i) {
    const double z = double(logits[i]);
    if (std::isnan(z)) throw std::domain_error("logits must be finite or -inf, got nan");
    if (z == kInfinity) throw std::domain_error("logits must be finite or -inf, got inf");
    score_[i] = options_.banned[i] ? -kInfinity : z;
  }
  if (score_[best(-1)] == -kInfinity)
    throw std::domain_error("logits must leave a token that may be drawn, got -inf for all of them");
}

// 2. to 4.: temperature, top-k, top-p
void Drawer::set_weights() {
  const int64_t first = best(-1);
  if (options_.temperature == 0) {
    std::fill(weight_.begin(), weight_.end(), 0.0);
    weight_[first] = 1;
    return;
  }
  for (Size i = 0; i < classes_; ++i)
    weight_[i] = std::exp((score_[i] - score_[first]) / options_.temperature);
  if ((options_.top_k > 0 && options_.top_k < classes_) || options_.top_p < 1) keep_most_probable();
}

void Drawer::keep_most_probable() {
  std::iota(order_.begin(), order_.end(), int64_t{0});
  std::sort(order_.begin(), order_.end(),
            [&](int64_t a, int64_t b) { return score_[a] > score_[b] || (score_[a] == score_[b] && a < b); });
  Size kept = options_.top_k > 0 ? std::min<Size>(options_.top_k, classes_) : classes_;
  if (options_.top_p < 1) {
    double total = 0, mass = 0;
    for (Size i = 0; i < kept; ++i) total += weight_[order_[i]];
    for (Size i = 0; i < kept; ++i) {
      mass += weight_[order_[i]];
      if (mass >= options_.top_p * total) kept = i + 1;
    }
  }
  for (Size i = kept; i < classes_; ++i) weight_[order_[i]] = 0;
}

// The token of the largest z, of equals the lowest number; `without` is passed over.
int64_t Drawer::best(int64_t without) const {
  int64_t found = without == 0 && classes_ > 1 ? 1 : 0;
  for (int64_t i = found + 1; i < classes_; ++i)
    if (i != without && score_[i] > score_[found]) found = i;
  return found;
}

// 5. the first token where the running sum exceeds u times the whole
int64_t Drawer::invert(double u) const {
  const double limit = u * std::accumulate(weight_.begin(), weight_.end(), 0.0);
  double mass = 0;
  int64_t last = 0;
  for (int64_t i = 0; i < classes_; ++i) {
    mass += weight_[i];
    if (mass > limit) return i;
    if (weight_[i] > 0) last = i;
  }
  return last;
}

double Drawer::uniform(Size step, Size row, uint32_t attempt) const {
  const Philox random = philox({{uint32_t(step), uint32_t(row), attempt, kPurpose}}, options_.seed);
  return ((random.word[0] >> 5) * 67108864.0 + (random.word[1] >> 6)) / 9007199254740992.0;
}

template int64_t Drawer::draw(const float *, Size, Size);
template int64_t Drawer::draw(const double *, Size, Size);

}  // namespace pyrnnfast
