// Large blocks of memory that calls and tapes give back, kept for those that follow: a training step takes
// the same ones as the step before, and fresh ones come as pages that the system must find and clear each
// time.
#pragma once

#include "../dispatch/kernel_table.hpp"

namespace pyrnnfast {

constexpr Size kHugePage = Size(2) << 20;
constexpr Size kPooled = Size(128) << 10;  // bytes of the smallest block: malloc keeps smaller ones at hand

struct Block {
  void *data = nullptr;
  Size bytes = 0;
};

// At least `bytes` (kPooled or more), aligned to a page, large ones to a huge page. Blocks in use and kept
// ones together never take more than half as much again as the blocks that were once in use together: not all
// of a step's live at the same time. Throws std::bad_alloc.
Block take_block(Size bytes);
// The system may take the pages of a kept block when it is short of memory.
void give_block(Block block) noexcept;

}  // namespace pyrnnfast
