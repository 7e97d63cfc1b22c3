#include "stream.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace pyrnnfast {

template <class T>
Stream<T>::Stream(std::shared_ptr<const Pack<T>> pack, Size rows, T *y, int threads,
                  std::function<bool()> interrupted)
    : args_{std::move(pack),
            1,
            rows,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            y,
            nullptr,
            nullptr,
            {},
            false,
            threads,
            std::move(interrupted)},
      tape_(new_tape(args_)), workspace_(args_, tape_) {}

template <class T> void Stream<T>::step(const T *x) {
  tape_.x = x;
  if (!run_forward(args_, tape_, workspace_)) throw Interrupted();
  for (History<T> &history : tape_.histories) {  // the states after this step are those before the next
    std::swap(history.h0, history.h);
    std::swap(history.c0, history.c);
  }
}

template <class T> bool Stream<T>::use(std::shared_ptr<const Pack<T>> pack) {
  const auto shape = [](const Pack<T> &p) {
    return std::make_tuple(&p.kernels, &p.cell, p.inputs, p.hidden, p.layers, p.directions);
  };
  if (shape(*pack) != shape(*tape_.pack)) return false;
  args_.pack = tape_.pack = std::move(pack);
  return true;
}

template <class T> void Stream<T>::get_state(T *h, T *c) const {
  const Size H = tape_.pack->hidden;
  for (const History<T> &history : tape_.histories)
    for (Size n = 0; n < tape_.rows; ++n) {
      h = std::copy_n(history.h0.data() + n * tape_.ld, H, h);
      if (c != nullptr) c = std::copy_n(history.c0.data() + n * tape_.ld, H, c);
    }
}

template <class T> void Stream<T>::set_state(const T *h, const T *c) {
  const Size H = tape_.pack->hidden;
  const auto set = [&](Buffer<T> &state, const T *&from) {
    for (Size n = 0; n < tape_.rows; ++n) {
      T *const row = state.data() + n * tape_.ld;
      if (from == nullptr) {
        std::fill_n(row, H, T(0));
      } else {
        std::copy_n(from, H, row);
        from += H;
      }
    }
  };
  for (History<T> &history : tape_.histories) {
    set(history.h0, h);
    if (tape_.pack->cell.cell_state) set(history.c0, c);
  }
}

template class Stream<float>;
template class Stream<double>;

}  // namespace pyrnnfast
