// The parts of a forward, so that a stream may make its buffers once and run on them step after step.
#pragma once

#include <vector>

#include "plan.hpp"
#include "problem.hpp"

namespace pyrnnfast {

// One thread's.
template <class T> struct Scratch {
  Buffer<T> input;       // rows of a layer's input, gathered
  Buffer<int64_t> rows;  // where they, or those of a step, lie in the output
  Buffer<T> dropped;  // with recurrent dropout [rows of a piece][ld or ld_out]: the product's source, masked
};

// What a run needs beside the tape.
template <class T> struct Workspace {
  Workspace(const ForwardArgs<T> &args, Tape<T> &tape);  // makes the tape's buffers too

  Plan plan;
  Size ld_input;
  std::vector<Scratch<T>> scratch;  // [threads]
};

template <class T> Tape<T> new_tape(const ForwardArgs<T> &args);  // still without buffers
// The initial states into a tape that has its buffers.
template <class T> void begin_states(const ForwardArgs<T> &args, Tape<T> &tape);

// Runs all steps from the tape's h0 and c0; allocates nothing. False: interrupted, the results are not whole.
// The final states stay in the tape.
template <class T> bool run_forward(const ForwardArgs<T> &args, Tape<T> &tape, Workspace<T> &workspace);

}  // namespace pyrnnfast
