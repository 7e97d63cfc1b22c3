// The unit that is compiled once per instruction set and number type. It exports one symbol, the table.
// PYRNNFAST_TABLE is the symbol's name, PYRNNFAST_LEVEL the level's name.
#include "dense.hpp"
#include "dropout.hpp"
#include "elman.hpp"
#include "gemm.hpp"
#include "gru.hpp"
#include "hash.hpp"
#include "lstm.hpp"
#include "norm.hpp"
#include "pack.hpp"
#include "probe.hpp"
#include "project.hpp"

namespace pyrnnfast {

extern const KernelTable<real> PYRNNFAST_TABLE;
const KernelTable<real> PYRNNFAST_TABLE = {
    PYRNNFAST_LEVEL,
    kLanes,
    kMaxRows<2>,
    pack_strips,
    gemm,
    transpose,
    add_column_sums,
    add_product_sums,
    dropout,
    mask,
    softmax_cross_entropy,
    adam,
    activate,
    normalize,
    normalize_back,
    {{{run_phase<ElmanForward<false>, ForwardStep<real>>, nullptr},
      {run_phase<ElmanForward<true>, ForwardStep<real>>, nullptr},
      {run_phase<LstmForward, ForwardStep<real>>, nullptr},
      {run_phase<GruForward, ForwardStep<real>>, nullptr},
      {run_phase<GruBeforeGates, ForwardStep<real>>, run_phase<GruBeforeCandidate, ForwardStep<real>>},
      {run_phase<OneGateForward, ForwardStep<real>>, nullptr}},
     {{run_phase<GeneralElmanForward, ForwardStep<real>>, nullptr},
      {run_phase<GeneralElmanForward, ForwardStep<real>>, nullptr},
      {run_phase<GeneralLstmForward, ForwardStep<real>>, run_phase<NormedLstmOutput, ForwardStep<real>>},
      {run_phase<GeneralGruForward, ForwardStep<real>>, nullptr},
      {run_phase<GeneralGruBeforeGates, ForwardStep<real>>,
       run_phase<GeneralGruBeforeCandidate, ForwardStep<real>>},
      {run_phase<GeneralOneGateForward, ForwardStep<real>>, nullptr}}},
    {{{run_phase<ElmanBackward<false>, BackwardStep<real>>, nullptr},
      {run_phase<ElmanBackward<true>, BackwardStep<real>>, nullptr},
      {run_phase<LstmBackward, BackwardStep<real>>, nullptr},
      {run_phase<GruBackward, BackwardStep<real>>, nullptr},
      {run_phase<GruBeforeBackward, BackwardStep<real>>, run_phase<GruBeforeReset, BackwardStep<real>>},
      {run_phase<OneGateBackward, BackwardStep<real>>, nullptr}},
     {{run_phase<GeneralElmanBackward, BackwardStep<real>>, nullptr},
      {run_phase<GeneralElmanBackward, BackwardStep<real>>, nullptr},
      {run_phase<GeneralLstmBackward, BackwardStep<real>>, run_phase<NormedLstmBackward, BackwardStep<real>>},
      {run_phase<GeneralGruBackward, BackwardStep<real>>, nullptr},
      {run_phase<GeneralGruBeforeBackward, BackwardStep<real>>,
       run_phase<GeneralGruBeforeReset, BackwardStep<real>>},
      {run_phase<GeneralOneGateBackward, BackwardStep<real>>, nullptr}}},
    run_phase<StateBackward, BackwardStep<real>>,
    {run_phase<ProjectForward, ForwardStep<real>>, run_phase<ActivatedProjectForward, ForwardStep<real>>},
    {run_phase<ProjectBackward, BackwardStep<real>>, run_phase<ActivatedProjectBackward, BackwardStep<real>>},
    kChains,
    fma_chains,
    read_words,
    hash,
};

}  // namespace pyrnnfast
