// Writes what the consumers of tests/embedding/consumer explain: a program of the fake backend, and a frame of its own
// size, 4 × 6 pixels with the bytes 10, 20, 30, …
#include <fstream>

#include "programs.h"

int main(int count, char** words) {
    if (count != 3) return 2;
    std::string frame(4 * 6 * 3, '\0');
    for (size_t i = 0; i < frame.size(); ++i) frame[i] = static_cast<char>((i + 1) * 10 % 60);
    std::ofstream(words[1], std::ios::binary) << programs::onnx();
    std::ofstream(words[2], std::ios::binary) << frame;
    return 0;
}
