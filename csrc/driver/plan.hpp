// Which strategy runs a call: how long a chunk is, and how the recurrence is split over threads.
#pragma once

#include "clock.hpp"
#include "pack.hpp"

namespace pyrnnfast {

enum class Split {
  serial, // thread 0 has all; the others help with backward's GEMMs
  rows,   // each thread has its own batch rows: no barrier within a chunk
  jobs,   // each thread has its own layers or directions: a barrier per chunk
  units,  // each thread has its own hidden units: a barrier per phase of each step
};

struct Plan {
  Split split = Split::serial;
  int threads = 1;
  Size chunk = 1;  // steps of a chunk, from the shape alone
  Size piece = 1;  // rows of a step between two looks for a signal
};

constexpr Size kSumBlock = 512;  // (t, n) pairs of one partial sum of a weight's gradient

template <class T> Plan make_plan(const Pack<T> &pack, const Clock &clock, int threads, bool backward);

// The chunks of a stack in the order in which they may run. Stage by stage; the jobs of a stage are
// independent. One direction: a wavefront, layer l does chunk w - l in stage w. Two directions: layer after
// layer, both at once.
struct Job {
  Size layer, direction, begin, end;  // steps [begin, end)
};

class Schedule {
 public:
  Schedule(Size layers, Size directions, Size steps, Size chunk)
      : layers_(layers), directions_(directions), steps_(steps), chunk_(chunk),
        chunks_((steps + chunk - 1) / chunk) {}
  Size stages() const;
  Size jobs(Size stage) const;            // number of jobs in a stage
  Job job(Size stage, Size index) const;

 private:
  Size first_layer(Size stage) const;
  Size layers_, directions_, steps_, chunk_, chunks_;
};

}  // namespace pyrnnfast
