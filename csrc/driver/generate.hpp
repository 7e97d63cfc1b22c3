// Sequences drawn from a language model: embedding, recurrent stack, linear layer, draw; the token drawn is
// the next input.
#pragma once

#include <functional>
#include <memory>

#include "draw.hpp"
#include "pack.hpp"

namespace pyrnnfast {

// N rows, V tokens, E = the pack's inputs, R its outputs, H hidden units, L layers, one direction. All arrays
// belong to the caller.
template <class T> struct GenerateArgs {
  std::shared_ptr<const Pack<T>> pack;
  Size rows, classes, length;
  const T *embedding;       // [V][E]
  const T *decoder_weight;  // [V][R]
  const T *decoder_bias;    // [V]; null: none
  const T *h0, *c0;         // [L][N][R], [L][N][H] in; null: zero
  const int64_t *first;     // [N] input of step 0
  DrawOptions options;
  int64_t stop;             // a row that draws it is finished; -1: none
  int threads;
  std::function<bool()> interrupted;
  int64_t *tokens;          // [N][length] out; `stop` from where a row has drawn it
  int64_t *lengths;         // [N] out: tokens before the stop token
  T *h, *c;                 // the same, out: the states that gave each row's last draw
};

// Throws Interrupted, std::bad_alloc, or std::domain_error for logits that cannot be drawn from.
template <class T> void generate(const GenerateArgs<T> &args);

}  // namespace pyrnnfast
