// Which machine code the loops over pixels run in.
#pragma once

namespace saccade {

/// "baseline" (any CPU of its architecture), "avx2" or "avx512": the best that this CPU and build have, or the one that
/// the environment variable SACCADE_ISA names. Chosen once; the pictures are the same. Throws Error where SACCADE_ISA
/// names none of these, or one that the CPU or the build lacks.
const char* isa();

}  // namespace saccade
