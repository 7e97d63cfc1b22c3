// Registers the pieces of the compiled module, and nothing else.
#include "bindings/register.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Compiled recurrent kernels: the backend of pyrnnfast.functional.";
  pyrnnfast::register_dense(m);
  pyrnnfast::register_pack(m);
  pyrnnfast::register_probe(m);
  pyrnnfast::register_rnn(m);
  pyrnnfast::register_runtime(m);
  pyrnnfast::register_sample(m);
  pyrnnfast::register_stream(m);
  pyrnnfast::register_tensors(m);
}
