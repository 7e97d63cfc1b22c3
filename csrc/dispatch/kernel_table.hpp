// The only door between the driver and the kernels: plain structs and a table of function pointers.
//
// Letters: T steps, N rows (batch), C inputs, H hidden units, K depth of a product. VL is the number of lanes
// of one vector. Hidden units are padded to Hp, a multiple of VL; a *group* is one vector of hidden units. A
// row of gates is [slot][Hp]; a slot is one gate, or a value kept beside the gates (see driver/cell.hpp). A
// *strip* is a packed block of weights, [K][width][VL] with width 2 or 3 vectors.
//
// Every pointer belongs to the caller. Nothing here allocates, throws, locks or knows of threads. This header
// is included by the units compiled with wide instruction sets, so it holds no functions (the one-definition
// rule).
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyrnnfast {

using Size = std::ptrdiff_t;

enum class CellKind : int { rnn_tanh, rnn_relu, lstm, gru, gru_reset_before, one_gate_gru };
constexpr int kCellKinds = 6;
constexpr int kMaxPhases = 2;
constexpr int kInstantiations = 2;  // of each cell: plain, and general with its options read at run time
constexpr int kProjections = 2;  // linear, held to a limit; and with an activation
constexpr Size kReadWords = 64;

// dst strips of `width` vectors, dst element (k0 + k, col0 + j) = src[k * row_stride + j * col_stride].
// Lanes up to the next multiple of VL are set to zero.
template <class T> struct PackArgs {
  const T *src;
  Size row_stride, col_stride;
  Size depth, cols;  // extent of src
  T *dst;  // [strips][strip_depth][width * VL]
  Size strip_depth;  // K of the whole packed matrix
  Size width;  // vectors in a strip: 2 or 3
  Size k0, col0;  // where src begins inside the packed matrix; col0 is a multiple of VL
};

enum class Start : int { zero, bias, output };  // what a product's accumulator begins with

// c[row_c(i)][j] = start + sum_k a[i][k] b[k][j], one ascending chain of FMAs over k. With `add`, the sum
// (from zero) is then added to c.
template <class T> struct GemmArgs {
  Size rows, cols, depth;
  const T *a;  // [rows][lda]
  Size lda;
  const T *b;  // strips of two vectors, [ceil(cols / (2 VL))][depth][2 VL]
  Size strip_begin, strip_end;
  T *c;  // [..][ldc]
  Size ldc;
  const int64_t *c_rows;  // [rows] row of c for each row of a; null: the same
  const T *bias;  // [cols padded to VL]; read when start is bias
  Start start;
  bool add;
};

enum class Function : int {
  sigmoid,
  tanh,
  relu,
  hard_sigmoid,
  softsign,
  softplus,
  elu,
  leaky_relu,
  thresholded_relu,
  scaled_tanh,
  affine
};
constexpr int kFunctions = 11;
constexpr int kMaxActivations = 3;

template <class T> struct Activation {
  Function function;
  T alpha, beta;
};

// What a cell's general instantiation reads at run time.
template <class T> struct Options {
  Activation<T> activations[kMaxActivations];  // LSTM: f (gates), g (candidate), h (output); GRU: f, g; RNN:
                                               // f; Jordan: f, g
  T clip;  // of sums, before their activation; infinity: none
  bool coupled;  // LSTM: f = 1 - i
  T cell_clip;  // LSTM: c after the step is held to -cell_clip..cell_clip; infinity: none
  const T *peephole;  // [3][Hp] i f o, LSTM; null: none
  // With layer normalisation all slots of the gates hold the recurrent part too, and steps have no product.
  bool normed;
  const T *cell_norm;  // [2][Hp] gain and bias of the normalised c, LSTM
  T zoneout[2];  // of c (LSTM), of h: the probability
  T grad_clip;  // of the gradients of sums, in backward; infinity: none
  uint32_t zone_below[2];  // likewise: a unit keeps its old value where its random word is below
};

// Where a step's draws stand: Philox counter (step, user's row, unit / 4, tag + (i << 16)), i = 0 for c, 1
// for h.
struct Draws {
  uint64_t seed;
  uint32_t step, tag;
  const int64_t *rows;  // [rows] the user's; null: inference, which draws nothing
};

// One phase of one forward step, for `rows` rows and the groups [group_begin, group_end).
// Pointers are those of the first row; each has the stride named after it.
template <class T> struct ForwardStep {
  Size rows, group_begin, group_end, hidden, padded;  // padded = Hp
  const T *a;  // [rows][lda] source of the product: h' or r * h'
  Size lda, depth;
  const T *weights;  // recurrent weights of this phase, strips
  const T *bias;  // [slots][Hp] start of the slots that have no input projection; of a projection [Rp]
  T *gates;  // [rows][ld_gates] in: input projection; out, if keep: gates after their activation, in the
             // general
  // instantiation their sums before it
  Size ld_gates;
  const T *h_prev;  // [rows][ld]
  T *h_next;  // [rows][ld]; not h_prev
  const T *c_prev;  // [rows][ld] LSTM; may be c_next
  T *c_next;  // [rows][ld] LSTM
  T *c_normed;  // [rows][ld] LSTM with layer normalisation: out, the new c; second phase, in: without gain
                // and bias
  T *reset;  // [rows][ld] r * h', GRU with reset before
  Size ld;  // stride of h, c and reset
  T *y;  // [..][ldy] outputs, unpadded; null: none
  Size ldy;
  const int64_t *y_rows;  // [rows] row of y; null: 0, 1, 2, ...
  bool keep;
  const Options<T> *options;  // of the general instantiation
  Draws draws;  // likewise
  T limit;  // of a projection: its states are held to -limit..limit
};

// One phase of one backward step. The product is d(gates) of the following step times W_hh (depth 0: there is
// none).
template <class T> struct BackwardStep {
  Size rows, group_begin, group_end, hidden, padded;
  const T *a;  // [rows][lda] gate gradients
  Size lda, depth;
  const T *weights;
  const T *mask;  // [rows][ld] factors of the product; null: 1
  const T *gates;  // [rows][ld_gates] from the tape
  T *dgates;  // [rows][ld_gates] out
  Size ld_gates;
  const T *h_prev;  // [rows][ld]
  const T *c_prev;  // [rows][ld] LSTM
  const T *c_next;  // [rows][ld] LSTM
  const T *c_normed;  // [rows][ld] LSTM with layer normalisation
  Size ld;  // stride of h, c, mask
  T *dh;  // [rows][padded] in: what reaches h other than through W_hh; out: the same for the step before
  T *dc;  // [rows][padded] LSTM, likewise
  T *dc_normed;  // [rows][padded] LSTM with layer normalisation, by way of h: out, of c after gain and bias;
                 // second phase, in: of the new c
  T *record;  // [rows][padded] out: the whole gradient of h; null: not wanted
  const T *dy;  // [..][ldy] gradient of the outputs, unpadded; null: zero
  Size ldy;
  const int64_t *dy_rows;
  const Options<T> *options;  // of the general instantiation
  Draws draws;  // likewise
  T limit;  // of a projection, whose states lie in `gates`; where it has an activation, its sums
};

// Layer normalisation of rows of [slots][padded], over the hidden units of all slots together.
template <class T> struct NormArgs {
  Size rows, slots, hidden, padded;
  T *x;  // [rows][ld] in; out: (x - mean) scale
  Size ld;
  T *scale;  // [rows] out: 1 / sqrt(variance + eps)
  const T *gain, *bias;  // [slots][padded]
  T *y;  // [rows][ld_y] out: gain x + y in the first `added` slots, gain x + bias in the others; null: not
         // wanted. May be x where none is added
  Size ld_y, added;
};

template <class T> struct NormBackwardArgs {
  Size rows, slots, hidden, padded;
  const T *x;  // [rows][ld] as it was left
  Size ld;
  const T *scale, *gain;
  const T *dy;  // [rows][ld_dy] gradient of gain x
  Size ld_dy;
  T *dx;  // [rows][ld_dx] out: gradient of what was normalised
  Size ld_dx;
};

struct DropoutArgs {
  uint64_t seed;
  uint32_t time, row, tag;  // Philox counter (time, row, unit / 4, tag)
  uint32_t threshold;  // keep where the random word is >= threshold
};

// Rows of softmax with cross-entropy. The loss of token m is losses[m] + weights[m] log(partition[m]).
template <class T> struct SoftmaxArgs {
  Size tokens, classes;  // M, V
  const T *logits;  // [M][V]
  const int64_t *targets;  // [M]; read where the weight is not zero
  const double *weights;  // [M] share of the token in the mean; 0: it counts for nothing
  T *gradient;  // [M][V] out
  double *losses;  // [M] out
  T *partition;  // [M] out where the weight is not zero: sum_j exp(x_j - max x)
};

// Adam (Kingma & Ba 2015), decoupled: AdamW. The caller has folded both bias corrections into rate and eps.
template <class T> struct AdamArgs {
  Size count;
  T *parameter;  // [count] in, out
  const T *gradient;
  T *mean, *square;  // [count] in, out: running averages of g and g^2
  T rate, beta1, beta2, eps, weight_decay, shrink;  // shrink = 1 - lr * weight_decay
  bool decoupled;
};

template <class T> struct KernelTable {
  const char *name;
  Size lanes;  // VL
  Size max_rows;  // rows of the largest tile with strips of two vectors
  void (*pack)(const PackArgs<T> &);
  void (*gemm)(const GemmArgs<T> &);
  // dst[j][i] = src[i][j] for i < rows, j < cols
  void (*transpose)(const T *src, Size ld_src, Size rows, Size cols, T *dst, Size ld_dst);
  // sum[j] += (sum over i < rows of src[at[i]][j], from zero), j < cols, cols a multiple of VL; at null: i
  void (*add_column_sums)(const T *src, Size ld, const int64_t *at, Size rows, Size cols, T *sum);
  // sum[j] += (sum over i < rows of a[i][j] b[i][j], from zero)
  void (*add_product_sums)(const T *a, Size lda, const T *b, Size ldb, Size rows, Size cols, T *sum);
  // x[k] = kept ? x[k] * scale : 0
  void (*dropout)(const DropoutArgs &, T scale, T *x, Size count);
  // out[k] = factors[k] == 0 ? 0 : x[k] * factors[k]; out may be x
  void (*mask)(const T *x, const T *factors, T *out, Size count);
  void (*softmax_cross_entropy)(const SoftmaxArgs<T> &);
  void (*adam)(const AdamArgs<T> &);
  // y = f(x), slope = f'(x)
  void (*activate)(const Activation<T> &f, const T *x, T *y, T *slope, Size count);
  void (*normalize)(const NormArgs<T> &);
  void (*normalize_back)(const NormBackwardArgs<T> &);
  void (*forward[kInstantiations][kCellKinds][kMaxPhases])(const ForwardStep<T> &);
  void (*backward[kInstantiations][kCellKinds][kMaxPhases])(const BackwardStep<T> &);
  void (*backward_state)(const BackwardStep<T> &);  // dh += product
  // h = bias + product, or g of that, and y; [whether there is an activation]
  void (*project[kProjections])(const ForwardStep<T> &);
  // d(h) = dh + dy + product, or that of g's sum, into dgates
  void (*backward_project[kProjections])(const BackwardStep<T> &);
  Size chains;  // vectors of fma_chains
  // x[i] = a x[i] + b, `steps` times in registers; x [chains * VL]
  void (*fma_chains)(Size steps, T a, T b, T *x);
  // exclusive or of the words; aligned as a buffer is, count a multiple of kReadWords
  uint64_t (*read_words)(const uint64_t *words, Size count);
  // of the bytes and where they stand
  uint64_t (*hash)(const void *data, Size bytes, uint64_t seed);
};

}  // namespace pyrnnfast
