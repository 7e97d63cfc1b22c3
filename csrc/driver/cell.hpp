// A cell is data: a short list of phases per step, forward and backward. The driver knows no cell by name.
//
// A row of gates is [slot][Hp]. Slots [0, projected) hold the input projection before the step and their
// gates after it. Slots with a hidden gate take part in the recurrent product: the one range of slots that a
// phase computes.
#pragma once

#include "../dispatch/kernel_table.hpp"

namespace pyrnnfast {

constexpr int kMaxSlots = 4;
constexpr int kNone = -1;
constexpr int kCellCount = kCellKinds + 1;

enum class Source { hidden, reset };  // a phase's product reads h' or r * h'

struct ForwardPhase {
  Source source;
  int first, last;  // slots that the product feeds
  int width;  // vectors in a strip of its weights
};

struct BackwardPhase {
  int first, last;  // slots whose gradients the product reads
  bool following;  // those of the following step, or (false) of this step
};

struct Cell {
  CellKind kind;  // whose pointwise functions it has
  const char *name;
  int gates, slots, projected;
  int input_gate[kMaxSlots], hidden_gate[kMaxSlots];  // gate (row block of W_ih, W_hh) of each slot
  bool cell_state, reset_state;  // keeps c; keeps r * h'
  int phases;
  ForwardPhase forward[kMaxPhases];
  BackwardPhase backward[kMaxPhases];
  bool blends = false;  // h depends on h' other than through the product
  bool output_layer = false;  // always projects, with a bias and an activation of its own, to any size
};

constexpr Cell kCells[kCellCount] = {
    {CellKind::rnn_tanh,
     "rnn_tanh",
     1,
     1,
     1,
     {0},
     {0},
     false,
     false,
     1,
     {{Source::hidden, 0, 1, 2}},
     {{0, 1, true}}},
    {CellKind::rnn_relu,
     "rnn_relu",
     1,
     1,
     1,
     {0},
     {0},
     false,
     false,
     1,
     {{Source::hidden, 0, 1, 2}},
     {{0, 1, true}}},
    {CellKind::lstm,
     "lstm",
     4,
     4,
     4,
     {0, 1, 2, 3},
     {0, 1, 2, 3},
     true,
     false,
     1,
     {{Source::hidden, 0, 4, 2}},
     {{0, 4, true}}},
    // slots n r z and the hidden part of n; gates r z n
    {CellKind::gru,
     "gru",
     3,
     4,
     3,
     {2, 0, 1, kNone},
     {kNone, 0, 1, 2},
     false,
     false,
     1,
     {{Source::hidden, 1, 4, 3}},
     {{1, 4, true}},
     true},
    {CellKind::gru_reset_before,
     "gru_reset_before",
     3,
     3,
     3,
     {0, 1, 2},
     {0, 1, 2},
     false,
     true,
     2,
     {{Source::hidden, 0, 2, 2}, {Source::reset, 2, 3, 2}},
     {{0, 2, true}, {2, 3, false}},
     true},
    {CellKind::one_gate_gru,
     "one_gate_gru",
     2,
     2,
     2,
     {0, 1},
     {0, 1},
     false,
     false,
     1,
     {{Source::hidden, 0, 2, 2}},
     {{0, 2, true}},
     true},
    // o is the projection
    {CellKind::rnn_tanh,
     "jordan",
     1,
     1,
     1,
     {0},
     {0},
     false,
     false,
     1,
     {{Source::hidden, 0, 1, 2}},
     {{0, 1, true}},
     false,
     true},
};

}  // namespace pyrnnfast
