// generate: whole sequences in one call.
#include <stdexcept>

#include "../driver/generate.hpp"
#include "handles.hpp"
#include "register.hpp"

namespace pyrnnfast {

namespace {

template <class T>
py::tuple run(const PackPtr<T> &pack, const py::array &embedding, const py::object &decoder_weight,
              const py::object &decoder_bias, const py::object &h0, const py::object &c0,
              const py::array &first, Size length, DrawOptions options, const py::object &banned,
              int64_t stop, int threads) {
  const Size V = embedding.ndim() == 2 ? embedding.shape(0) : 0, N = first.size(), R = pack->outputs;
  const Extents state{pack->layers, N, R}, cells{pack->layers, N, pack->hidden};
  const bool pair = pack->pair();
  if (pack->directions != 1) throw py::value_error("pack: got two directions, expected one");
  if (V < 1) throw py::value_error("embedding: expected [V, E] with V >= 1");
  if (length < 0) throw py::value_error("length: got " + std::to_string(length) + ", expected at least 0");
  if (options.redraw >= V || stop >= V)
    throw py::value_error("redraw and stop: expected below " + std::to_string(V));
  options.banned = expect_array<uint8_t>(banned, {V}, "banned").data();
  const auto inputs = expect_array<int64_t>(first, {N}, "first");
  for (Size n = 0; n < N; ++n)
    if (inputs.at(n) < 0 || inputs.at(n) >= V) throw py::value_error("first: a token is out of range");
  py::array_t<int64_t> tokens({N, length}), lengths(N);
  py::array_t<T> h(state), c(pair ? cells : Extents{0});
  const GenerateArgs<T> args{pack,
                             N,
                             V,
                             length,
                             expect_array<T>(embedding, {V, pack->inputs}, "embedding").data(),
                             expect_array<T>(decoder_weight, {V, R}, "decoder_weight").data(),
                             optional_data<T>(decoder_bias, {V}, "decoder_bias"),
                             optional_data<T>(h0, state, "h0"),
                             pair ? optional_data<T>(c0, cells, "c0") : nullptr,
                             inputs.data(),
                             options,
                             stop,
                             threads_of(threads),
                             signal_check(),
                             tokens.mutable_data(),
                             lengths.mutable_data(),
                             h.mutable_data(),
                             pair ? c.mutable_data() : nullptr};
  try {
    run_driver([&] {
      generate(args);
      return 0;
    });
  } catch (const std::domain_error &error) {
    throw py::value_error(error.what());
  }
  return py::make_tuple(tokens, lengths, h, pair ? py::object(c) : py::object(py::none()));
}

py::tuple py_generate(const PyPack &pack, const py::array &embedding, const py::object &decoder_weight,
                      const py::object &decoder_bias, const py::object &h0, const py::object &c0,
                      const py::array &first, Size length, double temperature, int64_t top_k, double top_p,
                      int64_t stop, const py::object &banned, int64_t redraw, uint64_t seed,
                      int num_threads) {
  const DrawOptions options{temperature, top_k, top_p, nullptr, redraw, seed};
  return std::visit(
      [&](const auto &p) {
        return run(p, embedding, decoder_weight, decoder_bias, h0, c0, first, length, options, banned, stop,
                   num_threads);
      },
      pack.pack);
}

}  // namespace

void register_sample(py::module_ &m) {
  using namespace py::literals;
  m.def("generate", &py_generate, "pack"_a, "embedding"_a, "decoder_weight"_a, "decoder_bias"_a, "h0"_a,
        "c0"_a, "first"_a, "length"_a, "temperature"_a, "top_k"_a, "top_p"_a, "stop"_a, "banned"_a,
        "redraw"_a, "seed"_a, "num_threads"_a, "Draws N sequences; returns (tokens, lengths, h, c or None).");
}

}  // namespace pyrnnfast
