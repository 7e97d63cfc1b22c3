// The linear layer around the recurrence: y = x W^T + b, and its gradients.
#pragma once

#include <functional>

#include "../dispatch/kernel_table.hpp"

namespace pyrnnfast {

// M rows, C inputs, V outputs. All arrays belong to the caller.
template <class T> struct LinearArgs {
  Size rows, inputs, outputs;
  const T *x;        // [M][C] in
  const T *weight;   // [V][C] in
  int threads;       // they change no bit
  std::function<bool()> interrupted;
};

template <class T> struct LinearGradients {
  T *x;              // [M][C] out
  T *weight, *bias;  // [V][C], [V] out, added into
};

// Both throw Interrupted, and std::bad_alloc before anything is written. `bias` [V] may be null.
template <class T>
void linear(const KernelTable<T> &kernels, const LinearArgs<T> &args, const T *bias, T *y);
template <class T>
void linear_backward(const KernelTable<T> &kernels, const LinearArgs<T> &args, const T *dy,
                     const LinearGradients<T> &out);

}  // namespace pyrnnfast
