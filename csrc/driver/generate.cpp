#include "generate.hpp"

#include <algorithm>
#include <vector>

#include "parallel.hpp"
#include "problem.hpp"

namespace pyrnnfast {

template <class T> void generate(const GenerateArgs<T> &args) {
  const Pack<T> &pack = *args.pack;
  const KernelTable<T> &kernels = pack.kernels;
  const Size N = args.rows, V = args.classes, R = pack.outputs, E = pack.inputs, lanes2 = 2 * kernels.lanes;
  const Size strips = (V + lanes2 - 1) / lanes2;
  const Size h_size = pack.layers * N * R, c_size = pack.pair() ? pack.layers * N * pack.hidden : 0;
  Buffer<T> decoder(strips * lanes2 * R, true), bias(strips * lanes2, true);
  kernels.pack({args.decoder_weight, 1, R, R, V, decoder.data(), R, 2, 0, 0});
  if (args.decoder_bias != nullptr) std::copy_n(args.decoder_bias, V, bias.data());
  Buffer<T> x(N * E), y(N * R), logits(N * V), h(h_size), c(c_size);
  std::vector<int64_t> active(N, 1), fed(args.first, args.first + N);
  std::fill_n(args.lengths, N, args.length);
  // Two sets of states take turns; `args.h` and `args.c` get the last.
  const T *h_in = args.h0, *c_in = args.c0;
  Drawer drawer(args.options, V);
  Poll poll(args.interrupted);
  GemmArgs<T> gemm{};
  gemm.rows = N;
  gemm.cols = V;
  gemm.depth = R;
  gemm.a = y.data();
  gemm.lda = R;
  gemm.b = decoder.data();
  gemm.strip_end = strips;
  gemm.c = logits.data();
  gemm.ldc = V;
  gemm.bias = bias.data();
  gemm.start = Start::bias;
  for (Size step = 0; step < args.length && std::count(active.begin(), active.end(), 1) > 0; ++step) {
    if (poll()) throw Interrupted();
    for (Size n = 0; n < N; ++n) std::copy_n(args.embedding + fed[n] * E, E, x.data() + n * E);
    std::fill_n(y.data(), N * R, T(0));
    forward<T>({args.pack,
                1,
                N,
                x.data(),
                h_in,
                c_in,
                active.data(),
                y.data(),
                h.data(),
                c.data(),
                {},
                false,
                args.threads,
                args.interrupted});
    std::copy_n(h.data(), h_size, args.h);
    std::copy_n(c.data(), c_size, args.c);
    h_in = args.h;
    if (c_size > 0) c_in = args.c;
    run_team(1, [&](Member) { kernels.gemm(gemm); });
    for (Size n = 0; n < N; ++n) {
      if (!active[n]) continue;
      fed[n] = args.tokens[n * args.length + step] = drawer.draw(logits.data() + n * V, step, n);
      if (fed[n] != args.stop) continue;
      active[n] = 0;
      args.lengths[n] = step;
    }
  }
  for (Size n = 0; n < N; ++n)
    std::fill(args.tokens + n * args.length + args.lengths[n], args.tokens + (n + 1) * args.length,
              args.stop);
  if (h_in != args.h) {  // no step was taken
    const auto copy = [](const T *from, Size count, T *to) {
      if (from != nullptr)
        std::copy_n(from, count, to);
      else
        std::fill_n(to, count, T(0));
    };
    copy(args.h0, h_size, args.h);
    copy(args.c0, c_size, args.c);
  }
}

template void generate(const GenerateArgs<float> &);
template void generate(const GenerateArgs<double> &);

}  // namespace pyrnnfast
