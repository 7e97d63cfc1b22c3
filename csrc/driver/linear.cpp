#include "linear.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include "parallel.hpp"
#include "plan.hpp"
#include "problem.hpp"

namespace pyrnnfast {

namespace {

constexpr double kPieceWork = 5e8;    // operations between two looks for a signal
constexpr double kTinyWork = 1e6;     // below which waking a second thread costs more than it gains
constexpr Size kParallelElements = 1 << 17;  // the same for packing
constexpr Size kOutputs = 256;        // rows of dW that are made at once
constexpr Size kLine = 16;            // more than a power of two between the rows of a tile

struct Range {
  Size begin, end;
};
Range part(Size count, Member member) {
  return {count * member.id / member.threads, count * (member.id + 1) / member.threads};
}

// The threads of a call: each does its part, as long as nobody interrupts.
template <class T> class Team {
 public:
  explicit Team(const LinearArgs<T> &args)
      : threads_(2.0 * double(args.rows) * double(args.inputs) * double(args.outputs) < kTinyWork
                     ? 1
                     : args.threads),
        poll_(args.interrupted) {}
  int threads() const { return threads_; }
  bool go_on(Member member) {
    if (member.id == 0 && poll_()) stop_.store(true, std::memory_order_relaxed);
    return !stop_.load(std::memory_order_relaxed);
  }
  void run(int threads, const std::function<void(Member)> &work) {
    run_team(threads, work);
    if (stop_.load()) throw Interrupted();
  }

 private:
  int threads_;
  Poll poll_;
  std::atomic<bool> stop_{false};
};

Size strips_of(Size columns, Size width) { return (columns + width - 1) / width; }

// One thread's rows of c = a b (+ bias), b packed.
template <class T>
void multiply(Team<T> &team, const KernelTable<T> &kernels, const GemmArgs<T> &all, Member member) {
  const double row_work = 2.0 * double(all.cols) * double(all.depth);
  const Size piece = std::max<Size>(kernels.max_rows, Size(kPieceWork / std::max(1.0, row_work)));
  const Range mine = part(all.rows, member);
  GemmArgs<T> gemm = all;
  gemm.strip_end = strips_of(all.cols, 2 * kernels.lanes);
  for (Size row = mine.begin; row < mine.end && team.go_on(member); row += piece) {
    gemm.rows = std::min(piece, mine.end - row);
    gemm.a = all.a + row * all.lda;
    gemm.c = all.c + row * all.ldc;
    kernels.gemm(gemm);
  }
}

// W as strips of depth `depth`: element (k, j) is weight[k * row_stride + j * col_stride].
template <class T>
Buffer<T> packed(Team<T> &team, const KernelTable<T> &kernels, const T *weight, Size row_stride,
                 Size col_stride, Size depth, Size cols) {
  const Size width = 2 * kernels.lanes, strips = strips_of(cols, width);
  Buffer<T> out(strips * width * depth, true);
  team.run(depth * cols < kParallelElements ? 1 : team.threads(), [&](Member member) {
    const Range mine = part(strips, member);
    const Size begin = mine.begin * width, end = std::min(cols, mine.end * width);
    if (begin < end)
      kernels.pack({weight + begin * col_stride, row_stride, col_stride, depth, end - begin, out.data(),
                    depth, 2, 0, begin});
  });
  return out;
}

// dW += dy^T x and db += sum dy, in sums over blocks of kSumBlock rows, each from zero, added in order.
// Threads share out the longer side of dW.
template <class T> class WeightSum {
 public:
  WeightSum(const KernelTable<T> &kernels, const LinearArgs<T> &args, const T *dy,
            const LinearGradients<T> &out, int threads)
      : kernels_(kernels), args_(args), dy_(dy), out_(out), width_(2 * kernels.lanes) {
    const Size strips = strips_of(args.inputs, width_);
    for (int i = 0; i < threads; ++i)
      scratch_.push_back({Buffer<T>(std::min(kOutputs, args.outputs) * kLd),
                          Buffer<T>(strips * width_ * kSumBlock), Buffer<T>(args.outputs)});
  }

  void add(Team<T> &team, Member member) {
    const Size V = args_.outputs, C = args_.inputs, strips = strips_of(C, width_);
    const bool tall = V > C;
    const Range outputs = tall ? part(V, member) : Range{0, V};
    const Range mine = tall ? Range{0, strips} : part(strips, member);
    const Size begin = mine.begin * width_, end = std::min(C, mine.end * width_);
    Scratch &scratch = scratch_[member.id];
    for (Size m = 0; m < args_.rows && team.go_on(member); m += kSumBlock) {
      const Size count = std::min(kSumBlock, args_.rows - m);
      add_bias(m, count, part(V, member), scratch.sum.data());
      if (begin >= end) continue;
      kernels_.pack(
          {args_.x + m * C + begin, C, 1, count, end - begin, scratch.strips.data(), count, 2, 0, 0});
      for (Size v = outputs.begin; v < outputs.end && team.go_on(member); v += kOutputs) {
        GemmArgs<T> gemm{};
        gemm.rows = std::min(kOutputs, outputs.end - v);
        gemm.cols = end - begin;
        gemm.depth = count;
        kernels_.transpose(dy_ + m * V + v, V, count, gemm.rows, scratch.dy.data(), kLd);
        gemm.a = scratch.dy.data();
        gemm.lda = kLd;
        gemm.b = scratch.strips.data();
        gemm.strip_end = mine.end - mine.begin;
        gemm.c = out_.weight + v * C + begin;
        gemm.ldc = C;
        gemm.start = Start::zero;
        gemm.add = true;
        kernels_.gemm(gemm);
      }
    }
  }

 private:
  static constexpr Size kLd = kSumBlock + kLine;
  struct Scratch {
    Buffer<T> dy;      // [kOutputs][kLd], transposed
    Buffer<T> strips;  // rows of x, packed
    Buffer<T> sum;     // [V]
  };

  void add_bias(Size m, Size count, Range mine, T *sum) const {
    std::fill(sum + mine.begin, sum + mine.end, T(0));
    for (Size i = m; i < m + count; ++i) {
      const T *row = dy_ + i * args_.outputs;
      for (Size v = mine.begin; v < mine.end; ++v) sum[v] += row[v];
    }
    for (Size v = mine.begin; v < mine.end; ++v) out_.bias[v] += sum[v];
  }

  const KernelTable<T> &kernels_;
  const LinearArgs<T> &args_;
  const T *dy_;
  const LinearGradients<T> &out_;
  const Size width_;
  std::vector<Scratch> scratch_;
};

}  // namespace

template <class T>
void linear(const KernelTable<T> &kernels, const LinearArgs<T> &args, const T *bias, T *y) {
  const Size V = args.outputs, C = args.inputs;
  Team<T> team(args);
  const Buffer<T> weight = packed(team, kernels, args.weight, 1, C, C, V);
  Buffer<T> start(strips_of(V, kernels.lanes) * kernels.lanes, true);
  if (bias != nullptr) std::copy_n(bias, V, start.data());
  GemmArgs<T> gemm{};
  gemm.rows = args.rows;
  gemm.cols = gemm.ldc = V;
  gemm.depth = gemm.lda = C;
  gemm.a = args.x;
  gemm.b = weight.data();
  gemm.c = y;
  gemm.bias = start.data();
  gemm.start = Start::bias;
  team.run(team.threads(), [&](Member member) { multiply(team, kernels, gemm, member); });
}

template <class T>
void linear_backward(const KernelTable<T> &kernels, const LinearArgs<T> &args, const T *dy,
                     const LinearGradients<T> &out) {
  const Size V = args.outputs, C = args.inputs;
  Team<T> team(args);
  WeightSum<T> sum(kernels, args, dy, out, team.threads());
  const Buffer<T> weight = packed(team, kernels, args.weight, C, 1, V, C);
  GemmArgs<T> gemm{};
  gemm.rows = args.rows;
  gemm.cols = gemm.ldc = C;
  gemm.depth = gemm.lda = V;
  gemm.a = dy;
  gemm.b = weight.data();
  gemm.c = out.x;
  gemm.start = Start::zero;
  team.run(team.threads(), [&](Member member) {
    sum.add(team, member);
    multiply(team, kernels, gemm, member);
  });
}

template void linear(const KernelTable<float> &, const LinearArgs<float> &, const float *, float *);
template void linear(const KernelTable<double> &, const LinearArgs<double> &, const double *, double *);
template void linear_backward(const KernelTable<float> &, const LinearArgs<float> &, const float *,
                              const LinearGradients<float> &);
template void linear_backward(const KernelTable<double> &, const LinearArgs<double> &, const double *,
                              const LinearGradients<double> &);

}  // namespace pyrnnfast
