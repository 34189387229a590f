// Libraries that are no backend that can be used; which of them, BROKEN says.
#include "../../csrc/runtime/backend.h"

#define SYMBOLLESS 1  // without the symbol
#define EMPTY 2       // a null pointer for a table
#define LATER 3       // of a version to come
#define RENAMED 4     // whose table has another name
#define HALF 5        // whose table has null pointers
#define TALKATIVE 6   // which loads nothing, with a message of two lines and no end
#define SILENT 7      // which loads nothing, with a code that there is not, and says nothing
#define STARVING 8    // which has no memory

#if BROKEN == SYMBOLLESS
extern "C" int nothing() { return 0; }
#else
namespace {

const char* describe(saccade_model*) { return "broken"; }

int load(const saccade_load_request*, saccade_model**, char* message, size_t size) {
    for (size_t i = 0; BROKEN == TALKATIVE && i < size; ++i) message[i] = i == 4 ? '\n' : 'x';
    return BROKEN == SILENT ? 77 : BROKEN == STARVING ? SACCADE_BACKEND_NO_MEMORY : SACCADE_BACKEND_DAMAGED;
}

void unload(saccade_model*) {}
int open(saccade_model*, saccade_context**, char*, size_t) { return SACCADE_BACKEND_FAILED; }
void close(saccade_context*) {}

int run(saccade_context*, const saccade_tensor*, size_t, const saccade_tensor*, size_t, int64_t, char*, size_t) {
    return SACCADE_BACKEND_FAILED;
}

constexpr saccade_backend_table kTable{BROKEN == LATER ? SACCADE_BACKEND_VERSION + 1 : SACCADE_BACKEND_VERSION,
                                       1,
                                       BROKEN == RENAMED ? "another" : NAME,
                                       describe,
                                       BROKEN == HALF ? nullptr : load,
                                       unload,
                                       open,
                                       close,
                                       run};

}  // namespace

extern "C" __attribute__((visibility("default"))) const saccade_backend_table* saccade_backend() {
    return BROKEN == EMPTY ? nullptr : &kTable;
}
#endif
