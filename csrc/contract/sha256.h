// SHA-256 (FIPS 180-4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace saccade::contract {

/// Mixes `count` blocks of 64 bytes into a state of 8 words.
using Compress = void (*)(uint32_t* state, const uint8_t* blocks, size_t count);

/// In C++ alone, for any CPU.
void compress_plain(uint32_t* state, const uint8_t* blocks, size_t count);
/// The fastest that this CPU has: its own instructions for SHA, or `compress_plain`. SACCADE_ISA=baseline in the
/// environment forces the latter.
Compress best_compress();

/// A hash that is fed piece by piece.
class Sha256 {
  public:
    explicit Sha256(Compress compress = best_compress()) : compress_(compress) {}
    void update(std::string_view bytes);
    /// The hash of everything that was fed, 64 lower-case hexadecimal digits. Nothing may be fed afterwards.
    std::string hex();

  private:
    Compress compress_;
    uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t block_[64];    // what does not fill a block yet
    size_t held_ = 0;      // bytes of it, below 64
    uint64_t length_ = 0;  // of everything, in bytes
};

}  // namespace saccade::contract
